"""
The bus of the demo: who there is, who may hang below whom, and what each is told.

A cross-region proxy, below it the proxies of two regions, below those three services in each
region. Who is below whom is no matter of ids: each service has a list of proxies that it prefers in
that order, and is below the first that is there. The proxies reach the one above them over TCP, as
they would across hosts. Two services of each region reach their proxies over unix sockets, the
third over TCP, as if it were on another machine.
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

# So long a better upstream has to be there until a service returns to it.
_RETURN_SECONDS: Final = 1.0

_POLICY: Final = """
[[policy]]
name = "home"
action = "allow"
own_proxy = true
same_labels = ["region"]

[[policy]]
name = "abroad"
action = "deny"
"""


@attrs.frozen(kw_only=True)
class Member:
    """
    One process of the demo.

    :param name: What people call it.
    :param bus_id: What the bus calls it.
    :param region: Where it is; empty for the cross-region proxy.
    :param upstreams: The names of those that it may hang below, the best first.
    :param is_service: Whether it sends, rather than pass on what others send.
    :param remote: Whether it reaches its upstreams over TCP.
    :param channels: What it listens on, ``unix``, ``ipv4`` or both.
    """

    name: str
    bus_id: int
    region: str = ""
    upstreams: tuple[str, ...] = ()
    is_service: bool = False
    remote: bool = False
    channels: tuple[str, ...] = ("unix", "ipv4")

    @property
    def is_regional_proxy(self) -> bool:
        """Whether it is one of the proxies of a region."""
        return bool(self.region) and not self.is_service


# In which order the services of a region prefer its proxies, by their numbers. The third proxy of
# eu is added later: until then who would be below it is below the next.
_PREFERRED: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "eu": {"login": (1, 3, 2), "match": (1, 2, 3), "chat": (3, 2, 1)},
    "us": {"login": (1, 2), "match": (1, 2), "chat": (2, 1)},
}


def _members() -> Iterable[Member]:
    yield Member(name="cross", bus_id=0x1)
    for place, region in enumerate(REGIONS, 1):
        preferred = _PREFERRED[region]
        for number in sorted(preferred["login"]):
            yield Member(
                name=f"{region}-proxy-{number}",
                bus_id=place * 0x10 + number,
                region=region,
                upstreams=("cross",),
                remote=True,
            )
        for number, (name, order) in enumerate(preferred.items(), 1):
            remote = name == "chat"
            yield Member(
                name=f"{region}-{name}",
                bus_id=place * 0x100 + number,
                region=region,
                upstreams=tuple(f"{region}-proxy-{each}" for each in order),
                is_service=True,
                remote=remote,
                channels=("ipv4",) if remote else ("unix",),
            )


MEMBERS: Final[Mapping[str, Member]] = MappingProxyType(
    {member.name: member for member in _members()}
)
"""Everybody by name, upstreams first."""

SERVICES: Final = tuple(member for member in MEMBERS.values() if member.is_service)
"""Those that send."""

NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {member.bus_id: name for name, member in MEMBERS.items()}
)

CROSS: Final = MEMBERS["cross"]
"""The proxy between the regions."""

ADDED: Final = MEMBERS["eu-proxy-3"]
"""The proxy that is added while messages flow."""

DRAINED: Final = MEMBERS["eu-proxy-1"]
"""The proxy that leaves in good order."""

VICTIM: Final = MEMBERS["us-proxy-1"]
"""The proxy that is killed and comes back."""

FIRST: Final = tuple(member for member in MEMBERS.values() if member is not ADDED)
"""Those that are there from the beginning."""

RELATIONS: Final = ("self", "home", "above", "abroad")
"""How a service can stand to a node that it sends to."""

PICTURE: Final = """\
                             cross 0x1
            TCP /    TCP /                \\ TCP    \\ TCP
     eu-proxy-1 --- eu-proxy-2      us-proxy-1 --- us-proxy-2
        0x11           0x12            0x21           0x22
    unix |  \\ unix      | TCP     unix |  \\ unix      | TCP
   eu-login eu-match eu-chat      us-login us-match us-chat
    0x101    0x102    0x103        0x201    0x202    0x203
                                              (later eu-proxy-3 0x13)"""


def relation(source: Member, target: Member) -> str:
    """
    Say how one stands to another.

    :param source: A service.
    :param target: Whom it sends to.
    :returns: One of `RELATIONS`.
    """
    if source is target:
        return "self"
    if target is CROSS:
        return "above"
    return "home" if target.region == source.region else "abroad"


TARGETS: Final = (CROSS, *SERVICES)
"""Whom every service sends to: itself and all others, and the proxy between the regions."""

PAIRS: Final = tuple((source.bus_id, target.bus_id) for source in SERVICES for target in TARGETS)
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
            "topology": "records",
            "subnets": [],
            "listen": [self.address(member, channel) for channel in member.channels],
            "access_tokens": [self.token],
            "record_events": f"{self.folder / member.name}.events",
        }
        if member.upstreams:
            channel = "ipv4" if member.remote else "unix"
            above = [self.address(MEMBERS[name], channel) for name in member.upstreams]
            lines["upstreams"] = above
            lines["upstream_return_seconds"] = _RETURN_SECONDS
            lines["labels.region"] = member.region
        lines["retry.initial_seconds"] = 0.1
        lines["retry.seconds_max"] = 0.5
        lines["application.callable"] = self.relay if member.is_regional_proxy else APPLICATION
        if member.is_service:
            lines["application.settings.rate"] = self.rate
            lines["application.settings.targets"] = [target.bus_id for target in TARGETS]
        else:
            lines["proxy"] = True
            lines["labels.role"] = "proxy"
            lines["direct_connections"] = True
        self.tell(lines, member)
        # The escapes of JSON are among those of TOML.
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        return text if member.is_service else f"{text}{_POLICY}"
