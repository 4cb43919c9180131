"""
``atbus demo``: a bus of real processes on this machine, across two regions, with a verdict.
"""
