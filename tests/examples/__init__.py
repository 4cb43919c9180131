"""The programs under ``examples/`` run, and do what they say."""
