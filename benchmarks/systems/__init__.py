"""The systems that are measured: each as its own documentation advises to write it."""
