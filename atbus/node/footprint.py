"""
How much memory others can make a node hold: its bounds, added up.

What a node holds for others has a bound each, and a container has one for everything. Those of a
node are rarely full at once, so their sum may be more than a container has where neighbors are
friends; where some are hostile it must not be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from atbus import limits
from atbus.node import bounds
from atbus.node.config import NodeConfig
from atbus.routing import bounds as routing_bounds
from atbus.routing.fragments import room_bytes
from atbus.subjects import bounds as subject_bounds
from atbus.wire import bounds as wire_bounds

#: What a process of ``twistd`` with a node takes that nobody has sent anything.
PROCESS_BYTES: Final = 68_157_440

# What the books of one thing cost where it is counted and not weighed, at most.
_FRAME_BYTES: Final = 1_024
_PAUSE_BYTES: Final = 104
_PARTED_BYTES: Final = 640

# Where a process finds its group, and the files that hold a group's bound, in both versions.
_PROC: Final = Path("/proc/self/cgroup")
_ROOT: Final = Path("/sys/fs/cgroup")


@attrs.frozen
class Holding:
    """
    What a node holds for others at most, of one kind.

    :param what: What it is.
    :param most_bytes: How much, bytes.
    :param option: The option that changes it; None where it is fixed.
    """

    what: str
    most_bytes: int
    option: str | None = None


def holdings(config: NodeConfig) -> tuple[Holding, ...]:
    """
    Add up what others can make a node hold, whatever they do.

    Each subscriber of the program, each stream and each client of a gateway has a bound of its own
    besides, and who has many of them reckons with that.

    :param config: The node's.
    :returns: All kinds, the largest first.
    """
    queues = config.queued_bytes_node
    pieces = room_bytes(config.message_bytes_max, queues)
    lanes = min(config.shm_bytes_max, config.shm_lanes_max * config.shm_lane_bytes)
    doubted = 2 * routing_bounds.UNVERIFIED_BYTES + routing_bounds.EARLY_BYTES
    found = (
        Holding("the process itself", PROCESS_BYTES),
        Holding(
            "what neighbors want of subjects",
            config.interest_bytes * subject_bounds.INTEREST_SHARES,
            "limits.interest_bytes",
        ),
        Holding(
            "what neighbors tell of nodes",
            routing_bounds.ROUTE_HEARD_BYTES + routing_bounds.ROUTE_WAITING_BYTES,
        ),
        Holding("services", wire_bounds.SERVICES_BYTES),
        Holding(
            "questions on subjects",
            subject_bounds.QUESTIONS_BYTES + subject_bounds.PARTED_QUESTIONS_MAX * _PARTED_BYTES,
        ),
        Holding("queues", queues, "limits.queued_bytes_node"),
        Holding("frames without acknowledgement", bounds.UNACKNOWLEDGED_ALL_MAX * _FRAME_BYTES),
        Holding("fragments of messages", pieces, "limits.queued_bytes_node"),
        Holding("fragments of publications", pieces, "limits.queued_bytes_node"),
        Holding(
            "messages that receivers have not taken",
            config.window_bytes * limits.WINDOW_HARD_FACTOR,
            "limits.window_bytes",
        ),
        Holding("answers and commands", bounds.OWED_BYTES_MAX + bounds.PARKED_BYTES),
        Holding("publications held at a gate", subject_bounds.GATE_HELD_BYTES),
        Holding("pauses", routing_bounds.PAUSES_HEARD_MAX * _PAUSE_BYTES),
        Holding("lanes of shared memory", lanes, "shm.lanes_max"),
        Holding("messages and news of unknown sources", doubted),
    )
    return tuple(sorted(found, key=lambda each: -each.most_bytes))


def memory_limit(proc: Path = _PROC, root: Path = _ROOT) -> int | None:
    """
    Read how much memory the control groups of this process have.

    :param proc: The file that names its groups.
    :param root: Where the groups are.
    :returns: The least bound of those that it is in, bytes; None where there is none, or none that
        can be read.
    """
    try:
        lines = proc.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found: list[int] = []
    for line in lines:
        _, kinds, path = [*line.split(":", 2), "", ""][:3]
        if not kinds:
            found += _bounds_above(root, path, "memory.max")
        elif "memory" in kinds.split(","):
            found += _bounds_above(root / "memory", path, "memory.limit_in_bytes")
    return min(found, default=None)


def _bounds_above(root: Path, path: str, name: str) -> list[int]:
    """
    Read the bounds of a group and of those around it.

    In a container the path may be the host's, of which only the root is there.
    """
    found = []
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        if ".." in folder.parts or not folder.is_relative_to(root):
            continue
        try:
            text = (folder / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            # Not text, or no path: what stands in the list of groups may be anything.
            continue
        # "max" says that there is none; the older version says it with all the bits of a page.
        if text.isdecimal() and int(text) < 2**62:
            found.append(int(text))
    return found
