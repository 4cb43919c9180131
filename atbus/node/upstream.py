"""
Keep this node registered with one of its upstreams.

The candidates are tried in order, for ever, with a growing random pause; the pause begins anew
after each success. When an upstream is lost, the best of the others is tried at once; the lost one
has its turn again when they have had theirs. An upstream that refuses, or speaks another language,
is asked again after a long pause, which is its alone: the next one has its turn at once. But an
explicit refusal before the node was ever up ends the node: it is a mistake that waiting does not
mend, like a wrong token or an id that is taken. Whoever is found where a record says that another
is has refused nothing: it is refused, and the next one has its turn.

Who the candidates are is asked before each attempt, for nodes come and go.

A node that is below a second choice looks now and then, if it is told to, whether somebody listens
at a better address again. When that was so twice in a row, it moves there; so one that flutters
draws nobody to it. A node whose upstream is draining moves to the best of the others.

Who moves registers with the new upstream before it leaves the old one: whoever is told that the new
one is up takes leave of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from atbus.address import Address
from atbus.errors import AtbusError, RegistrationRefused, Status
from atbus.node.context import Alarm
from atbus.routing.backoff import Backoff
from atbus.routing.choice import Candidate

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint

# Looks in a row that find somebody at a better address.
_ANSWERS = 2
# The other side may decide otherwise the next time without anybody changing anything.
_TRANSIENT = frozenset(
    {Status.CROSSED_DIAL, Status.OVERLOADED, Status.UNKNOWN_ENDPOINT, Status.SLOW_READER}
)


class Upstream:
    """
    The upstream of one node, wherever it is at the moment.

    :param candidates: Gives who there is now, in order of preference.
    :param connect: Dials and registers; fires when the endpoint can take messages.
    :param went_up: Called when an upstream can take messages.
    :param refused: Called with an explicit refusal; tells whether to go on trying.
    :param probe: Tells whether somebody listens at an address, by failing when nobody does.
    :param stuck: Called when a node whose upstream is draining has tried all others in vain, and
        why the last of them would not have it.
    """

    def __init__(
        self,
        context: Context,
        candidates: Callable[[], tuple[Candidate, ...]],
        *,
        connect: Callable[[Candidate], Deferred[Endpoint]],
        went_up: Callable[[Endpoint], None],
        refused: Callable[[RegistrationRefused], bool],
        probe: Callable[[Address], Deferred[None]],
        stuck: Callable[[Status], object],
    ) -> None:
        config = context.config
        self.attempts = 0
        self._candidates = candidates
        self._context = context
        self._connect = connect
        self._went_up = went_up
        self._refused = refused
        self._probe = probe
        self._stuck = stuck
        self._backoff = Backoff(
            config.retry_initial_seconds, config.retry_factor, config.retry_seconds_max
        )
        # The candidate that is tried, or was reached, and those of this round before it.
        self._candidate: Candidate | None = None
        self._tried: set[Candidate] = set()
        # Until when those are left alone that have refused, or broken the protocol.
        self._paused: dict[Candidate, float] = {}
        self._call: IDelayedCall | None = None
        self._attempt: Deferred[Endpoint] | None = None
        self._running = False
        # The upstream that was reached, where, and whether it is draining.
        self._endpoint: Endpoint | None = None
        self._home: Candidate | None = None
        self._is_draining = False
        # How often a better address has answered in a row.
        self._answered = 0
        self._look = Alarm(context.timers, self._look_for_better)

    @property
    def is_moving(self) -> bool:
        """Whether another upstream is dialled while there is one."""
        return self._attempt is not None and self._endpoint is not None

    def start(self) -> None:
        """Begin to try."""
        self._running = True
        self._try()

    def stop(self) -> None:
        """Try no more; an attempt under way is ended."""
        self._running = False
        self._look.set(None)
        self._stop_waiting()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _stop_waiting(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def reconfigure(self) -> None:
        """Take the configuration's new waits, from the shortest on."""
        config = self._context.config
        self._backoff.initial = config.retry_initial_seconds
        self._backoff.factor = config.retry_factor
        self._backoff.cap = config.retry_seconds_max
        self._backoff.reset()
        self._paused.clear()
        self._look.set(None)
        self._look_later()

    def candidates_changed(self) -> None:
        """Try at once when nobody was there to try; otherwise whoever is new has its turn."""
        if self._call is not None and self._candidate is None and self._candidates():
            self._call.cancel()
            self._try()

    def lost(self) -> None:
        """Try again: another candidate at once, the upstream that is gone after a short pause."""
        home, self._endpoint, self._home = self._home, None, None
        self._look.set(None)
        if self._is_draining:
            self._is_draining = False
            self._stop_waiting()
        if not self._running or self._attempt is not None or self._call is not None:
            return
        candidates = self._candidates()
        self._tried = set() if home is None else {home}
        self._tried.update(each for each in candidates if _is_same_place(each, home))
        self._wait_for_next()

    def _try(self) -> None:
        self._call = None
        candidate = self._next()
        if candidate is None and self._is_draining:
            self._stuck(Status.NO_ROUTE)
        if candidate is None:
            # Nobody is known yet; whoever knows of one may be asked soon. Or all are left alone.
            self._candidate = None
            self._wait_for_next()
            return
        self._dial(candidate)

    def _dial(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self.attempts += 1
        connecting = self._connect(candidate)
        self._attempt = connecting
        # When it has ended before it came here, one of these has cleared the attempt again.
        connecting.addCallbacks(self._reached, self._failed).addErrback(self._broken)

    def _next(self) -> Candidate | None:
        """Choose the best candidate that has not had its turn in this round."""
        candidates = self._elsewhere()
        left = [each for each in candidates if each not in self._tried]
        if not left:
            self._tried.clear()
        return next(iter(left or candidates), None)

    def _elsewhere(self) -> list[Candidate]:
        """List who can be dialled: whoever has to leave asks also who would be left alone."""
        now = self._context.now
        return [
            each
            for each in self._candidates()
            if not _is_same_place(each, self._home)
            and (self._is_draining or self._paused.get(each, now) <= now)
        ]

    def _leave_alone(self, candidate: Candidate) -> None:
        now = self._context.now
        self._paused = {each: until for each, until in self._paused.items() if until > now}
        self._paused[candidate] = now + self._backoff.refused_seconds

    def _wait_for_next(self) -> None:
        """Try who has not had its turn at once, and others after a pause."""
        candidates = self._elsewhere()
        if not self._tried.issuperset(candidates):
            self._wait(0)
            return
        seconds = self._backoff.next(self._context.random.random())
        until = [self._paused[each] for each in self._candidates() if each in self._paused]
        if until and not candidates:
            seconds = max(0.0, min(until) - self._context.now)
        self._wait(seconds)

    def _reached(self, endpoint: Endpoint) -> None:
        self._attempt = None
        self._tried.clear()
        self._backoff.reset()
        if self._running:
            self._endpoint, self._home, self._answered = endpoint, self._candidate, 0
            self._is_draining = False
            self._look_later()
            self._went_up(endpoint)

    # Another one than the one that there is.

    def drained(self) -> None:
        """Move to another upstream: the one that there is will be gone soon."""
        if not self._running or self._endpoint is None:
            self._stuck(Status.CLOSING)
            return
        self._is_draining = True
        self._look.set(None)
        if self._attempt is None and self._call is None:
            self._tried.clear()
            self._try()

    def _look_later(self) -> None:
        seconds = self._context.config.upstream_return_seconds
        is_free = self._running and self._endpoint is not None and not self._is_draining
        if seconds is not None and is_free:
            # Two looks that find somebody, and the wait is over.
            self._look.set(self._context.now + seconds / 2)

    def _look_for_better(self) -> None:
        better = next(iter(self._candidates()), None)
        if better is None or _is_same_place(better, self._home):
            self._answered = 0
            self._look_later()
            return
        self._probe(better.address).addCallbacks(self._found, self._not_found)

    def _found(self, _: object) -> None:
        self._answered += 1
        better = next(iter(self._candidates()), None)
        if not self._running or self._endpoint is None or self._attempt is not None:
            return
        if better is None or _is_same_place(better, self._home) or self._answered < _ANSWERS:
            self._look_later()
            return
        self._answered = 0
        self._dial(better)

    def _not_found(self, failure: Failure) -> None:
        failure.trap(AtbusError, CancelledError)
        self._answered = 0
        self._look_later()

    def _failed(self, failure: Failure) -> None:
        self._attempt = None
        error = failure.trap(AtbusError, CancelledError)
        if not self._running or error is CancelledError:
            return
        if self._endpoint is not None:
            self._not_moved(failure)
            return
        is_left_alone = False
        if isinstance(failure.value, RegistrationRefused):
            status = failure.value.status
            # A link that dies, or stays silent, in the middle of a registration refuses nothing.
            is_lasting = status.is_refusal and status not in _TRANSIENT
            if is_lasting and not self._is_misled(failure.value):
                mine = self._context.bus_id
                if not self._refused(failure.value):
                    return
                # An automatic node that gave its id up asks for another one: that is no repetition.
                is_left_alone = self._context.bus_id == mine
            elif status.is_breach or status is Status.CONNECT_FAILED:
                # To speak another language, or to be refused by TLS, will not be over soon.
                is_left_alone = True
        candidate = self._candidate
        if candidate is not None:
            self._tried.add(candidate)
        if candidate is None or not is_left_alone:
            self._wait(self._backoff.next(self._context.random.random()))
            return
        self._leave_alone(candidate)
        if not self._elsewhere():
            # Asking again soon changes nobody's mind; somebody else may come meanwhile.
            self._backoff.refused()
            self._candidate = None
        self._wait_for_next()

    def _is_misled(self, refusal: RegistrationRefused) -> bool:
        """Tell whether we have refused whoever answered for a candidate that a record spoke of."""
        candidate = self._candidate
        return not refusal.by_peer and candidate is not None and candidate.expected_id != 0

    def _not_moved(self, failure: Failure) -> None:
        """Stay a little longer where we are; an upstream that drains is left all the same."""
        if not self._is_draining:
            self._look_later()
            return
        if self._candidate is not None:
            self._tried.add(self._candidate)
        if self._tried.issuperset(self._elsewhere()):
            error = failure.value
            if isinstance(error, RegistrationRefused):
                self._stuck(error.status)
            else:
                self._stuck(Status.CONNECT_FAILED)
            self._wait(self._backoff.next(self._context.random.random()))
        else:
            self._wait(0)

    def _broken(self, failure: Failure) -> None:
        """Survive a defect of ours: log it, and go on trying."""
        self._attempt = None
        self._context.log.failure("connecting to upstream failed", failure=failure)
        if self._running:
            self._wait(self._backoff.refused())

    def _wait(self, seconds: float) -> None:
        if self._call is None:
            self._call = self._context.timers.callLater(seconds, self._try)


def _is_same_place(one: Candidate, other: Candidate | None) -> bool:
    """Tell whether two are dialled at one address, whoever is expected there."""
    return other is not None and one.address == other.address
