"""
Loops over one connection between leafs: what finds them, and what of that is put off.

Interest in a subject ``$LDS.`` is passed on by everybody, so it comes back to who has told it where
there is a loop. A hub finds that out by itself, when a leaf tells it (`atbus.nats.leaf_session`).
To a leaf nobody tells it: servers of a cluster do not tell a leaf again what it has told. So a node
that is a leaf looks whether the bus wants its subject, which is then known from another gateway.

1. Each connection that we dial has a subject of its own. It begins with our bus id: of two gateways
   over which there is a loop the one with the lower id stays, if the other one hangs up in time.
2. When a bus that was cut is joined, or a server is handed over, two gateways are connected to one
   server until the one has hung up. Nobody is told at once of the loop that this is: the server
   would end both connections.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall

from atbus.nats import bounds
from atbus.nats.leaf_session import LOOP_SUBJECTS
from atbus.wire.messages import InterestEntry

if TYPE_CHECKING:
    from atbus.nats.leaf import LeafLink

_RANDOM_BYTES: Final = 8


def draw_loop_subject(bus_id: int) -> str:
    """
    Draw the subject by which a connection that we dial finds loops.

    :param bus_id: Ours.
    """
    return f"{LOOP_SUBJECTS}{bus_id:016x}{secrets.token_hex(_RANDOM_BYTES)}"


class Loops:
    """
    What finds loops over one connection.

    :param link: The connection.
    :param timers: The clock.
    """

    def __init__(self, link: LeafLink, timers: Any) -> None:
        self._link = link
        self._timers = timers
        self._put_off: dict[str, IDelayedCall] = {}

    def sift(self, entries: Sequence[InterestEntry]) -> list[InterestEntry]:
        """
        Look at what the bus tells.

        :returns: What the other side is to be told of it now.
        """
        for entry in entries:
            if not entry.weight and entry.subject in self._put_off:
                # What comes later is another one.
                _cancel(self._put_off.pop(entry.subject))
            elif self._waits(entry) and entry.subject not in self._put_off:
                self._put_off[entry.subject] = self._timers.callLater(
                    self._patience(entry.subject), self._is_due, entry.subject
                )
        return [
            entry for entry in entries if not (self._waits(entry) or entry.subject == self._own)
        ]

    def heard(self, subject: str) -> None:
        """Look at what the other side tells: it may be known now that another gateway stays."""
        own = self._put_off.get(self._own) if subject.startswith(LOOP_SUBJECTS) else None
        if own is not None and own.active() and not self._patience(self._own):
            own.reset(0.0)

    @property
    def are_put_off(self) -> bool:
        """Whether there seems to be a loop, of which nobody is told yet."""
        return bool(self._put_off)

    def stop(self) -> None:
        """Forget all: the connection has ended."""
        for call in self._put_off.values():
            _cancel(call)
        self._put_off = {}

    @property
    def _own(self) -> str:
        """Ours, when we have dialed; of the others a node that lets leafs in has one for all."""
        session = self._link.session
        return session.loop_subject if session.is_spoke else ""

    @property
    def _has_rivals(self) -> bool:
        return self._link.hides_loops or self._link.has_rivals()

    def _waits(self, entry: InterestEntry) -> bool:
        """Tell whether something finds a loop of which the other side is not told at once."""
        if not entry.weight or not entry.subject.startswith(LOOP_SUBJECTS):
            return False
        if entry.subject == self._own:
            return True
        return (entry.subject, "") in self._link.interests and self._has_rivals

    def _patience(self, subject: str) -> float:
        """Tell how long something waits, seconds: not at all, where another gateway stays."""
        # Those of servers have another length.
        lower = any(
            other.startswith(LOOP_SUBJECTS) and len(other) == len(subject) and other < subject
            for other, _ in self._link.interests
        )
        is_second = subject == self._own and lower and not self._has_rivals
        return 0.0 if is_second else bounds.LEAF_RIVAL_SECONDS

    def _is_due(self, subject: str) -> None:
        if self._link.hides_loops:
            self._put_off[subject] = self._timers.callLater(
                bounds.LEAF_RIVAL_SECONDS, self._is_due, subject
            )
        elif subject == self._own and self._patience(subject):
            # When we have stood still, it may be over, and that not be read yet.
            self._link.known().addCallback(lambda _: self._is_certain(subject))
        else:
            self._is_certain(subject)

    def _is_certain(self, subject: str) -> None:
        call = self._put_off.get(subject)
        if call is None or call.active():
            return
        del self._put_off[subject]
        if subject == self._own:
            self._link.is_looped()
        else:
            self._link.tell_loop(subject)


def _cancel(call: IDelayedCall) -> None:
    if call.active():
        call.cancel()
