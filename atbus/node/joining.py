"""
Joining messages that have waited into runs.

A message that has to wait for a way waits alone, for its run cannot grow. When the way opens, those
of one flow become runs again, as they would have been if they had not waited: a relay counts frames
(wire protocol, section 6.4), and a thousand frames of one message each are a burst that no reader
has asked for, where two or three of them would do.
"""

from __future__ import annotations

from collections.abc import Iterable

from atbus import limits
from atbus.node.outbox import Kept, Run

# A run has nothing beside its messages but its head: what has extras is not joined.
_BESIDES_BYTES = limits.FRAME_HEAD_BYTES + limits.EXTRAS_BYTES


def joined(items: Iterable[Kept], frame_bytes_max: int) -> list[Kept]:
    """
    Join messages that follow one another in their flow.

    What is for others may stand between them: order is kept per destination, and nothing goes
    before what is no message.

    :param items: In order; those that are joined are part of another one afterwards.
    :param frame_bytes_max: The longest frame to make.
    :returns: They, in the same order.
    """
    together: list[Kept] = []
    bytes_max = frame_bytes_max - _BESIDES_BYTES
    last: dict[int, Run] = {}
    for item in items:
        if not (type(item) is Run and _is_plain(item)):
            last.clear()
            together.append(item)
            continue
        before = last.get(item.target)
        if before is not None and _follows(item, before, bytes_max):
            before.kinds += item.kinds
            before.payloads += item.payloads
            before.count += item.count
            before.size_bytes += item.size_bytes
        else:
            together.append(item)
            last[item.target] = item
    return together


def _is_plain(run: Run) -> bool:
    """Tell whether there is nothing about a run but its messages, which are still there."""
    is_special = run.flags or run.extras or run.exclude or run.fragment is not None
    return not is_special and len(run.payloads) == len(run.kinds) == run.count


def _follows(run: Run, last: Run, bytes_max: int) -> bool:
    """Tell whether a run can be the rest of another one."""
    return (
        run.first_sequence == last.first_sequence + last.count
        and run.epoch == last.epoch
        and run.hop_limit == last.hop_limit
        and run.size_bytes + last.size_bytes <= bytes_max
        and run.count + last.count <= limits.RUN_COUNT_MAX
    )
