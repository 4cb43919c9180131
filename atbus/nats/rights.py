"""
What one client may do at the moment, with the answers that it owes.
"""

from __future__ import annotations

from typing import Final

from atbus.nats.permissions import EVERYTHING, Permissions

#: Rights to answer that are remembered; beyond it the oldest goes.
_RESPONSES_MAX: Final = 4_096


class Rights:
    """
    The rights of one client.

    :param permissions: What its user may do.
    """

    __slots__ = ("_answerable", "may_answer", "permissions", "publishes_freely", "receives_freely")

    def __init__(self, permissions: Permissions = EVERYTHING) -> None:
        self.permissions = permissions
        self.publishes_freely = permissions.publishes_freely
        #: Whether no delivery has to be asked for.
        self.receives_freely = permissions.receives_freely
        #: Whether what is asked of the client lets it answer there.
        self.may_answer = bool(permissions.responses)
        # How often it may answer where, and until when.
        self._answerable: dict[bytes, tuple[int, float]] = {}

    def may_publish(self, subject: bytes, now: float) -> bool:
        """
        Tell whether the client may publish; a right to answer is used up by that.

        :param subject: As the client has written it.
        :param now: Seconds.
        """
        if self.permissions.may_publish(subject.decode(errors="replace")):
            return True
        left, until = self._answerable.pop(subject, (0, 0.0))
        if left == 0 or now > until:
            return False
        if left > 1 or left < 0:
            self._answerable[subject] = (left - 1 if left > 0 else left, until)
        return True

    def asked(self, reply: bytes, now: float) -> None:
        """
        Let the client answer what it is about to be asked, where it `may_answer`.

        :param reply: Where the answer is awaited.
        :param now: Seconds.
        """
        seconds = self.permissions.responses_seconds
        if len(self._answerable) >= _RESPONSES_MAX:
            del self._answerable[next(iter(self._answerable))]
        until = now + seconds if seconds else float("inf")
        self._answerable[reply] = (self.permissions.responses, until)

    def end(self) -> None:
        """Forget what the client owes: nobody waits for answers of somebody who has gone."""
        self._answerable = {}
