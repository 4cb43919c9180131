"""
All that a node may ever load, for a process that will not find it any more.

A node loads what it has use for. With ``--chroot``, ``--rundir``, ``--uid`` or ``--gid`` its
process is soon in another place, or somebody else: what it needs then, also after its configuration
has changed, has to be there before.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Final

import atbus

#: Tools, which no node has use for, but for the record of its events.
NOT_OF_A_NODE: Final = ("atbus.__main__", "atbus.cli", "atbus.testing")

#: What is loaded where it is called for.
ALSO: Final = (
    *("atbus.testing.node_record", "cattrs", "zstandard", "encodings.idna"),
    # Of Twisted, when a connection is made or refused, or a traceback written.
    *("twisted.internet._resolver", "twisted.internet.endpoints", "twisted.logger._json"),
)


def load_everything() -> None:
    """Load all that a node may have use for, as far as it is installed."""
    for name in (*_modules_of_a_node(), *ALSO):
        try:
            import_module(name)
        except ImportError:
            # What it is for is not installed, and a configuration that needs it says so.
            continue


def _modules_of_a_node() -> list[str]:
    names = []
    for module in pkgutil.iter_modules(atbus.__path__, "atbus."):
        if module.name in NOT_OF_A_NODE:
            continue
        names.append(module.name)
        if module.ispkg:
            path = import_module(module.name).__path__
            names += [each.name for each in pkgutil.walk_packages(path, f"{module.name}.")]
    return names
