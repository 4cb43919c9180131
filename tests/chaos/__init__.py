"""
Real processes that are killed, stopped, starved and cut off under load, with a verdict.

Short by default; ``make chaos`` does the same with larger numbers (``ATBUS_CHAOS=long``).
"""
