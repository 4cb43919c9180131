"""
Real processes: ``twistd -n atbus`` with configurations of its own, watched by what it writes.
"""
