"""
Where a gateway listens: for clients, for leafs, for members of a cluster, and for who watches it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from atbus.errors import ListenFailed

#: The door that stays open while clients are asked to go: whoever watches wants to see them go.
MONITOR = "monitor"


class Doors:
    """
    The listeners of one gateway, by the name of the option that asks for each.

    :param reactor: Where they listen.
    :param tls_context: For doors behind which everything is TLS.
    """

    def __init__(self, reactor: Any, tls_context: Any) -> None:
        self._reactor = reactor
        self._tls_context = tls_context
        self._ports: dict[str, Any] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._log = Logger(namespace="atbus.nats")

    def open(self, name: str, place: str, factory: Any, *, tls: bool = False) -> None:
        """
        Listen.

        :param name: The option.
        :param place: Host and port.
        :param factory: Makes something of each connection.
        :param tls: Whether TLS, where there is any, is around everything.
        :raises ListenFailed: The address cannot be listened on; then all doors are closed.
        """
        host, _, port = place.rpartition(":")
        host = host.strip("[]")
        try:
            if tls and self._tls_context is not None:
                context = self._tls_context
                listening = self._reactor.listenSSL(int(port), factory, context, interface=host)
            else:
                listening = self._reactor.listenTCP(int(port), factory, interface=host)
        except CannotListenError as error:
            self.close()
            raise ListenFailed(f"nats.{name} = {place}", str(error.socketError)) from error
        self._ports[name] = listening
        bound = listening.getHost()
        self._places[name] = bound.host, bound.port
        self._log.info("nats {name}: {host}:{port}", name=name, host=bound.host, port=bound.port)

    def address(self, name: str) -> tuple[str, int] | None:
        """
        Say where a door really is.

        :param name: The option.
        :returns: Host and port; None when it is closed.
        """
        return self._places[name] if name in self._ports else None

    def place(self, name: str) -> tuple[str, int]:
        """
        Say where a door is, or was until it was closed.

        :param name: The option.
        :returns: Host and port; none, and 0, where there never was one.
        """
        return self._places.get(name, ("", 0))

    def hold(self) -> None:
        """Let those who come wait."""
        for port in self._ports.values():
            port.stopReading()

    def admit(self) -> None:
        """Let those in who wait."""
        for port in self._ports.values():
            port.startReading()

    def close(self, *, but: str = "") -> Deferred[Any]:
        """
        Accept nobody any more.

        :param but: A door that stays open.
        :returns: Fires when they are closed; never fails.
        """
        return DeferredList([*map(self._close_one, self._ports.keys() - {but})])

    def _close_one(self, name: str) -> Deferred[Any]:
        port = self._ports.pop(name, None)
        return succeed(None) if port is None else maybeDeferred(port.stopListening)
