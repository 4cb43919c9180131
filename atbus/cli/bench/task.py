"""
What is measured, and what each process of a measurement is told.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any, Final

import attrs

SIZE_BYTES_MIN: Final = 16
"""A message carries its number and the time when it was sent."""

TOP: Final = 0x10000
"""The node that listens: the sender, or the relay between it and the targets."""

_SENDER_BELOW: Final = TOP + 1
_FIRST_TARGET: Final = TOP + 0x100

_SOCKET: Final = "unix://{folder}/bench.sock"

CHANNELS: Final = MappingProxyType(
    {
        "unix": _SOCKET,
        "tcp": "ipv4://127.0.0.1:0",
        "tcp6": "ipv6://[::1]:0",
        "tls": "tls+ipv4://127.0.0.1:0",
        "shm": _SOCKET,
        "mem": _SOCKET,
    }
)
"""What can be measured, each with the address to listen at."""

ONE_WAY: Final = frozenset({"shm", "mem"})
"""Memory goes one way: each node has its own, and is registered over a socket."""


@attrs.frozen(kw_only=True)
class Wishes:
    """
    What the user wants to have measured.

    :param work: ``send``, ``deliver``, ``request`` or ``relay``.
    :param channel: One of `CHANNELS`.
    :param size: Bytes of a message.
    :param count: Messages to all targets together.
    :param targets: How many nodes they go to, in turn.
    :param rate: Messages per second; 0 for as many as the node takes.
    :param window: Answers that are waited for at a time.
    """

    work: str
    channel: str
    size: int
    count: int
    targets: int
    rate: float = 0.0
    window: int = 1


@attrs.frozen(kw_only=True)
class Task:
    """
    What one process is told.

    :param role: ``sender``, ``relay`` or ``target``.
    :param name: What people call it.
    :param bus_id: What the bus calls it.
    :param listen: The address to listen at; empty for the processes that dial.
    :param upstream: The address to dial; empty for the process that listens.
    :param targets: Whom the sender sends to.
    :param folder: Where certificates are, for a channel that needs some.
    :param wishes: What is measured.
    """

    role: str
    name: str
    bus_id: int
    listen: str = ""
    upstream: str = ""
    targets: tuple[int, ...] = ()
    folder: str = ""
    wishes: Wishes

    def to_json(self) -> str:
        """Write it as the argument of a process."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """
        Read what `to_json` has written.

        :param text: It.
        :returns: The task.
        """
        values: dict[str, Any] = json.loads(text)
        values["targets"] = tuple(values["targets"])
        return cls(**values | {"wishes": Wishes(**values["wishes"])})


def read_line(line: str | bytes) -> dict[str, Any]:
    """
    Read what the command and one of its processes say to each other.

    :param line: One line.
    :returns: The values in it.
    :raises ValueError: It is no object of JSON.
    """
    try:
        values = json.loads(line)
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    if not isinstance(values, dict):
        raise ValueError("no object of JSON")  # noqa: TRY004  # of what somebody said
    return values


def tasks(wishes: Wishes, folder: str) -> list[Task]:
    """
    Say who takes part.

    :param wishes: What is measured.
    :param folder: Where a socket may be.
    :returns: Who listens first; the others dial it, and get its address as their upstream then.
    """
    listen = CHANNELS[wishes.channel].format(folder=folder)
    ids = tuple(_FIRST_TARGET + place for place in range(wishes.targets))
    relayed = wishes.work == "relay"
    sender = Task(
        role="sender",
        name="sender",
        bus_id=_SENDER_BELOW if relayed else TOP,
        listen="" if relayed else listen,
        targets=ids,
        folder=folder,
        wishes=wishes,
    )
    relay = Task(
        role="relay", name="relay", bus_id=TOP, listen=listen, folder=folder, wishes=wishes
    )
    receivers = [
        Task(
            role="target",
            name="target" if len(ids) == 1 else f"target {place}",
            bus_id=bus_id,
            folder=folder,
            wishes=wishes,
        )
        for place, bus_id in enumerate(ids, 1)
    ]
    return [relay, sender, *receivers] if relayed else [sender, *receivers]
