"""
How frames travel: one file per scheme, so ``ls`` is the list.

I/O begins here: this is the lowest layer that imports `twisted.internet`. Channels know frames and
addresses; what a frame means, who may connect and what is sent when is decided above and below.
"""
