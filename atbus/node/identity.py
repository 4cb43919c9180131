"""
Who this host and this process are, as told to others in REGISTER_REQUEST.

Both are hints that choose channels and tell a restarted node from a second one; neither is a
proof of anything.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path

import attrs

from atbus.address import Locality

_instances = itertools.count(1)


@attrs.frozen(kw_only=True)
class Identity:
    """
    Identify a node's host and process.

    :param host: Equal for all processes of one host since its start.
    :param process: Equal for all connections of one node object, and for nothing else; the part
        before the slash is equal for all nodes of one process.
    :param hostname: The host's name, for people.
    """

    host: str
    process: str
    hostname: str


def this_identity(hostname: str = "auto") -> Identity:
    """
    Find out who we are.

    :param hostname: ``auto`` (machine and boot id, else MAC addresses), ``mac`` (sorted physical
        MAC addresses, the rule of 2018) or any text, which is then taken as it is.
    """
    if hostname == "auto":
        host = _boot_identity() or _mac_addresses() or socket.gethostname()
    elif hostname == "mac":
        host = _mac_addresses() or socket.gethostname()
    else:
        host = hostname
    process = f"{os.getpid()}.{_start_ticks()}/{next(_instances)}"
    return Identity(host=host, process=process, hostname=socket.gethostname())


def distance_to(mine: Identity, host: str, process: str) -> Locality:
    """
    Tell how far away a node says that it is; whoever relies on it has it proven.

    :param host: As it was told in REGISTER_REQUEST.
    :param process: Likewise.
    """
    if mine.host != host:
        return Locality.NETWORK
    same = mine.process.partition("/")[0] == process.partition("/")[0]
    return Locality.PROCESS if same else Locality.HOST


def _boot_identity() -> str:
    """Join machine id and boot id; the boot id alone tells clones of one image apart."""
    texts = []
    for path in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        try:
            texts.append(Path(path).read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            texts.append("")
    return "-".join(text for text in texts if text) if texts[1] else ""


def _mac_addresses() -> str:
    found = set()
    for folder in Path("/sys/class/net").glob("*"):
        try:
            if not (folder / "device").exists():
                continue
            found.add((folder / "address").read_text(encoding="ascii").strip())
        except OSError:
            continue
    return ":".join(sorted(found))


def is_process_alive(process: str) -> bool:
    """
    Tell whether a process of this host is still there.

    :param process: `Identity.process` of a node of this host.
    :returns: Whether it is; not when the text is none, nor when the pid is another's by now.
    """
    pid, _, ticks = process.partition("/")[0].partition(".")
    if not pid.isdecimal() or not pid.isascii() or ticks in ("", "0"):
        return False
    return _start_ticks(pid) == ticks


def _start_ticks(pid: str = "self") -> str:
    """Give the kernel's start time of a process, so that a reused pid is not it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "0"
    return stat.rpartition(")")[2].split()[19]


def epoch_now() -> int:
    """Give a new incarnation: the calendar's seconds, which grow from start to start."""
    return int(time.time())  # noqa: TID251  # the calendar, not the clock
