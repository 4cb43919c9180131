"""
Which gateway stays when two halves of a bus are joined that each have one (`atbus.nats.joining`).

Who serves can be asked by a subscription of its own, and the nodes at both ends of the link that
joins the halves have one as well when they have shut it. The one whose turn it is, that with the
lower id, asks all three. When something is refused or takes too long it says so; the other one
hangs up then, or when it hears nothing for long, and what is on its way is lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from atbus.errors import AtbusError
from atbus.nats import bounds
from atbus.nats.handover import Taking
from atbus.nats.handover_terms import Done, Ready
from atbus.nats.joining import Leaving, Staying
from atbus.node.gates import DONE, GROUPS, HOLD, NO, open_words
from atbus.subjects.gate import BRIDGES, GATES
from atbus.subjects.pattern import check_queue

if TYPE_CHECKING:
    from atbus.nats.leaf import LeafLink
    from atbus.node.node import Node
    from atbus.node.publication import Publication
    from atbus.node.subscription import Subscription

#: What the one that leaves is asked for, in this order; and what it is told where that fails.
BEGIN, CHOOSE, FINISH, BACK = b"begin", b"choose", b"finish", b"back"
END = b"end"


class _End(NamedTuple):
    """One end of a link that is shut, as it is known by its subject."""

    subject: str
    near: int
    far: int
    here: int
    there: int


class _Gone(ValueError):
    """Who was asked is not there any more."""


class Reunion:
    """
    The part of one gateway.

    :param node: Its node.
    :param timers: The clock.
    :param key: What the gateways for the same server have in common.
    :param hang_up: Ends the connection to the server.
    """

    _log = Logger(namespace="atbus.nats")

    def __init__(self, node: Node, timers: Any, key: str, hang_up: Callable[[], object]) -> None:
        self._node = node
        self._timers = timers
        self._hang_up = hang_up
        self._prefix = f"{BRIDGES}.{key}."
        self._gates = f"{GATES}.{key}."
        self._link: LeafLink | None = None
        self._subscription: Subscription | None = None
        # The side that leaves.
        self._leaving: Leaving | None = None
        self._patience: IDelayedCall | None = None
        self._end: _End | None = None
        # The side that stays: what it does now, and whom it has asked since that is there.
        self._joining: Deferred[None] | None = None
        self._asking: dict[str, Deferred[Publication]] = {}
        self._tried: set[int] = set()
        # The ends that let everything cross, though the other one is still there.
        self._opened: set[str] = set()
        # Whether the server is asked for what comes when a link is not shut any more.
        self._is_ending = False

    @property
    def _own(self) -> int:
        return int(self._node.bus_id)

    def _subject(self, bus_id: int) -> str:
        return f"{self._prefix}{bus_id:016x}"

    def serve(self, link: LeafLink) -> None:
        """Take note that we serve: another one can join."""
        self._link = link
        try:
            self._subscription = self._node.subscribe(self._subject(self._own), self._asked)
        except AtbusError as refused:
            # As a gateway that knows nothing of this.
            self._log.warn("who joins us hears nothing: {why}", why=str(refused))

    def ended(self) -> None:
        """Take note that there is no connection any more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.unsubscribe()
        self._link = self._leaving = self._end = None
        self._be_patient(None)
        self._tried.clear()
        self._opened.clear()
        self._is_ending = False
        joining, self._joining = self._joining, None
        if joining is not None:
            joining.cancel()

    def _ends(self) -> list[_End]:
        """Find the ends of links that are shut because of this server."""
        found: list[_End] = []
        for subject in self._node.beyond.wanted_under(self._gates):
            try:
                numbers = [int(each, 16) for each in subject[len(self._gates) :].split(".")]
                found.append(_End(subject, *numbers))
            except (ValueError, TypeError):
                continue
        return found

    def _end_between(self, near: int, far: int) -> _End | None:
        """Find the only end of a link that is shut, on the side of one gateway before another."""
        ends = [end for end in self._ends() if (end.near, end.far) == (near, far)]
        return ends[0] if len(ends) == 1 else None

    # Who leaves.

    def waits(self, first: int) -> bool:
        """
        Tell whether to wait until the one that stays asks us.

        :param first: Its id.
        """
        self._note()
        if self._leaving is not None and self._end is not None:
            wanted = self._node.beyond.wanted_under(self._prefix)
            if self._end in self._ends() and self._subject(self._end.far) in wanted:
                return True
            self._be_patient(None)
            self._go_back("the other one is gone, or the link has opened by itself")
            return False
        if (
            self._link is None
            or self._subscription is None
            or not self._link.takes_part
            or not (self._link.is_free or isinstance(self._link.handover, Taking))
            or self._subject(first) not in self._node.beyond.wanted_under(self._prefix)
            or self._end_between(self._own, first) is None
        ):
            return False
        if self._patience is None:
            self._be_patient(bounds.JOINING_SECONDS)
        return True

    def _be_patient(self, seconds: float | None) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        self._patience = None
        if seconds is not None:
            self._patience = self._timers.callLater(seconds, self._give_up, "nobody asks for it")

    def _give_up(self, why: str) -> None:
        """Hang up; nothing more can be put in order."""
        self._log.warn("a half is not handed over in order: {why}", why=why)
        if self._leaving is not None:
            self._leaving.let_go()
        self._hang_up()

    @property
    def is_asked(self) -> bool:
        """Whether the one that stays has asked us."""
        return self._leaving is not None

    def stays(self) -> None:
        """Take note that it is our turn, perhaps again; ask whoever has joined us."""
        self._be_patient(None)
        self._go_back("it is our turn again")
        self._look()

    def _go_back(self, why: str) -> None:
        """Go on as if nobody had asked, if that can still be; hang up otherwise."""
        leaving, link = self._leaving, self._link
        if leaving is None or link is None:
            return
        if leaving.has_order:
            self._hang_up()
            return
        if not leaving.can_stay:
            self._give_up(why)
            return
        self._leaving = None
        leaving.end()

    def _asked(self, question: Publication) -> Deferred[bytes] | None:
        link = self._link
        if link is None:
            return None
        if question.payload == END:
            if self._leaving is not None or self._patience is not None:
                self._give_up("the other one has given up")
            return None
        if not question.reply_to:
            return None
        self._be_patient(bounds.JOINING_SECONDS)
        return Deferred.fromCoroutine(self._answer(link, question.payload))

    async def _answer(self, link: LeafLink, words: bytes) -> bytes:
        try:
            if words.startswith(BEGIN):
                first, _, mark = words[len(BEGIN) :].decode().partition(" ")
                return await self._begin(link, int(first, 16), mark)
            leaving, end = self._leaving, self._end
            if leaving is None or end is None:
                return NO
            if words == CHOOSE:
                await link.known()
                leaving.choose()
            elif words == HOLD:
                await self._ask(end.subject, HOLD)
            elif words == FINISH:
                leaving.stop()
                self._node.publish(end.subject, GROUPS)
                await link.known()
                return Done(kept=tuple(leaving.give()), inboxes=tuple(link.expected)).write()
            elif words.startswith(BACK):
                leaving.take_back(Done.read(words[len(BACK) :]).kept)
                await self._ask(end.subject, open_words(leaving.sent.rows))
                if self._link is link:
                    self._be_patient(None)
                Deferred.fromCoroutine(self._end_in_order(link, leaving))
        except (AtbusError, ValueError) as fault:
            if self._link is link:
                self._give_up(str(fault))
            return NO
        return DONE

    async def _end_in_order(self, link: LeafLink, leaving: Leaving) -> None:
        await link.settled()
        leaving.leave_groups()
        await link.settled()
        self._hang_up()

    async def _begin(self, link: LeafLink, first: int, mark: str) -> bytes:
        check_queue(mark)
        while isinstance(link.handover, Taking) and not link.is_free:
            # We have just taken over ourselves.
            await link.pause(bounds.HANDOVER_GRACE_SECONDS)
        end = self._end_between(self._own, first)
        if end is None or not link.is_free or not link.may_join(mark):
            raise ValueError("the link, the server or the gateway does not allow it")
        self._end = end
        leaving = self._leaving = link.handover = Leaving(link, mark, end.there)
        leaving.join()
        await link.known()
        await link.settled()
        return Ready(mark=mark, inboxes=tuple(link.expected)).write()

    # Who stays.

    def _note(self) -> None:
        """Note beyond which link the other one gives its half what the server sends."""
        link = self._link
        if link is None:
            return
        ends = [end for end in self._ends() if end.near == self._own]
        self._opened &= {end.subject for end in ends}
        served = tuple(end.there for end in ends if end.subject not in self._opened)
        if served or not link.served:
            link.served = served
        elif self._opened:
            link.served = ()
        elif not self._is_ending:
            # What the other one had sent is before that.
            self._is_ending = True
            link.known().addCallback(self._noted, link)

    def _noted(self, _: None, link: LeafLink) -> None:
        self._is_ending = False
        if not any(end.near == self._own for end in self._ends()):
            link.served = ()

    def _look(self) -> None:
        """See whether there is another one on the other side of a link that is shut."""
        self._note()
        link = self._link
        wanted = self._node.beyond.wanted_under(self._prefix)
        for subject in self._asking.keys() - wanted:
            self._asking.pop(subject).cancel()
        others = {int(each[len(self._prefix) :], 16) for each in wanted} - {self._own}
        self._tried &= others
        if link is None or not link.takes_part or not link.is_free or self._joining is not None:
            return
        if len(others) != 1 or others & self._tried:
            return
        [other] = others
        near, far = self._end_between(self._own, other), self._end_between(other, self._own)
        if near is None or far is None or (near.here, near.there) != (far.there, far.here):
            return
        # Whoever has handed over is still there for a moment.
        self._tried.add(other)
        self._joining = joining = Deferred.fromCoroutine(self._join(link, other, near))

        def is_over(result: object) -> object:
            if self._joining is joining:
                self._joining = None
            return result

        joining.addBoth(is_over)
        joining.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _ask(self, subject: str, words: bytes) -> bytes:
        seconds = bounds.JOINING_SECONDS
        asked = self._node.request_subject(subject, words, timeout=seconds)
        # Behind the last question it may be gone before its answer is here.
        is_to_stay = subject.startswith(self._prefix) and not words.startswith(BACK)
        if is_to_stay:
            self._asking[subject] = asked
        try:
            answer = (await asked).payload
        except CancelledError:
            if not is_to_stay or subject in self._asking:
                raise
            raise _Gone("it is gone") from None
        finally:
            self._asking.pop(subject, None)
        if answer == NO:
            raise ValueError("it was refused")
        return answer

    async def _hold(self, *subjects: str) -> None:
        """Have both ends of the link hold what would cross."""
        asked = [Deferred.fromCoroutine(self._ask(each, HOLD)) for each in subjects]
        try:
            await gatherResults(asked, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()

    async def _join(self, link: LeafLink, other: int, end: _End) -> None:
        subject = self._subject(other)
        # Our half must not take it for a group that somebody is a member of.
        mark = f"atbus-{secrets.token_hex(8)}"
        staying = link.handover = Staying(link, mark, end.there)
        try:
            words = BEGIN + f"{self._own:x} {mark}".encode()
            staying.begin(Ready.read(await self._ask(subject, words)).inboxes)
            await link.known()
            await link.settled()
            await self._ask(subject, CHOOSE)
            await self._hold(end.subject, subject)
            staying.change()
            await link.known()
            done = Done.read(await self._ask(subject, FINISH))
            staying.expect(done.inboxes)
            await link.known()
            back = Done(kept=tuple(staying.merge(done.kept)))
            await self._ask(subject, BACK + back.write())
            self._opened.add(end.subject)
            self._note()
            await self._ask(end.subject, open_words(staying.sent.rows))
            await link.settled()
            await link.settled()
            # Before it has hung up there is a loop over the server, which ends connections.
            await self._gone(link, other)
        except (AtbusError, ValueError) as fault:
            # Where nothing can be said the other one hears nothing for long, and hangs up as well.
            with suppress(AtbusError):
                self._node.publish(subject, END)
            if isinstance(fault, AtbusError | _Gone):
                # What its half wants, the server's mark for loops among it, is forgotten later
                # than that it is gone.
                await link.pause(bounds.HANDOVER_GRACE_SECONDS)
            lost = staying.end()
            link.gave_up(lost)
            self._log.warn(
                "a half is not taken over in order, {lost} publications are lost: {why}",
                lost=lost,
                why=str(fault),
            )
            self._note()
        else:
            staying.end()

    async def _gone(self, link: LeafLink, other: int) -> None:
        """Wait until another one does not serve any more, but not for ever."""
        subject = self._subject(other)
        for _ in range(round(bounds.JOINING_SECONDS / bounds.HANDOVER_GRACE_SECONDS)):
            if subject not in self._node.beyond.wanted_under(subject):
                return
            await link.pause(bounds.HANDOVER_GRACE_SECONDS)
