"""
What is there for good, kept from the collector of cyclic garbage.

Modules, classes and functions are some 70,000 objects, and the collector looks at all of them each
time a table of nodes has grown: that takes ten times as long as the table itself, and the reactor
waits meanwhile.
"""

from __future__ import annotations

import gc


def put_off_collecting() -> None:
    """
    Keep the collector from running until `collect_from_now_on`.

    Only for who owns the process, before it imports much. Nearly all of that is there for good,
    and the collector would look at it time and again: that is a tenth of what a start takes.
    """
    gc.disable()


def collect_from_now_on() -> None:
    """
    Let the collector run, but pass over everything that there is now.

    It has not been looked at: what of it is garbage is never freed, some 2 MB of the classes that
    others with ``__slots__`` have taken the place of.
    """
    gc.freeze()
    gc.enable()


def set_aside_lasting_objects() -> None:
    """
    Let the collector pass over everything that there is now.

    Only for who owns the process, once, when everything has been imported: what is there now and
    refers to itself is never freed when it becomes garbage.
    """
    gc.collect()
    gc.freeze()
