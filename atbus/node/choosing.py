"""
The part of a node's face that is about what nodes offer, and about choosing one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.routing.ring import Key
from atbus.routing.services import EVERYTHING, Filter, Service, ServiceSet

if TYPE_CHECKING:
    from atbus.node.parts import Parts


class Choosing:
    """What `atbus.node.node.Node` offers to programs that look for a service."""

    _parts: Parts

    @property
    def services(self) -> ServiceSet:
        """What the nodes offer that are known from registries; only to be read."""
        return self._parts.discovering.services

    @property
    def discovery_in_sync(self) -> frozenset[str]:
        """Names of the registries that have told everything, and tell changes as they happen."""
        return self._parts.discovering.in_sync

    def offer(self, service: Service | None) -> None:
        """
        Announce something else than the configuration says that this node offers.

        :param service: What; it gets the id of the node. None for what is configured.
        :raises LocalProtocolError: It is none.
        """
        if not (service is None or isinstance(service, Service)):
            raise LocalProtocolError(f"{service!r:.60} is no service")
        self._parts.discovering.offer(service)

    def select(
        self, where: Filter = EVERYTHING, *, key: Key | None = None, at_random: bool = False
    ) -> Service | None:
        """
        Choose one of the services that are known; this node's own is among them.

        :param where: Among which.
        :param key: Choose the one to which this key belongs: the same as long as it is there, and
            on every node the same.
        :param at_random: Choose by lot; otherwise the one whose turn it is.
        :returns: It, or None when there is none.
        :raises LocalProtocolError: *where* is no filter, or *key* is no key.
        """
        if not isinstance(where, Filter):
            raise LocalProtocolError(f"{where!r:.60} is no filter of services")
        if not (key is None or isinstance(key, int | str | bytes)):
            raise LocalProtocolError(f"{key!r:.60} is no key: a number, a text or bytes are")
        if key is not None:
            return self.services.by_hash(key, where)
        if at_random:
            return self.services.at_random(self._parts.context.random.random(), where)
        return self.services.round_robin(where)

    def send_by(
        self,
        where: Filter,
        payload: bytes,
        kind: int = 0,
        *,
        key: Key | None = None,
        at_random: bool = False,
    ) -> tuple[int, int]:
        """
        Send to one of the services that are known, chosen as by `select`.

        :param where: Among which.
        :param payload: See ``send``.
        :param kind: See ``send``.
        :param key: See `select`.
        :param at_random: See `select`.
        :returns: The bus id to which it was sent, and the message's sequence.
        :raises Undeliverable: There is none (`Status.NO_RESPONDERS`), or it was not accepted.
        """
        service = self.select(where, key=key, at_random=at_random)
        if service is None or not service.bus_id:
            raise Undeliverable(Status.NO_RESPONDERS, 0, detail="no service that fits is known")
        return service.bus_id, self._parts.sender.send(service.bus_id, payload, kind)
