"""
Talk to a bus for the time of one command: as a temporary node, registered with the node at --via.

A temporary node has no id, so nobody can send to it, and it is gone when the command has ended. It
asks; the node that it is registered with answers, or asks other nodes in its stead.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from atbus.address import parse_address
from atbus.channels.timers import MonotonicTimers
from atbus.cli.lasting_objects import collect_from_now_on
from atbus.cli.options import Via
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.errors import ConfigurationError, Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.node import Node

T = TypeVar("T")

Question = Callable[["Conversation"], Awaitable[T]]

# A temporary node has nothing that could be lost; it says goodbye and goes.
_LEAVING_SECONDS = 0.5
_PROBE_SECONDS = 1.0


class Conversation:
    """
    What a command can do with the node that it talks to.

    :param node: A temporary node that is registered.
    :param timers: To wait with.
    :param patience_seconds: How long an answer may take.
    """

    def __init__(self, node: Node, timers: MonotonicTimers, patience_seconds: float) -> None:
        self._node = node
        self._timers = timers
        self._patience_seconds = patience_seconds

    async def ask(self, target: int, *words: bytes | str) -> Any:
        """
        Have a node execute a built-in command.

        :param target: Its bus id; 0 for the node that we talk to.
        :param words: The command's name and its arguments.
        :returns: What its answer says.
        :raises CommandFailed: There is no answer, or one that makes no sense.
        """
        return read_answer(await self.lines(target, *words))

    async def lines(self, target: int, *words: bytes | str) -> list[bytes]:
        """
        Have a node execute any command.

        :param target: Its bus id; 0 for the node that we talk to.
        :param words: The command's name and its arguments.
        :returns: The lines of its answer.
        :raises CommandFailed: There is no answer.
        """
        said = [os.fsencode(word) for word in words]
        try:
            return await self._node.command(target, *said, timeout=self._patience_seconds)
        except Undeliverable as error:
            raise CommandFailed.of(error.status, error.detail or str(error)) from error

    async def pause(self, seconds: float) -> None:
        """
        Wait.

        :param seconds: How long.
        """
        over: Deferred[None] = Deferred()
        self._timers.callLater(seconds, over.callback, None)
        await over


def read_answer(lines: Sequence[bytes]) -> Any:
    """
    Read the answer to a built-in command.

    :param lines: Its lines.
    :returns: What it says.
    :raises CommandFailed: It is not one value of JSON: it was not a node like ours that answered.
    """
    try:
        (line,) = lines
        return json.loads(line)
    except (ValueError, RecursionError):
        detail = "an answer that is no JSON in one line"
        raise CommandFailed.of(Status.HANDLER_FAILED, detail) from None


async def converse(
    reactor: Any, via: Via, question: Question[T], patience_seconds: float | None = None
) -> T:
    """
    Register with a node, ask, and leave again.

    :param reactor: Twisted's.
    :param via: The node, and how long to wait for the registration and for the answer.
    :param question: What to ask.
    :param patience_seconds: How long to wait for the answer when that is not the same.
    :returns: What it returned.
    :raises CommandFailed: Nobody is there, or does not answer in time, or refuses.
    """
    timers = MonotonicTimers(reactor)
    try:
        node = Node(_config_of(via), reactor, timers=timers)
    except ConfigurationError as error:
        timers.stop()
        raise _unusable(error) from error
    patience = via.timeout_seconds if patience_seconds is None else patience_seconds
    try:
        registering = _registered(node, via)
        await _within(via.timeout_seconds, timers, registering, f"{via.address}: no registration")
        conversation = Conversation(node, timers, patience)
        asking = Deferred.fromCoroutine(_ask(question, conversation))
        return await _within(patience, timers, asking, f"{via.address}: no answer")
    finally:
        await node.stop()
        timers.stop()


def _config_of(via: Via) -> NodeConfig:
    return NodeConfig(
        id=0,
        upstream=via.address,
        access_tokens=via.tokens,
        handshake_seconds=via.timeout_seconds,
        linger_seconds=_LEAVING_SECONDS,
        drain_seconds=_LEAVING_SECONDS,
        tls_certificate=via.certificate_file,
        tls_key=via.key_file,
        tls_authorities=via.ca_file,
        tls_realm=via.realm,
    )


def _unusable(error: ConfigurationError) -> CommandFailed:
    """Tell what is wrong with the options, by the names that they have here."""
    faults = tuple(
        functools.reduce(lambda text, names: text.replace(*names), _OPTIONS.items(), fault)
        for fault in error.faults
    )
    return CommandFailed(ExitCode.USAGE, "USAGE", "; ".join(faults), faults)


_OPTIONS: Final = {
    "upstreams[0]": "--via",
    "access_tokens[": "--token[",
    "handshake_seconds": "--timeout",
    "tls.certificate": "--certificate-file",
    "tls.key": "--key-file",
    "tls.authorities": "--ca-file",
    "tls_certificate": "--certificate-file",
    "tls_key": "--key-file",
    "tls_authorities": "--ca-file",
}


async def _ask(question: Question[T], conversation: Conversation) -> T:
    return await question(conversation)


async def _within(seconds: float, timers: MonotonicTimers, waiting: Deferred[T], missing: str) -> T:
    """
    Wait, but not for ever.

    :raises CommandFailed: It did not come in time.
    """

    def late(result: Any, seconds: float) -> Any:
        if isinstance(result, Failure) and result.check(CancelledError):
            raise CommandFailed.of(Status.TIMEOUT, f"{missing} within {seconds:g} s")
        return result

    return await waiting.addTimeout(seconds, timers, late)


def _registered(node: Node, via: Via) -> Deferred[None]:
    """
    Wait for the registration, but not longer than for the first thing that goes wrong.

    A node never gives up its upstream; somebody who waits for a command does.
    """
    result: Deferred[None] = Deferred()

    def on_error(status: Status, detail: str) -> None:
        if not result.called:
            result.errback(_why_not_registered(via, status, detail))

    def ended(_outcome: object) -> None:
        if not result.called:
            result.callback(None)

    node.events.on_error.observe(on_error)
    # A failure has been told by on_error before.
    node.start().addBoth(ended)
    return result


def _why_not_registered(via: Via, status: Status, detail: str) -> CommandFailed:
    # Of the connection only its address is of interest, and that is known.
    what = (detail.partition(">: ")[2] or detail).rstrip(": ")
    if status.name not in what and status is not Status.CONNECT_FAILED:
        what = f"{what}: {status.name}"
    if via.address not in what:
        what = f"{via.address}: {what}"
    if status is Status.LINK_LOST or (status.is_breach and status is not Status.NOT_ATBUS):
        return CommandFailed.of(Status.NOT_ATBUS, f"{what}; is that a port of a bus?")
    return CommandFailed.of(status, what)


def ask(via: Via, question: Question[T], patience_seconds: float | None = None) -> T:
    """
    Do what `converse` does, in a process that does nothing else.

    :param via: The node, and how long to wait for the registration and for the answer.
    :param question: What to ask.
    :param patience_seconds: How long to wait for the answer when that is not the same.
    :returns: What it returned.
    :raises CommandFailed: As in `converse`, or the user interrupted it.
    """
    try:
        return run(
            lambda reactor: Deferred.fromCoroutine(
                converse(reactor, via, question, patience_seconds)
            )
        )
    except CommandFailed as failure:
        if failure.error == Status.NOT_ATBUS.name and speaks_tls(via):
            text = f"{via.address}: the other side speaks TLS, this address is a plain one"
            raise CommandFailed.of(Status.NOT_ATBUS, text) from failure
        raise


def speaks_tls(via: Via) -> bool:
    """
    Find out whether a port that did not understand us expects TLS; it may block for a second.

    :param via: What was tried.
    :returns: Whether a handshake succeeds there, with any certificate.
    """
    address = parse_address(via.address).dial_address()
    if not address.is_tcp or address.is_tls:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address.host, address.port), _PROBE_SECONDS) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def run(start: Callable[[Any], Deferred[T]]) -> T:
    """
    Run the reactor until something has ended; once in a process.

    :param start: Gets the reactor; what it returns is cancelled when the user interrupts.
    :returns: What its Deferred fired with.
    :raises CommandFailed: The user interrupted it; any failure of the Deferred is raised as it is.
    """
    from twisted.internet import reactor as the_reactor

    reactor: Any = the_reactor
    outcome: list[Any] = []
    interruptions: list[int] = []
    running: list[Deferred[Any]] = []

    def begin() -> None:
        running.append(start(reactor))
        running[0].addBoth(finish)

    def finish(result: Any) -> None:
        outcome.append(result)
        reactor.callLater(0, _stop, reactor)

    def interrupt(number: int, _frame: object) -> None:
        interruptions.append(number)
        # Once: what is cleaned up because of it must not be interrupted.
        if len(interruptions) == 1:
            reactor.callFromThread(running[0].cancel if running else reactor.stop)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    reactor.callWhenRunning(_take_signals, interrupt)
    reactor.callWhenRunning(begin)
    collect_from_now_on()
    reactor.run()
    for number, handler in before.items():
        signal.signal(number, handler)
    if interruptions:
        raise CommandFailed(ExitCode.INTERRUPTED, "INTERRUPTED", "interrupted")
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    final: T = result
    return final


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _take_signals(interrupt: Callable[[int, Any], None]) -> None:
    # The reactor has taken some of them for itself when it began to run.
    for number in _SIGNALS:
        signal.signal(number, interrupt)


def _stop(reactor: Any) -> None:
    if reactor.running:
        reactor.stop()
