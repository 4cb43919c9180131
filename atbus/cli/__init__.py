"""
The entry points: the plug-in of ``twistd`` and the ``atbus`` command.

Nothing here is imported by the bus; what a program needs is a layer below.
"""
