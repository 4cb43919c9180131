"""
Applications that say aloud what their nodes go through.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from atbus.busid import format_bus_id
from atbus.errors import Status
from atbus.node.interfaces import IMessageReceiver
from atbus.node.node import Node
from atbus.routing.services import Filter, Service

_log = Logger(namespace="witness")


def count(node: Node, settings: Mapping[str, object]) -> None:
    """Count how often the node came up, and the attempts to connect that failed in between."""
    ups: list[None] = []
    failures: list[str] = []

    def went_up() -> None:
        ups.append(None)
        _log.info("came up, time {count}", count=len(ups))

    def failed(status: Status, detail: str) -> None:
        if status is Status.CONNECT_FAILED:
            failures.append(node.state)
            _log.info("failed {count} times: {states}", count=len(failures), states=set(failures))

    def went_down(status: Status) -> None:
        _log.info("went down: {status}", status=status.name)

    node.events.on_node_up.observe(went_up)
    node.events.on_node_down.observe(went_down)
    node.events.on_error.observe(failed)
    node.receiver = Echo(node)


@implementer(IMessageReceiver)
class Echo:
    """Says what arrives."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def message_received(self, source: int, kind: int, sequence: int, payload: bytes) -> None:
        _log.info("got {payload}", payload=payload.decode())


def clock(node: Node, settings: Mapping[str, object]) -> None:
    """Tell whether the reactor's clock is the one that nobody can set."""
    from twisted.internet import reactor  # noqa: TID251  # this process's own

    clock: Any = reactor
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    now = clock.seconds()
    monotonic = before <= now <= time.clock_gettime(time.CLOCK_MONOTONIC)
    _log.info("the reactor counts the seconds since the machine started: {it}", it=monotonic)


def never(node: Node, settings: Mapping[str, object]) -> None:
    """Take requests and never answer them."""

    def asked(source: int, payload: bytes) -> Deferred[bytes]:
        _log.info("was asked")
        return Deferred()

    node.on_request(asked)


def block(node: Node, settings: Mapping[str, object]) -> None:
    """Take requests and never come back."""

    def asked(source: int, payload: bytes) -> bytes:
        _log.info("was asked")
        threading.Event().wait()
        return b""

    node.on_request(asked)


def ask(node: Node, settings: Mapping[str, object]) -> None:
    """Ask one question as soon as the node is up."""
    node.events.on_node_up.observe(
        lambda: node.request(int(str(settings["target"])), b"?").addErrback(lambda _: None)
    )


def tell(node: Node, settings: Mapping[str, object]) -> None:
    """Send one message as soon as the node is up, and say how that went."""

    def told(outcome: object) -> None:
        _log.info("delivered: {outcome}", outcome=type(outcome).__name__)

    node.events.on_node_up.observe(
        lambda: node.deliver(int(str(settings["target"])), b"hello").addBoth(told)
    )


def seek(node: Node, settings: Mapping[str, object]) -> None:
    """Send a message to one of those who offer something as soon as they are known of."""
    where = Filter(type=str(settings["type"]))

    def found(service: Service) -> None:
        # The index is told of a service before anybody else is.
        chosen, _ = node.send_by(where, b"you were chosen")
        _log.info("found {name}, chose {id}", name=service.name, id=format_bus_id(chosen))

    def gone(service: Service) -> None:
        left = node.select(where)
        _log.info("{name} is gone, left: {left}", name=service.name, left=left and left.name)

    node.events.on_service_found.observe(found)
    node.events.on_service_gone.observe(gone)
