"""The benchmarks, with so few messages that they only show that they run."""
