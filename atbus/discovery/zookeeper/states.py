"""
What becomes of a session, and what is known of a place: as values.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs


@attrs.frozen
class Connected:
    """
    A server answers.

    :param session_id: Of the session; another one than before when that had expired.
    """

    session_id: int


@attrs.frozen
class Suspended:
    """
    No server answers. The session may live on; nobody knows before a server says so.

    :param reason: Why, in words.
    """

    reason: str


@attrs.frozen
class Expired:
    """
    A server has said that the session is over, and all that was bound to it gone.

    There will be another one.
    """


@attrs.frozen
class Lost:
    """
    The connection has ended for good: user or password are wrong, or something is broken.

    :param reason: Why, in words.
    """

    reason: str


SessionNews: TypeAlias = Connected | Suspended | Expired | Lost
"""What becomes of a session."""


@attrs.frozen(kw_only=True)
class Stat:
    """
    What a server knows of a place.

    :param created: When it came into being: the zxid of that transaction.
    :param modified: When it was last written, the same way.
    :param version: How often it was written since it came into being.
    :param owner: The session to which it is bound; 0 for none.
    :param places: How many there are in it.
    """

    created: int
    modified: int
    version: int
    owner: int = 0
    places: int = 0
