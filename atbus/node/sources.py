"""
Addresses that a node learns while it runs, from a name server or from a file, and its peers.

What is found is tried as an upstream, after those of the configuration, or connected to as a peer.
Nodes that find the same upstreams by a name spread over them, each by its own number, for a name
server says in no order; of services with priorities, and of addresses that somebody wrote down,
the first is the best for all.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from atbus.address import Address, parse_address
from atbus.discovery.addresses import FileAddresses, StaticAddresses
from atbus.errors import AddressError
from atbus.node.peers import Mesh, Peers
from atbus.node.reading_sources import DnsSettings, Use, read_dns, read_static
from atbus.routing.choice import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atbus.discovery.interfaces import IAddressSource
    from atbus.node.context import Context
    from atbus.node.dialer import Dialer
    from atbus.node.registrar import Registrar
    from atbus.node.topology import Topology

#: Where the system says whom to ask.
_SYSTEM_SERVERS: Final = "/etc/resolv.conf"

#: In this order what is found is tried.
_LIST, _FILE, _NAME = "list", "file", "name"


class Sources:
    """
    The address sources of one node, and the peers that it stays connected to.

    :param reactor: Where name servers are asked.
    """

    def __init__(
        self,
        context: Context,
        topology: Topology,
        registrar: Registrar,
        dialer: Dialer,
        reactor: Any,
    ) -> None:
        #: Called when there are other upstreams than before.
        self.on_upstreams: Callable[[], None] = lambda: None
        self._context = context
        self._peers = Peers(context, registrar, dialer)
        self._mesh = Mesh(context, registrar, dialer, topology)
        self._topology = topology
        self._dialer = dialer
        self._reactor = reactor
        self._running: dict[str, IAddressSource] = {}
        self._uses: dict[str, Use] = {}
        self._found: dict[str, tuple[Address, ...]] = {}
        # Whether the name is that of services, which have priorities.
        self._has_order = False
        # What those are made of.
        self._tables: tuple[Mapping[str, Any], ...] = ()

    @property
    def upstreams(self) -> tuple[Address, ...]:
        """Who may be our upstream, in order of preference."""
        return self._all(Use.UPSTREAMS)

    def keeps(self, bus_id: int) -> bool:
        """Tell whether a node is a peer that we stay connected to, whoever has dialled."""
        return self._peers.keeps(bus_id) or self._mesh.keeps(bus_id)

    def _all(self, use: Use) -> tuple[Address, ...]:
        found = (self._found.get(name, ()) for name, its in self._uses.items() if its is use)
        return tuple(dict.fromkeys(address for addresses in found for address in addresses))

    # Life.

    def start(self) -> None:
        """Begin to look, as the configuration says."""
        config = self._context.config
        self._tables = (config.static, config.dns, config.peer_labels)
        self._mesh.start()
        timers = cast("IReactorTime", self._context.timers)
        static, dns = read_static(config.static), read_dns(config.dns)
        if static is not None and static.addresses:
            given = StaticAddresses(static.addresses, timers, is_own=self._is_own)
            self._run(_LIST, static.use, given)
        if static is not None and static.file:
            file = FileAddresses(
                static.file, timers, refresh_seconds=static.refresh_seconds, is_own=self._is_own
            )
            self._run(_FILE, static.use, file)
        if dns is not None:
            self._has_order = dns.name.startswith("_")
            self._run(_NAME, dns.use, self._names(dns, timers))

    def _names(self, dns: DnsSettings, timers: IReactorTime) -> IAddressSource:
        # twisted.names is loaded by those who use it.
        from atbus.discovery.names import DnsAddresses, NameServers  # noqa: PLC0415

        servers = dns.servers or _system_servers()
        return DnsAddresses(
            dns.name,
            dns.port,
            NameServers(servers, self._reactor),
            timers,
            is_own=self._is_own,
            refresh_seconds=dns.refresh_seconds,
            is_tls=dns.tls,
        )

    def _run(self, name: str, use: Use, source: IAddressSource) -> None:
        self._running[name] = source
        self._uses[name] = use
        source.start(partial(self._told, name))

    def _told(self, name: str, addresses: tuple[str, ...]) -> None:
        known: list[Address] = []
        for text in addresses:
            try:
                known.append(parse_address(text))
            except AddressError:
                # A name server can say anything.
                self._context.log.warn("{name}: {text!r} is no address", name=name, text=text)
        if name == _NAME and not self._has_order:
            known = spread(self._topology.chooser, known)
        self._found[name] = tuple(known)
        self._settle()

    def _settle(self) -> None:
        self._peers.replace(self._all(Use.PEERS))
        self.on_upstreams()

    def sweep(self) -> None:
        """Dial the peers that are due; called now and then."""
        self._peers.sweep()
        self._mesh.sweep()

    def reconfigure(self) -> None:
        """Look as the new configuration says; read the file again, ask again, in any case."""
        config = self._context.config
        if self._tables != (config.static, config.dns, config.peer_labels):
            before = dict(self._found)
            self.stop()
            self.start()
            # What was found stays true until something else is found in its place.
            self._found = {name: before[name] for name in self._running if name in before}
            self._settle()
        for source in self._running.values():
            source.refresh()

    def stop(self) -> Deferred[None]:
        """
        Look no more, and forget what was found.

        :returns: Fires when nothing of it is left; does not fail.
        """
        running, self._running = self._running, {}
        self._uses, self._found = {}, {}
        self._peers.close()
        self._mesh.close()
        stopping = DeferredList([source.stop() for source in running.values()])
        return stopping.addCallback(lambda _: None)

    # What is ours.

    def _is_own(self, text: str) -> bool:
        """Tell whether we listen at an address ourselves."""
        wanted = parse_address(text)
        for mine in map(parse_address, self._dialer.addresses):
            if (mine.is_tcp, mine.port) != (wanted.is_tcp, wanted.port):
                continue
            if mine.host == wanted.host or (mine.is_unspecified and _is_of_this_host(wanted.host)):
                return True
        return False


def _is_of_this_host(host: str) -> bool:
    """Tell whether an IP address is one of this host's: only those can be bound."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _system_servers() -> tuple[tuple[str, int], ...]:
    """Read whom the system asks; nobody but this host when it does not say."""
    servers: list[tuple[str, int]] = []
    try:
        lines = Path(_SYSTEM_SERVERS).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            servers.append((words[1], 53))
    return tuple(servers) or (("127.0.0.1", 53),)
