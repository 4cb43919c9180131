"""
The bus of the demo: who there is, who hangs below whom, and what each is told.

A root, below it a proxy for each of two regions, below each proxy three services. The root and the
proxies are connected over TCP, as they would be across hosts. Two services of each region reach
their proxy over a unix socket, the third over TCP, as if it were on another machine.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import attrs

APPLICATION: Final = "atbus.cli.demo.service:make"
"""What runs in each process of the demo."""

REGIONS: Final = ("eu", "us")


@attrs.frozen(kw_only=True)
class Member:
    """
    One process of the demo.

    :param name: What people call it.
    :param bus_id: What the bus calls it.
    :param region: Where it is; empty for the root.
    :param parent: The name of its upstream; empty for the root.
    :param free_bits: How many bits of its id are free for nodes below it.
    :param remote: Whether it reaches its parent over TCP.
    :param channels: What it listens on, ``unix``, ``ipv4`` or both.
    """

    name: str
    bus_id: int
    region: str = ""
    parent: str = ""
    free_bits: int = 0
    remote: bool = False
    channels: tuple[str, ...] = ("unix",)

    @property
    def is_service(self) -> bool:
        """Whether it sends, rather than pass on what others send."""
        return not self.free_bits


def _members() -> Iterable[Member]:
    root = 0x10000
    yield Member(name="root", bus_id=root, free_bits=16, channels=("unix", "ipv4"))
    for place, region in enumerate(REGIONS, 1):
        proxy = root + place * 0x100
        yield Member(
            name=f"{region}-proxy",
            bus_id=proxy,
            region=region,
            parent="root",
            free_bits=8,
            remote=True,
            channels=("unix", "ipv4"),
        )
        for number, name in enumerate(("login", "match", "chat"), 1):
            remote = name == "chat"
            yield Member(
                name=f"{region}-{name}",
                bus_id=proxy + number,
                region=region,
                parent=f"{region}-proxy",
                remote=remote,
                channels=("ipv4",) if remote else ("unix",),
            )


MEMBERS: Final[Mapping[str, Member]] = MappingProxyType(
    {member.name: member for member in _members()}
)
"""Everybody by name, parents first."""

SERVICES: Final = tuple(member for member in MEMBERS.values() if member.is_service)
"""Those that send."""

NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {member.bus_id: name for name, member in MEMBERS.items()}
)

VICTIM: Final = MEMBERS["eu-proxy"]
"""The proxy that is killed and comes back."""

RELATIONS: Final = ("self", "sibling", "parent", "root", "cousin")
"""How a service can stand to a node that it sends to."""

PICTURE: Final = """\
                         root 0x10000
              TCP /                       \\ TCP
       eu-proxy 0x10100              us-proxy 0x10200
      unix |   | unix \\ TCP         unix |   | unix \\ TCP
   eu-login eu-match eu-chat       us-login us-match us-chat
    0x10101  0x10102  0x10103       0x10201  0x10202  0x10203"""


def relation(source: Member, target: Member) -> str:
    """
    Say how one stands to another.

    :param source: A service.
    :param target: Whom it sends to.
    :returns: One of `RELATIONS`.
    """
    if source is target:
        return "self"
    if not target.parent:
        return "root"
    if target.name == source.parent:
        return "parent"
    return "sibling" if target.parent == source.parent else "cousin"


def targets_of(source: Member) -> tuple[Member, ...]:
    """
    List whom a service sends to: somebody in every relation.

    :param source: The service.
    :returns: Itself, its siblings and parent, the root, and the services of the other region.
    """
    return tuple(
        member
        for member in MEMBERS.values()
        if member.is_service or member.name in ("root", source.parent)
    )


PAIRS: Final = tuple(
    (source.bus_id, target.bus_id) for source in SERVICES for target in targets_of(source)
)
"""Who sends to whom."""


class Ports:
    """
    Free ports of this machine that stay free for the processes of the demo.

    Each is bound here but not listened on: nobody is given it by the system, and whoever binds it
    with SO_REUSEADDR, as Twisted does, can listen on it, also a second time.
    """

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}

    def of(self, name: str) -> int:
        """
        Give a process its port.

        :param name: Of the process.
        :returns: The same port each time.
        """
        if name not in self._sockets:
            held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", 0))
            self._sockets[name] = held
        return int(self._sockets[name].getsockname()[1])

    def close(self) -> None:
        """Let them go."""
        for held in self._sockets.values():
            held.close()
        self._sockets.clear()


@attrs.frozen(kw_only=True)
class Plan:
    """
    What the processes of one run of the demo are told.

    :param folder: Where their configurations, sockets, logs and events are.
    :param ports: Where they listen.
    :param token: What they know each other by: nobody else gets in.
    :param rate: Messages per second of each service.
    :param relay: What runs in the processes of the proxies.
    :param tell: Adds to what a member is told: the options of its configuration, by their keys.
    """

    folder: Path
    ports: Ports
    token: str = attrs.field(repr=False)
    rate: float
    relay: str = APPLICATION
    tell: Callable[[dict[str, Any], Member], None] = lambda _lines, _member: None

    def address(self, member: Member, channel: str) -> str:
        """
        Say where a member listens.

        :param member: Who.
        :param channel: ``unix`` or ``ipv4``.
        :returns: The address.
        """
        if channel == "unix":
            return f"unix://{self.folder / member.name}.sock"
        return f"ipv4://127.0.0.1:{self.ports.of(member.name)}"

    def config_path(self, member: Member) -> Path:
        """Say where the configuration of a member is."""
        return self.folder / f"{member.name}.toml"

    def log_path(self, member: Member) -> Path:
        """Say where the log of a member is."""
        return self.folder / f"{member.name}.log"

    def write(self) -> None:
        """Write all configurations."""
        for member in MEMBERS.values():
            path = self.config_path(member)
            path.touch(mode=0o600)
            path.write_text(self.config(member), encoding="utf-8")

    def config(self, member: Member) -> str:
        """
        Make the configuration of one process.

        :param member: Whose.
        :returns: The text of a file.
        """
        lines: dict[str, Any] = {
            "id": f"{member.bus_id:#x}",
            "name": member.name,
            "listen": [self.address(member, channel) for channel in member.channels],
            "access_tokens": [self.token],
            "record_events": f"{self.folder / member.name}.events",
        }
        if member.parent:
            channel = "ipv4" if member.remote else "unix"
            lines["upstream"] = self.address(MEMBERS[member.parent], channel)
            lines["labels.region"] = member.region
        if member.free_bits:
            lines["subnets"] = [f"0/{member.free_bits}"]
        lines["heartbeat.profile"] = "fast"
        lines["retry.initial_seconds"] = 0.1
        lines["retry.seconds_max"] = 0.5
        is_relay = member.name.endswith("-proxy")
        lines["application.callable"] = self.relay if is_relay else APPLICATION
        if member.is_service:
            lines["application.settings.rate"] = self.rate
            lines["application.settings.targets"] = [target.bus_id for target in targets_of(member)]
        self.tell(lines, member)
        # The escapes of JSON are among those of TOML.
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
