"""
How fast atbus is, beside its peers: process to process, every message checked where it arrives.

`benchmarks.runner` is the program, `benchmarks.systems` has one module for each system.
"""
