"""
The end of the demo: what became of each message, in words and as JSON.

The counting is done by the independent checker (`atbus.testing.checker`) from what every process
wrote down for itself; nothing that was shown while the demo ran has a part in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from atbus.testing.checker import Verdict


@attrs.frozen(kw_only=True)
class Ending:
    """
    What the demo came to.

    :param verdict: What the checker found.
    :param troubles: What went wrong with the processes, one sentence each.
    """

    verdict: Verdict
    troubles: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the bus kept its promises."""
        return self.verdict.ok and not self.troubles

    def words(self) -> str:
        """
        Tell it to people.

        :returns: A few lines.
        """
        verdict = self.verdict
        refused = _sum(verdict.refused)
        lines = [
            f"{_number(verdict.sent)} messages were sent:",
            _line(verdict.delivered, "delivered, each once, whole, and in order"),
            _line(refused, f"refused, and their senders told why{_reasons(verdict.refused)}"),
            _line(verdict.uncertain, _UNCERTAIN),
            *_some(_sum(verdict.dropped), "dropped where nobody could be told"),
            *_some(verdict.orphaned, "from senders that were killed"),
            _line(verdict.lost, "lost"),
        ]
        for count, what in (
            (verdict.duplicated, "received twice"),
            (verdict.reordered, "received out of order"),
            (verdict.corrupted, "received with other bytes"),
            (verdict.misdelivered, "received by the wrong node"),
            (verdict.contradictions, "told one thing and done another"),
            (verdict.unreadable, "events that cannot be read"),
        ):
            lines += _some(count, what)
        for offense, described in verdict.offenders.items():
            lines += [f"    {offense}: {text}" for text in described]
        lines += [f"    {trouble}" for trouble in self.troubles]
        lines.append(f"Verdict: {_GOOD if self.ok else _BAD}")
        return "\n".join(lines)

    def values(self) -> dict[str, Any]:
        """
        Tell it to programs.

        :returns: A JSON object.
        """
        verdict = self.verdict
        return {
            "ok": self.ok,
            "sent": verdict.sent,
            "delivered": verdict.delivered,
            "refused": _sum(verdict.refused),
            "refused_reasons": dict(verdict.refused),
            "uncertain": verdict.uncertain,
            "dropped": _sum(verdict.dropped),
            "orphaned": verdict.orphaned,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "reordered": verdict.reordered,
            "corrupted": verdict.corrupted,
            "misdelivered": verdict.misdelivered,
            "contradictions": verdict.contradictions,
            "unreadable": verdict.unreadable,
            "killed": [f"{node:#x}" for node, _ in verdict.unfinished],
            "troubles": list(self.troubles),
        }


def orders_given_up(log: str) -> list[str]:
    """
    Find where a node gave up the order of messages: a busy machine may be the reason.

    :param log: What its process has logged.
    :returns: What it said of that, each once.
    """
    return list(dict.fromkeys(_GIVEN_UP.findall(log)))


_GIVEN_UP = re.compile(r"\] (0x.*: order towards 0x[0-9a-f]+ was given up)")
_UNCERTAIN = "uncertain: in the hands of the proxy that was killed; senders know"
_GOOD = "good. Nothing lost, doubled or out of order, and every sender was told."
_BAD = "NOT good. The bus did not keep its promises."


def _line(count: int, what: str) -> str:
    return f"{_number(count):>10} {what}"


def _some(count: int, what: str) -> Iterable[str]:
    if count:
        yield _line(count, what)


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _sum(reasons: Mapping[str, int]) -> int:
    return sum(reasons.values())


def _reasons(reasons: Mapping[str, int]) -> str:
    parts = ", ".join(f"{reason} {_number(count)}" for reason, count in sorted(reasons.items()))
    return f" ({parts})" if parts else ""
