"""
What is there for good, kept from the collector of cyclic garbage.

Modules, classes and functions are some 70,000 objects, and the collector looks at all of them each
time a table of nodes has grown: that takes ten times as long as the table itself, and the reactor
waits meanwhile.
"""

from __future__ import annotations

import gc


def set_aside_lasting_objects() -> None:
    """
    Let the collector pass over everything that there is now.

    Only for who owns the process, once, when everything has been imported: what is there now and
    refers to itself is never freed when it becomes garbage.
    """
    gc.collect()
    gc.freeze()
