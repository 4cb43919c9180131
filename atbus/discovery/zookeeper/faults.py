"""
What can go wrong with ZooKeeper, and whose fault it is.
"""

from __future__ import annotations

import enum

import attrs

from atbus.errors import DiscoveryError


class Cause(enum.Enum):
    """Why a server refused, as far as it makes a difference to what is done next."""

    #: There is no such place, or no folder for it.
    NOTHING = "nothing"
    #: There is something in that place already.
    TAKEN = "taken"
    #: What is there is not what was seen.
    CHANGED = "changed"
    #: User or password are wrong, or the user may not do this.
    DENIED = "denied"
    #: Anything else.
    OTHER = "other"


@attrs.define(slots=False, eq=False)
class ZooKeeperUnreachable(DiscoveryError):
    """No server is there, or none any more; what was asked may be done or not."""


@attrs.define(slots=False, eq=False)
class ZooKeeperClosed(DiscoveryError):
    """We have closed the session."""


@attrs.define(slots=False, eq=False)
class ZooKeeperRefused(DiscoveryError):
    """
    A server understood, and refused.

    :param detail: What was asked, and what the server said.
    :param cause: What it is about.
    """

    cause: Cause = Cause.OTHER
