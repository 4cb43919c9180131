"""
Which gateway serves a remote, and how the next one takes it over (`atbus.nats.handover`).

Who serves has a subscription of its own, so the others know who does, and can talk to it. A
candidate with a lower id asks it to begin, and later to finish; both questions are answered when
that is done. Who is not asked in time, or by one that cannot do it, or whose bus has been joined
with one where another gateway serves, hangs up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from atbus.errors import AtbusError
from atbus.nats import bounds
from atbus.nats.handover_terms import BEGIN, FINISH, Ready
from atbus.subjects.pattern import OWN_SUBJECTS

if TYPE_CHECKING:
    from atbus.nats.candidacy import Candidacy
    from atbus.node.node import Node
    from atbus.node.publication import Publication
    from atbus.node.subscription import Subscription

#: Who serves a remote or a cluster is known by the interest in this, its key and the id.
SERVING: Final = f"{OWN_SUBJECTS}.nats.serving"
#: What a candidate that can take over tells of itself.
TAKES_OVER: Final = "h"

_ID_DIGITS: Final = 16
#: What is answered when we do not hand over.
_NO: Final = b"no"
#: What is answered when another one is just taking over.
_LATER: Final = b"later"


class Gives(Protocol):
    """The side of whoever hands over (`atbus.nats.handover.Giving`)."""

    mark: str

    @property
    def servers(self) -> tuple[str, ...]:
        """Which members of a cluster it hands over; none where there is one server."""

    @property
    def has_company(self) -> bool:
        """Whether the other one has joined the mark."""

    @property
    def is_shared(self) -> bool:
        """Whether the other one passes on what is not marked here."""

    def begin(self) -> None:
        """Join the mark."""

    def share(self) -> None:
        """From now on the other one passes on what is not marked here."""

    def stop(self) -> None:
        """Send no more."""

    def end(self) -> None:
        """Serve on alone."""

    def let_go(self) -> None:
        """Pass on what was kept."""

    def done(self, inboxes: tuple[str, ...]) -> bytes:
        """Write what the other one has to know in the end."""

    def forget_kept(self) -> None:
        """Take note that the other one passes on what was kept."""


class Takes(Protocol):
    """The side of whoever takes over (`atbus.nats.handover.Taking`)."""

    def begin(self) -> None:
        """Join."""

    def finish(self, text: bytes) -> None:
        """Go on alone, by what the other one has written; ValueError: it is not readable."""

    def give_up(self) -> int:
        """Go on alone, for the other one is gone; how much is lost."""


class Party(Protocol):
    """What one gateway serves and another one takes over: a connection, or several."""

    @property
    def takes_part(self) -> bool:
        """Whether publications cross."""

    @property
    def is_free(self) -> bool:
        """Whether a handover may begin."""

    @property
    def is_taking(self) -> bool:
        """Whether it takes over, or has just done so."""

    @property
    def expected(self) -> Collection[str]:
        """The inboxes to which answers are expected."""

    @property
    def taking(self) -> Takes | None:
        """How it takes over, if it does."""

    def may_join(self, mark: str) -> bool:
        """Tell whether it can join a mark."""

    def give(
        self, mark: str, is_ready: Callable[[], object], is_done: Callable[[], object]
    ) -> Gives:
        """Hand over."""

    def take_over(self, terms: Ready, joined: Callable[[], object]) -> None:
        """Take over, when it takes part."""

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something, unless it ends before."""

    def settled(self) -> Deferred[None]:
        """Wait until all has come that was matched."""

    def gave_up(self, count: int) -> None:
        """Count what is lost."""


class Halves(Protocol):
    """What is done when two halves of a bus are joined (`atbus.nats.reunion.Reunion`)."""

    @property
    def is_asked(self) -> bool:
        """Whether the other one has asked us."""

    def serve(self, link: Any) -> None:
        """Take note that we serve."""

    def ended(self) -> None:
        """Take note that we do not."""

    def waits(self, first: int) -> bool:
        """Tell whether to wait until the other one asks us."""

    def stays(self) -> None:
        """Take note that it is our turn."""


class Apart:
    """Nothing is done then."""

    is_asked = False

    def serve(self, link: Any) -> None:
        """Do nothing."""

    def ended(self) -> None:
        """Do nothing."""

    def waits(self, first: int) -> bool:
        """Do not wait."""
        return False

    def stays(self) -> None:
        """Do nothing."""


class Succession:
    """
    The part of one gateway.

    :param node: Its node.
    :param timers: The clock.
    :param candidacy: Tells whose turn it is.
    :param dial: Begins to serve, or to take over,
    :param hang_up: and hangs up.
    :param halves: What becomes of two halves of a bus that are joined.
    """

    _log = Logger(namespace="atbus.nats")

    def __init__(
        self,
        node: Node,
        timers: Any,
        candidacy: Candidacy,
        dial: Callable[[], object],
        hang_up: Callable[[], object],
        halves: Halves,
    ) -> None:
        self._node = node
        self._timers = timers
        self._candidacy = candidacy
        self._dial = dial
        self._hang_up = hang_up
        self._reunion = halves
        self._prefix = f"{SERVING}.{candidacy.key}."
        self._own = f"{self._prefix}{node.bus_id:016x}"
        # The connection that serves.
        self._link: Party | None = None
        self._subscription: Subscription | None = None
        self._patience: IDelayedCall | None = None
        self._giving: Gives | None = None
        # Whether the other one has been told all, and goes on alone.
        self._is_through = False
        # Who is to be told when we are ready, or done.
        self._reply_to = ""
        # The gateway that we take over from, what it is asked, and what it has said.
        self._server = ""
        self._asking: Deferred[None] | None = None
        self._terms: Ready | None = None

    @property
    def has_others(self) -> bool:
        """Whether another gateway serves."""
        return any(each != self._own for each in self._serving)

    @property
    def is_asking(self) -> bool:
        """Whether another gateway has been asked, and has not answered."""
        return self._asking is not None

    @property
    def is_asked(self) -> bool:
        """Whether another gateway has asked, and takes over."""
        return self._giving is not None or self._reunion.is_asked

    def is_taking_over(self, link: Party) -> bool:
        """Tell whether a connection takes over from another gateway, and is not through with it."""
        return link.takes_part and link.is_taking and not link.is_free

    # Whoever serves.

    def joined(self, link: Party) -> None:
        """Take note of a connection that takes part: it serves, or takes over."""
        self._link = link
        taking = link.taking
        if taking is not None:
            taking.begin()
        else:
            self._serve(link)

    def _serve(self, link: Party) -> None:
        try:
            self._subscription = self._node.subscribe(self._own, self._asked)
        except AtbusError as refused:
            # As a gateway that knows nothing of this.
            self._log.warn("who takes over from us hears nothing: {why}", why=str(refused))
        self._reunion.serve(link)

    def ended(self) -> None:
        """Take note that there is no connection any more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.unsubscribe()
        giving, self._giving, self._link = self._giving, None, None
        self._is_through = False
        if giving is not None:
            giving.let_go()
            is_in_time = self._patience is not None and self._patience.active()
            if self._reply_to and giving.is_shared and is_in_time:
                # Whoever takes over would wait for us, and keep what comes meanwhile.
                self._answer(_NO)
        self._reunion.ended()
        self._be_patient(None)
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()

    def gives_way(self) -> bool:
        """Tell whether the gateway whose turn it is will take over from us."""
        link = self._link
        if link is None or not (link.takes_part and self._candidacy.has_rivals):
            return False
        first = self._candidacy.first[len(self._candidacy.prefix) :]
        if self._reunion.waits(int(first[:_ID_DIGITS], 16)):
            return True
        is_able = first[_ID_DIGITS:].split(".")[1:2] == [TAKES_OVER]
        if not is_able or self._prefix + first[:_ID_DIGITS] in self._serving:
            # What was drawn for us may still come; we hang up when that is over.
            return self._is_through
        if self.is_taking_over(link):
            # What is kept for us nobody else has; the other one waits until we are through.
            return True
        if self._subscription is None:
            return False
        if self._patience is None:
            self._be_patient(bounds.HANDOVER_SECONDS)
        return True

    def stays(self) -> None:
        """Take note that it is our turn, perhaps again."""
        self._be_patient(None)
        giving, self._giving = self._giving, None
        self._is_through = False
        if giving is not None:
            giving.end()
        self._reunion.stays()

    def _be_patient(self, seconds: float | None) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None
        if seconds is not None:
            self._patience = self._timers.callLater(seconds, self._hang_up)

    def _asked(self, question: Publication) -> bytes | None:
        """Whoever takes over asks us to begin, or to finish."""
        link = self._link
        if link is None or not question.reply_to:
            return None
        giving = self._giving
        if giving is None and not link.is_free:
            # We have just begun ourselves.
            link.later(bounds.HANDOVER_GRACE_SECONDS, partial(self._asked, question))
            return None
        if question.payload == BEGIN and giving is not None and giving.has_company:
            # The other one is told when it is done.
            return _LATER
        self._reply_to = question.reply_to
        if question.payload == FINISH and giving is not None:
            giving.stop()
        elif question.payload == BEGIN and giving is None:
            mark = f"atbus-{secrets.token_hex(8)}"
            if not link.may_join(mark):
                self._hang_up()
                return _NO
            self._giving = link.give(mark, self._is_ready, self._is_done)
            self._giving.begin()
        elif question.payload == BEGIN and giving is not None and giving.is_shared:
            self._share()
        return None

    def _is_ready(self) -> None:
        if self._link is not None:
            self._link.settled().addCallback(lambda _: self._share())

    def _share(self) -> None:
        if self._giving is not None:
            self._giving.share()
            ready = Ready(
                mark=self._giving.mark, inboxes=self._inboxes, servers=self._giving.servers
            )
            if not self._answer(ready.write()):
                self._hang_up()

    def _answer(self, text: bytes) -> bool:
        """Answer, or say that we cannot; tell which of the two it was."""
        reply_to, self._reply_to = self._reply_to, ""
        for said in (text, _NO):
            try:
                self._node.publish(reply_to, said)
            except AtbusError as refused:
                # It is longer than the longest message, or the node publishes nothing at all.
                self._log.warn("a server is not handed over in order: {why}", why=str(refused))
            else:
                return said is text
        return False

    def _is_done(self) -> None:
        giving, link = self._giving, self._link
        if giving is not None and link is not None:
            if self._answer(giving.done(self._inboxes)):
                giving.forget_kept()
                self._is_through = True
            else:
                giving.let_go()
            link.settled().addCallback(lambda _: self._hang_up())

    @property
    def _inboxes(self) -> tuple[str, ...]:
        return () if self._link is None else tuple(self._link.expected)

    # Whoever takes over.

    @property
    def _serving(self) -> list[str]:
        return self._node.beyond.wanted_under(self._prefix)

    def asks(self) -> bool:
        """Ask the gateway that serves to begin; tell whether there is any."""
        if not self._others:
            return False
        self._start(self._begin())
        return True

    @property
    def _others(self) -> list[str]:
        return [each for each in self._serving if each != self._own]

    def _start(self, work: Any) -> None:
        self._asking = asking = Deferred.fromCoroutine(work)

        def is_over(result: object) -> object:
            if self._asking is asking:
                self._asking = None
            return result

        asking.addBoth(is_over)
        asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _ask(self, what: bytes) -> bytes:
        # The other one hangs up before that.
        seconds = bounds.HANDOVER_SECONDS + 1
        return (await self._node.request_subject(self._server, what, timeout=seconds)).payload

    async def _begin(self) -> None:
        self._terms = None
        try:
            text = await self._ask_in_turn()
            if text is not None:
                self._terms = Ready.read(text)
        except (AtbusError, ValueError) as fault:
            self._log.info("{server} does not hand over: {why}", server=self._server, why=fault)
        self._asking = None
        self._dial()

    async def _ask_in_turn(self) -> bytes | None:
        """Ask the one that serves, after another one has taken over; None if nobody serves."""
        until = self._timers.seconds() + bounds.HANDOVER_SECONDS
        while self._timers.seconds() < until:
            others = self._others
            if not others:
                return None
            if len(others) == 1:
                [self._server] = others
                text = await self._ask(BEGIN)
                if text != _LATER:
                    return text
            waiting: Deferred[None] = Deferred()
            self._timers.callLater(bounds.HANDOVER_GRACE_SECONDS, waiting.callback, None)
            await waiting
        return _NO

    def prepare(self, link: Party) -> None:
        """Let a new connection take over what another gateway hands over, if one does."""
        terms, self._terms = self._terms, None
        if terms is not None:
            link.take_over(terms, lambda: self._start(self._finish(link)))

    async def _finish(self, link: Party) -> None:
        taking = link.taking
        assert taking is not None
        try:
            await self._candidacy.everywhere()
            taking.finish(await self._ask(FINISH))
        except (AtbusError, ValueError) as fault:
            lost = taking.give_up()
            link.gave_up(lost)
            self._log.warn(
                "{server} has not handed over, {lost} publications are lost: {why}",
                server=self._server,
                lost=lost,
                why=fault,
            )
        self._serve(link)
