"""
``atbus bench``: how fast this machine is, with real processes whose every message is checked.
"""
