"""
A gateway that serves something while it is its turn, and leaves it to the next one in good order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall

from atbus.nats import bounds

if TYPE_CHECKING:
    from atbus.nats.candidacy import Candidacy
    from atbus.nats.succession import Party, Succession

#: Why we hang up when it is not our turn any more.
GIVES_WAY: Final = "another gateway serves"


class Candidate:
    """What does so; it has its candidacy and its succession made before it starts."""

    _candidacy: Candidacy
    _succession: Succession
    _timers: Any

    def __init__(self) -> None:
        self._next: IDelayedCall | None = None
        # Whether it was another one's turn when we looked last.
        self._was_others = False
        # Who waits for our end, and for how long we wait with it.
        self._awaiting: list[Deferred[None]] = []
        self._patience: list[IDelayedCall] = []

    # What is served, and how.

    @property
    def _party(self) -> Party | None:
        """What can be handed over; None when we do not serve."""
        raise NotImplementedError

    @property
    def _is_connected(self) -> bool:
        """Whether we dial, or have dialed."""
        raise NotImplementedError

    def _dial(self) -> None:
        """Begin to serve, or to take over."""
        raise NotImplementedError

    def _hang_up(self, reason: str) -> None:
        """Serve no more."""
        raise NotImplementedError

    # Whose turn it is.

    def start(self) -> None:
        """Make ourselves known as a candidate, then serve if it is our turn."""
        self._candidacy.start()

    def look(self) -> None:
        """Dial or take over if it is our turn, let another one take over if it is not."""
        if self.is_leaving:
            self._leave()
            return
        succession = self._succession
        if not self._candidacy.is_ours:
            self._was_others = True
            if not succession.gives_way():
                self._give_way()
            return
        succession.stays()
        self._was_others = self._was_others and not self._is_connected
        is_idle = not (self._is_connected or self._is_waiting or succession.is_asking)
        if not self._candidacy.may_begin or not is_idle or succession.asks():
            return
        if self._was_others:
            # It has died. What it has passed on may not be here yet, and would go back there.
            self._was_others = False
            self._next = self._timers.callLater(bounds.SUCCESSION_SECONDS, self.look)
        else:
            self._dial()

    @property
    def _is_waiting(self) -> bool:
        return self._next is not None and self._next.active()

    def _give_way(self) -> None:
        self._hang_up(GIVES_WAY)

    def _dial_in_turn(self) -> None:
        """Dial, if it is still our turn."""
        is_ours = self._candidacy.is_standing and self._candidacy.is_ours
        if is_ours and not self._is_connected:
            self._dial()

    # Its end.

    @property
    def is_leaving(self) -> bool:
        """Whether it waits for another gateway to take over, after which it ends."""
        return bool(self._awaiting)

    def stop(self) -> Deferred[None]:
        """
        End, when another gateway has taken over; at once where none does.

        :returns: Fires then; never fails.
        """
        if not self.is_leaving and not self._candidacy.is_standing:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._awaiting.append(gone)
        if len(self._awaiting) == 1:
            self._set_patience(bounds.HANDOVER_SECONDS, self.stop_at_once)
            self._leave()
        return gone

    def _leave(self) -> None:
        """Let another gateway take over, as soon as we have taken over ourselves."""
        party = self._party
        if party is not None and self._succession.is_taking_over(party):
            if not self._is_waiting:
                self._next = self._timers.callLater(bounds.HANDOVER_GRACE_SECONDS, self._leave)
            return
        # One that cannot take over dials when it hears of us no more. That is at the end of this
        # turn, when we have hung up.
        is_new = self._candidacy.is_standing
        self._candidacy.leave()
        if not self._succession.gives_way():
            self.stop_at_once()
        elif is_new:
            self._set_patience(bounds.HANDOVER_ASKED_SECONDS, self._unless_asked)

    def _unless_asked(self) -> None:
        if not self._succession.is_asked:
            self.stop_at_once()

    def _set_patience(self, seconds: float, call: Callable[[], object]) -> None:
        self._patience.append(self._timers.callLater(seconds, call))

    def stop_at_once(self) -> None:
        """End; the others take over when they hear of it."""
        self._candidacy.stop()
        for call in (self._next, *self._patience):
            if call is not None and call.active():
                call.cancel()
        self._succession.ended()
        self._hang_up("the node stops")
        awaiting, self._awaiting = self._awaiting, []
        for gone in awaiting:
            gone.callback(None)
