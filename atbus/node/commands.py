"""
Commands: a few words to a node, a few lines back.

A command is executed by the node that it is addressed to and by nobody on the way. Names that begin
with ``atbus.`` are answered by the node itself (`atbus.node.admin`), all others by the program.
A temporary node has no id that an answer could find; the first node on the way asks in its stead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from atbus import limits
from atbus.busid import TEMPORARY, check_bus_id, format_bus_id
from atbus.errors import AtbusError, LocalProtocolError, RemoteProtocolError, Status, Undeliverable
from atbus.node.context import Alarm
from atbus.node.outbox import Answerable, Custody, Routed
from atbus.node.permits import who_is
from atbus.rights import Who
from atbus.routing.answers import Expectations, check_seconds
from atbus.routing.lines import AnswerParts, cut_lines
from atbus.wire import codec
from atbus.wire.head import Head
from atbus.wire.messages import CommandRequest, CommandResponse, Mode

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.link import Link
    from atbus.node.traffic import Traffic

Executor = Callable[[int, tuple[bytes, ...]], object]
Finish = Callable[[Status, list[bytes]], None]
BUILT_IN_PREFIX = b"atbus."
_EPOCH_SHIFT = 32
# What is said instead of an answer that could not be kept.
_TOO_MUCH = (Status.OVERLOADED, [b"answers before this one are not acknowledged"])


@attrs.define(eq=False)
class _Asked:
    """A command that waits for its answer."""

    target: int
    answer: Deferred[list[bytes]]
    deadline: float
    collected: AnswerParts = attrs.field(factory=lambda: AnswerParts(limits.COMMAND_ANSWER_BYTES))


class Commands:
    """
    Ask other nodes, and answer them.

    :param traffic: Routes requests and responses.
    :param built_in: What this node answers itself, by name.
    """

    def __init__(
        self, context: Context, traffic: Traffic, built_in: Mapping[bytes, Executor]
    ) -> None:
        self.executor: Executor | None = None
        self.unfinished = 0
        self.refusal: Status | None = Status.NOT_STARTED
        self._context = context
        self._traffic = traffic
        self._built_in = built_in
        self._asked: Expectations[int, _Asked] = Expectations(limits.EXPECTATIONS_MAX)
        self._sequence = 0
        self._alarm = Alarm(context.timers, self._expire)
        # Set by the node, which wires its parts.
        self.after_callback: Callable[[], None]

    # Asking.

    def ask(
        self,
        target: int,
        arguments: Iterable[bytes],
        timeout: float = limits.REQUEST_SECONDS,
        hop_limit: int | None = None,
    ) -> Deferred[list[bytes]]:
        """
        Have a node execute a command.

        :param target: Bus id of the node; this one is allowed.
        :param arguments: The command's name and what follows it.
        :param timeout: Seconds.
        :param hop_limit: How many nodes it may pass.
        :returns: Fires with the lines of the answer, or fails with `Undeliverable`.
        :raises LocalProtocolError: The target, an argument or the timeout is not one.
        """
        words = tuple(_as_word(word) for word in arguments)
        if target != TEMPORARY:
            check_bus_id(target)
        check_seconds(timeout)
        excess = _excess(words)
        context = self._context
        if excess:
            return self._failing(Status.MESSAGE_TOO_LARGE, target, excess)
        if self.refusal is not None:
            return self._failing(self.refusal, target)
        self._sequence += 1
        # Of an earlier life of this node answers may still be under way.
        key = (context.epoch << _EPOCH_SHIFT) + self._sequence
        answer: Deferred[list[bytes]] = Deferred(lambda _: self._forget(key))
        deadline = context.now + timeout
        full = self._asked.add(key, _Asked(target, answer, deadline), deadline)
        if full is not None:
            return self._failing(full, target)
        self._alarm.set(self._asked.deadline)
        if target == context.bus_id and target:
            self._execute(target, words, partial(self._answered_self, key))
            return answer
        request = CommandRequest(
            source=context.bus_id,
            destination=target,
            sequence=key,
            epoch=context.epoch,
            hop_limit=context.config.hops if hop_limit is None else hop_limit,
            arguments=words,
        )
        status = self._traffic.courier.route(Routed.of(request))
        if status is not None:
            self._failed(key, status)
        return answer

    def _forget(self, key: int) -> None:
        """Wait no more for an answer that nobody wants."""
        self._asked.resolve(key)

    def _failing(self, status: Status, target: int, detail: str = "") -> Deferred[list[bytes]]:
        failed: Deferred[list[bytes]] = Deferred()
        failed.errback(Undeliverable(status, target, 0, self._context.bus_id, detail))
        return failed

    def _answered_self(self, key: int, status: Status, lines: list[bytes]) -> None:
        asked = self._asked.resolve(key)
        if asked is not None:
            self._end(asked, key, status, lines, self._context.bus_id)

    def _end(
        self, asked: _Asked, key: int, status: Status, lines: list[bytes], source: int
    ) -> None:
        if status is Status.OK:
            asked.answer.callback(lines)
        else:
            detail = b" ".join(lines).decode("utf-8", "replace")
            asked.answer.errback(Undeliverable(status, asked.target, key, source, detail))

    def _failed(self, key: int, status: Status) -> None:
        asked = self._asked.resolve(key)
        if asked is not None:
            me = self._context.bus_id
            asked.answer.errback(Undeliverable(status, asked.target, key, me))

    def lost(self, item: Routed, status: Status) -> None:
        """Tell whoever asked that the way of a request broke."""
        if item.source == self._context.bus_id:
            self._failed(item.sequence, status)
            if item.custody is not None:
                item.custody.discharge()
        else:
            self._respond(item.source, item.sequence, status, [], item.custody)

    def response_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Collect an answer, or pass it on to whom it is for."""
        if head[6] != self._context.bus_id:
            self._traffic.courier.pass_on_response(link, frame, head)
            return
        if (message := link.read(frame, head)) is None:
            return
        link.discharge(head[9])
        if isinstance(message, CommandResponse) and self._traffic.vouches(link, head[5]):
            self._collect(message)

    def _collect(self, message: CommandResponse) -> None:
        # A node on the way that gave up answers in its own name: the sequence says what.
        key = message.sequence
        asked = self._asked.resolve(key)
        if asked is None:
            self._context.statistics.late_frames += 1
            return
        if message.status is Status.OK and not self._may_answer(asked.target, message.source):
            self._asked.add(key, asked, asked.deadline)
            return
        if message.status is not Status.OK:
            self._end(asked, key, message.status, list(message.lines), message.source)
            return
        collected = asked.collected
        if not collected.add(message.part, message.lines, message.continues, message.last):
            text = f"the answer is longer than {limits.COMMAND_ANSWER_BYTES} bytes"
            self._end(asked, key, Status.MESSAGE_TOO_LARGE, [text.encode()], message.source)
        elif collected.complete:
            self._end(asked, key, Status.OK, collected.lines(), message.source)
        else:
            self._asked.add(key, asked, asked.deadline)

    def _may_answer(self, target: int, source: int) -> bool:
        """Tell whether a node can have executed a command; anybody on the way may give it up."""
        return target == source or self._context.mode is Mode.TEMPORARY

    def _expire(self) -> None:
        me = self._context.bus_id
        for key, asked in self._asked.expire(self._context.now):
            asked.answer.errback(Undeliverable(Status.TIMEOUT, asked.target, key, me))
        self._alarm.set(self._asked.deadline)

    def close(self, status: Status = Status.CLOSING) -> None:
        """End every command that waits for an answer."""
        self._alarm.set(None)
        me = self._context.bus_id
        for key, asked in self._asked.clear():
            asked.answer.errback(Undeliverable(status, asked.target, key, me))

    # Answering.

    def request_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Execute a command that is for us; pass on one that is not."""
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            self._ask_instead(link, frame, head)
            return
        if head[6] != self._context.bus_id:
            self._pass_on(link, frame, head)
            return
        custody = Custody(link, head[9])
        source, sequence = head[5], head[7]
        if not self._traffic.vouches(link, source):
            self._disbelieve(link, head)
            return
        held = [custody]

        def finish(status: Status, lines: list[bytes]) -> None:
            self._respond(source, sequence, status, lines, held.pop() if held else None)

        if self._is_too_much(link, finish):
            return
        try:
            message = codec.decode(frame)
        except RemoteProtocolError as error:
            self._respond(source, sequence, error.status, [str(error).encode()], custody)
            link.unreadable(head, error)
            return
        if not isinstance(message, CommandRequest):
            custody.discharge()
            return
        if not self._lacks_right(Who.node(source), message.arguments, finish):
            self._execute(source, message.arguments, finish)
        if held:
            # An answer that takes its time holds back neither this frame nor those behind it.
            held.pop().discharge()

    def _pass_on(self, link: Link, frame: bytes, head: Head) -> None:
        """Pass on a command that is for others, or refuse it."""
        # What others ask by way of a neighbor says nothing about it.
        if link.owed.is_full_of_passing and head[5] == link.connection.bus_id:
            self._context.statistics.refused[Status.OVERLOADED] += 1
            self._refuse_passing(link, head, *_TOO_MUCH)
            return
        status = self._traffic.courier.forward(link, frame, head)
        if status is Status.SOURCE_REFUSED:
            self._disbelieve(link, head)
        elif status is not None:
            rule = self._rule_against(head) if status is Status.NO_RIGHT else []
            self._refuse_passing(link, head, status, rule)

    def _refuse_passing(self, link: Link, head: Head, status: Status, lines: list[bytes]) -> None:
        """Answer a command in the stead of whom it is for."""
        custody = Custody(link, head[9])
        for item in self._parts(head[5], head[7], status, lines, custody):
            item.refuses_passing = True
            self._traffic.courier.route(item)

    def _disbelieve(self, link: Link, head: Head) -> None:
        """Tell who has brought a command that he may not speak for who asks: he can tell him."""
        here, brought_by = format_bus_id(self._context.bus_id), link.connection.bus_id
        line = f"{here} takes nothing of {head[5]:#x} from {format_bus_id(brought_by)}".encode()
        custody = Custody(link, head[9])
        for item in self._parts(head[5], head[7], Status.SOURCE_REFUSED, [line], custody):
            self._traffic.courier.give_back(link, item)

    def _ask_instead(self, link: Link, frame: bytes, head: Head) -> None:
        """Serve a temporary node: ask in its stead, answer on its own connection."""
        if (message := link.read(frame, head)) is None:
            return
        link.discharge(head[9])
        if not isinstance(message, CommandRequest):
            return

        def finish(status: Status, lines: list[bytes]) -> None:
            items = self._parts(0, message.sequence, status, lines, None)
            if status is Status.OK and not link.owed.takes(items):
                self._context.statistics.refused[Status.OVERLOADED] += 1
                items = self._parts(0, message.sequence, *_TOO_MUCH, None)
            for item in items:
                if not link.closed and self._traffic.courier.hand(link, item) is not None:
                    self._traffic.courier.drop(item)

        endpoint = link.connection.endpoint
        who = Who(None, temporary=True) if endpoint is None else who_is(endpoint)
        if self._is_too_much(link, finish) or self._lacks_right(who, message.arguments, finish):
            return
        if message.destination in (0, self._context.bus_id):
            self._execute(0, message.arguments, finish)
            return
        if message.hop_limit <= 1:
            finish(Status.HOP_LIMIT, [])
            return
        asking = self.ask(message.destination, message.arguments, hop_limit=message.hop_limit - 1)

        def refused(failure: Failure) -> None:
            error = failure.value
            status = error.status if isinstance(error, Undeliverable) else Status.HANDLER_FAILED
            finish(status, [str(error).encode()])

        asking.addCallbacks(lambda lines: finish(Status.OK, lines), refused)

    def _lacks_right(
        self,
        who: Who,
        arguments: tuple[bytes, ...],
        finish: Finish,
    ) -> bool:
        """Refuse a command that somebody may not run; tell whether it was."""
        rights = self._context.rights
        if rights is None:
            return False
        if who.ids is not None and not who.temporary:
            who = rights.who(who.ids.first)
        name = arguments[0] if arguments else b""
        refusal = rights.refuses_command(who, name.decode("utf-8", "replace"))
        if refusal is None:
            return False
        self._context.statistics.refused[Status.NO_RIGHT] += 1
        finish(Status.NO_RIGHT, [refusal.encode()])
        return True

    def _execute(
        self,
        source: int,
        arguments: tuple[bytes, ...],
        finish: Finish,
    ) -> None:
        name = arguments[0] if arguments else b""
        executor = self._built_in.get(name) if name.startswith(BUILT_IN_PREFIX) else self.executor
        if not name.startswith(BUILT_IN_PREFIX):
            self._context.events.on_custom_command(source, arguments)
        if executor is None:
            finish(Status.UNKNOWN_COMMAND, [b"unknown command: " + name[:64]])
            return
        self.unfinished += 1
        self._context.calling += 1
        try:
            waiting = maybeDeferred(executor, source, arguments)
        finally:
            self._context.calling -= 1
        self.after_callback()

        def done(lines: object) -> None:
            self.unfinished -= 1
            finish(Status.OK, _as_lines(lines))

        def failed(failure: Failure) -> None:
            self.unfinished -= 1
            error = failure.value
            if isinstance(error, Undeliverable):
                finish(error.status, [str(error).encode()])
                return
            # Whoever asks with words that mean nothing learns that; here nothing has failed.
            if not (name.startswith(BUILT_IN_PREFIX) and isinstance(error, AtbusError)):
                self._context.statistics.callback_failures += 1
                self._context.log.failure("command {name} failed", failure=failure, name=name)
            finish(Status.HANDLER_FAILED, [f"{type(error).__name__}: {error}".encode()])

        waiting.addCallback(_check_lines).addCallbacks(done, failed)

    def _rule_against(self, head: Head) -> list[bytes]:
        """Count that a request was not passed on, and say by which rule."""
        context = self._context
        context.statistics.refused[Status.NO_RIGHT] += 1
        rights = context.rights
        rule = None if rights is None else rights.refuses_passing(head[1], head[5])
        return [] if rule is None else [rule.encode()]

    def _respond(
        self,
        destination: int,
        sequence: int,
        status: Status,
        lines: list[bytes],
        custody: Answerable | None,
    ) -> None:
        items = self._parts(destination, sequence, status, lines, custody)
        if status is Status.OK and not self._traffic.courier.takes_all(items):
            self._context.statistics.refused[Status.OVERLOADED] += 1
            items = self._parts(destination, sequence, *_TOO_MUCH, custody)
        for item in items:
            self._traffic.courier.route(item)

    def _is_too_much(self, link: Link, finish: Finish) -> bool:
        """Refuse a command of who has not acknowledged many answers; tell whether it was."""
        if not link.owed.is_full:
            return False
        self._context.statistics.refused[Status.OVERLOADED] += 1
        finish(*_TOO_MUCH)
        return True

    def _parts(
        self,
        destination: int,
        sequence: int,
        status: Status,
        lines: list[bytes],
        custody: Answerable | None,
    ) -> list[Routed]:
        """Cut an answer into frames; the last one carries the custody of the request."""
        items: list[Routed] = []
        if sum(map(len, lines)) > limits.COMMAND_ANSWER_BYTES:
            status, lines = Status.MESSAGE_TOO_LARGE, [b"the answer is too long"]
        for place, part in enumerate(cut_lines(lines)):
            message = CommandResponse(
                source=self._context.bus_id,
                destination=destination,
                sequence=sequence,
                epoch=self._context.epoch,
                hop_limit=self._context.config.hops,
                status=status if part.last else Status.OK,
                lines=part.lines,
                last=part.last,
                part=place,
                continues=part.continues,
            )
            items.append(Routed.of(message, custody if part.last else None))
        return items


def _excess(words: tuple[bytes, ...]) -> str:
    """Say by how much a command is too long; nothing when it is not."""
    size_bytes, bytes_max = sum(map(len, words)), limits.COMMAND_BYTES
    if size_bytes > bytes_max:
        return f"a command of {size_bytes} bytes, the limit is {bytes_max}"
    words_max = limits.COMMAND_ARGUMENTS_MAX
    return f"a command of {len(words)} words, the limit is {words_max}" * (len(words) > words_max)


def _as_word(word: object) -> bytes:
    """
    Take one argument of a command.

    :raises LocalProtocolError: It is not bytes.
    """
    if not isinstance(word, bytes | bytearray | memoryview):
        raise LocalProtocolError(f"an argument is bytes, not {type(word).__name__}")
    return bytes(word)


def _check_lines(lines: object) -> object:
    """
    Refuse an answer that is not lines.

    :raises TypeError: The executor returned something else.
    """
    _as_lines(lines)
    return lines


def _as_lines(lines: object) -> list[bytes]:
    if lines is None:
        return []
    if isinstance(lines, bytes):
        return [lines]
    if isinstance(lines, list | tuple) and all(isinstance(line, bytes) for line in lines):
        return list(lines)
    raise TypeError(f"a command answers with bytes or a list of bytes, not {lines!r:.60}")
