"""
Endpoints as text, for every program that takes such: ``atbus:web``, ``atbus:0x12345678:web``.

A text names no node object. It means the node that runs in this process; ``node=ID`` says which if
there are several, and ``config=FILE`` starts one, once for each file, for programs that know
nothing of nodes. It stops with the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from atbus.busid import check_bus_id, format_bus_id, parse_bus_id
from atbus.errors import ConfigurationError
from atbus.node.alive import running_nodes
from atbus.node.node import Node
from atbus.node.toml import load_config
from atbus.routing.answers import check_seconds
from atbus.stream import bounds
from atbus.stream.endpoints import BusClientEndpoint, BusServerEndpoint
from atbus.stream.station import check_service

# By file the node that was started with it.
_started: Final[dict[Path, Node]] = {}


class NoNode(Exception):
    """
    A text means no node, or leaves open which.

    :param why: For people.
    """


class _Finder:
    """
    Finds the node that a text means when it is wanted.

    :param reactor: For a node that is started.
    :param node: Its id, as people write it; empty for the only one.
    :param config: A file to start it with; empty for none.
    :raises ValueError: Both are given, or the id is none.
    """

    def __init__(self, reactor: Any, node: str, config: str) -> None:
        if node and config:
            raise ValueError("an atbus endpoint has node= or config=, not both")
        self._reactor = reactor
        self._bus_id = parse_bus_id(node) if node else 0
        self._config = Path(config).absolute() if config else None

    async def find(self) -> Node:
        """
        Find it.

        :raises NoNode: There is none, or there are several.
        :raises ConfigurationError: The file has faults.
        """
        if self._config is not None:
            return await self._start(self._config)
        nodes = running_nodes()
        if self._bus_id:
            nodes = [node for node in nodes if node.bus_id == self._bus_id]
            if not nodes:
                raise NoNode(f"no node {format_bus_id(self._bus_id)} runs in this process")
        if not nodes:
            raise NoNode("no node runs in this process; config=FILE would start one")
        if len(nodes) > 1:
            names = ", ".join(format_bus_id(node.bus_id) for node in nodes)
            raise NoNode(f"node= has to say which of {names} is meant")
        return nodes[0]

    async def _start(self, path: Path) -> Node:
        node = _started.get(path)
        if node is None:
            try:
                node = Node(load_config(path), self._reactor)
            except ConfigurationError as error:
                raise NoNode(str(error)) from error
            _started[path] = node
            self._reactor.addSystemEventTrigger("before", "shutdown", self._stop, path)
        await node.start()
        return node

    @staticmethod
    def _stop(path: Path) -> Deferred[None]:
        return _started.pop(path).stop()


@implementer(IStreamServerEndpoint)
class _Server:
    """A service of a node that is yet to be found."""

    def __init__(self, finder: _Finder, service: str) -> None:
        self._finder = finder
        self._service = service

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Find the node and offer the service."""
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        node = await self._finder.find()
        return await BusServerEndpoint(node, self._service).listen(factory)


@implementer(IStreamClientEndpoint)
class _Client:
    """A service somewhere, reached from a node that is yet to be found."""

    def __init__(self, finder: _Finder, target: int, service: str, timeout: float) -> None:
        self._finder = finder
        self._target = target
        self._service = service
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Find the node and open a stream."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        node = await self._finder.find()
        endpoint = BusClientEndpoint(node, self._target, self._service, self._timeout)
        return await endpoint.connect(factory)


def read_server(
    reactor: Any, service: str, *, node: str = "", config: str = ""
) -> IStreamServerEndpoint:
    """
    Make the endpoint of ``atbus:SERVICE[:node=ID | :config=FILE]``.

    :param reactor: For a node that is started.
    :param service: What is offered.
    :param node: Whose service it is; empty for the only node.
    :param config: A file to start the node with.
    :returns: The endpoint.
    :raises TypeError: There is too little, too much, or something else.
    :raises ValueError: It is none.
    """
    check_service(service)
    return _Server(_Finder(reactor, node, config), service)


def read_client(
    reactor: Any,
    target: str,
    service: str,
    *,
    timeout: str = str(bounds.OPEN_SECONDS),
    node: str = "",
    config: str = "",
) -> IStreamClientEndpoint:
    """
    Make the endpoint of ``atbus:ID:SERVICE[:timeout=SECONDS][:node=ID | :config=FILE]``.

    :param reactor: For a node that is started.
    :param target: Who offers the service.
    :param service: What is wanted.
    :param timeout: How long an answer may take, in seconds.
    :param node: From where it is reached; empty for the only node.
    :param config: A file to start that node with.
    :returns: The endpoint.
    :raises TypeError: There is too little, too much, or something else.
    :raises ValueError: It is none.
    """
    bus_id = parse_bus_id(target)
    check_bus_id(bus_id)
    check_service(service)
    seconds = float(timeout)
    check_seconds(seconds)
    return _Client(_Finder(reactor, node, config), bus_id, service, seconds)
