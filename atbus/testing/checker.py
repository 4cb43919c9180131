"""
Give a verdict about a run of the bus from what its nodes wrote down.

This is the judge, so it shares nothing with the code that is judged but the words for outcomes and
ids: not the node, not the wire, not even the recorder (`atbus.testing.record`), only the format of
its files. It reads all ``*.events`` files of a folder and asks of every message that was sent:

1. It has one fate:

   * *delivered*: its target received it;
   * *refused*: its sender was told why not, at once or later;
   * *uncertain*: its sender was told that nobody knows;
   * *dropped*: a node wrote down that it ended there and that nobody could be told;
   * *orphaned*: its sender is among those that the test says it killed, so nobody was left to tell;
   * *lost*: none of these.

   Received as well as uncertain is delivered. Received as well as refused is a contradiction, and
   so is told as delivered but not received.

2. It was received once (else *duplicated*), by its target (else *misdelivered*), with the payload
   that was sent (else *corrupted*), and after those that its sender sent to that target before it
   in the same epoch (else *reordered*). One that its sender was told to be uncertain may be *late*:
   it was held somewhere when the way that it had taken broke, and what came after it took another.
   A node may give up the order of what is for one target, and writes that down; such a message is
   *reordered* all the same, and counted as *unordered* as well.

The verdict lists the runs of nodes (a run is one epoch) that did not write that they stopped: they
were killed, or they still run. A line that was cut off by the end of its process is counted and
passed over.

``python -m atbus.testing.checker DIR`` prints the verdict; it ends with 0 when all is well, with 1
when not, with 2 when there is nothing to judge.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from atbus.busid import format_bus_id, parse_bus_id
from atbus.errors import Status
from atbus.testing.history import History, Key, News, Receipt, Run, Sent

SUFFIX: Final = ".events"
"""How the names of event files end."""

OFFENDERS_MAX: Final = 5
"""How many offending messages of each kind a verdict names."""

PAIRS_MAX: Final = 20
"""How many pairs of sender and target a printed verdict shows, those with most trouble first."""

# What a message must not be.
_OFFENSES: Final = (
    "lost",
    "duplicated",
    "reordered",
    "corrupted",
    "misdelivered",
    "contradictions",
    "unreadable",
)


@attrs.define
class Pair:
    """The messages from one node to another, counted by their fate."""

    sent: int = 0
    delivered: int = 0
    refused: int = 0
    uncertain: int = 0
    dropped: int = 0
    orphaned: int = 0
    lost: int = 0


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What became of all messages.

    Each message sent is counted in one of `delivered`, `refused`, `uncertain`, `dropped`,
    `orphaned` and `lost`. The other counts are of receptions and of lines.

    :param refused: For each reason how many messages.
    :param dropped: For each reason how many messages; only those that can be told apart.
    :param unordered: Those of the reordered ones to whose target a node had given up the order.
    :param late: Messages received after later ones whose sender was told that they are uncertain.
    :param unrecorded: Messages received from a node that was killed before it could write down
        that it had sent them.
    :param foreign: Messages received from nodes that wrote nothing down.
    :param drops: For each reason how many messages nodes say that they dropped, all in all.
    :param unreadable: Lines that are no events, without a process having ended there.
    :param truncated: Lines that were cut off by the end of their process.
    :param unfinished: The runs that did not write that they stopped: killed, or still running.
    :param pairs: The fates of the messages of each (sender, target).
    :param offenders: For each kind of offense the first few messages, described.
    """

    sent: int
    delivered: int
    refused: Mapping[str, int]
    uncertain: int
    dropped: Mapping[str, int]
    orphaned: int
    lost: int
    duplicated: int
    reordered: int
    corrupted: int
    misdelivered: int
    contradictions: int
    unordered: int
    late: int
    unrecorded: int
    foreign: int
    drops: Mapping[str, int]
    unreadable: int
    truncated: int
    unfinished: tuple[Run, ...]
    pairs: Mapping[tuple[int, int], Pair]
    offenders: Mapping[str, tuple[str, ...]]

    @property
    def ok(self) -> bool:
        """Whether something was sent, and nothing went wrong that the bus promises not to do."""
        return self.sent > 0 and not any(getattr(self, offense) for offense in _OFFENSES)

    def to_json(self) -> str:
        """
        Write the verdict for a program.

        :returns: One JSON object; ids as text, pairs as a list.
        """
        values = attrs.asdict(
            self, filter=lambda field, _: field.name not in {"pairs", "unfinished"}
        )
        values["ok"] = self.ok
        values["unfinished"] = [
            {"node": format_bus_id(node), "epoch": epoch} for node, epoch in self.unfinished
        ]
        values["pairs"] = [
            {"source": format_bus_id(source), "target": format_bus_id(target), **attrs.asdict(pair)}
            for (source, target), pair in self.pairs.items()
        ]
        return json.dumps(values, indent=2)

    def __str__(self) -> str:
        fates = (
            f"delivered {self.delivered}, refused {_sum_up(self.refused)}, "
            f"uncertain {self.uncertain}, dropped {_sum_up(self.dropped)}, "
            f"orphaned {self.orphaned}, lost {self.lost}"
        )
        lines = [
            f"verdict: {'ok' if self.ok else 'NOT OK'}",
            f"sent {self.sent}: {fates}",
            ", ".join(f"{offense} {getattr(self, offense)}" for offense in _OFFENSES[1:]),
        ]
        for offense, described in self.offenders.items():
            lines += [f"  {offense}: {text}" for text in described]
        lines += self._table()
        if self.unfinished:
            runs = (f"{format_bus_id(node)} (epoch {epoch})" for node, epoch in self.unfinished)
            lines.append(f"not stopped: {', '.join(runs)}")
        if self.unordered:
            lines.append(f"reordered where a node had given up the order {self.unordered}")
        if self.late:
            lines.append(f"uncertain ones that came after later ones {self.late}")
        if self.truncated or self.unrecorded or self.foreign:
            lines.append(
                f"lines cut off {self.truncated}, received from a killed sender's last moment "
                f"{self.unrecorded}, received from nodes that write nothing {self.foreign}"
            )
        return "\n".join(lines)

    def _table(self) -> list[str]:
        pairs = sorted(self.pairs.items(), key=lambda item: item[1].delivered - item[1].sent)
        ids = {pair: [format_bus_id(bus_id) for bus_id in pair] for pair, _ in pairs[:PAIRS_MAX]}
        width = max((len(text) for texts in ids.values() for text in texts), default=0)
        lines = []
        for pair, texts in ids.items():
            counts = attrs.asdict(self.pairs[pair], filter=lambda _, value: value)
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            lines.append(f"  {texts[0]:>{width}} -> {texts[1]:<{width}}  {shown}")
        return lines + ([f"  and {len(pairs) - PAIRS_MAX} more"] if len(pairs) > PAIRS_MAX else [])


def check_folder(folder: Path | str, killed: Collection[int] = ()) -> Verdict:
    """
    Judge what the nodes of one run wrote into a folder.

    :param folder: The folder with their ``*.events`` files.
    :param killed: The bus ids of the nodes that the test killed.
    :returns: The verdict.
    :raises OSError: When a file cannot be read.
    """
    return check_files(sorted(Path(folder).glob(f"*{SUFFIX}")), killed)


def check_files(paths: Iterable[Path], killed: Collection[int] = ()) -> Verdict:
    """
    Judge what nodes wrote into files.

    :param paths: The files.
    :param killed: The bus ids of the nodes that the test killed.
    :returns: The verdict.
    :raises OSError: When a file cannot be read.
    """
    history = History()
    for path in paths:
        with path.open("rb") as lines:
            history.read(path.name, lines)
    return _Judge(history, killed).verdict()


class _Judge:
    """Compares what was sent with what was received and told."""

    def __init__(self, history: History, killed: Collection[int]) -> None:
        self._history = history
        self._killed = {run for run in history.unfinished if run[0] in killed}
        self._sources = {node for node, _ in history.runs}
        self._offenders: defaultdict[str, list[str]] = defaultdict(list)
        self._counts: Counter[str] = Counter()
        # The last sequence that each flow is known to have sent: what lies beyond in a run that
        # was killed may have been sent without being written down.
        self._last: dict[tuple[int, int, int], int] = {}
        self._by_content: dict[tuple[int, int, int, str], int] = {}
        for (node, epoch, target, sequence), sent in history.sent.items():
            flow = node, epoch, target
            self._last[flow] = max(self._last.get(flow, 0), sequence)
            self._by_content[node, epoch, sequence, sent.digest] = target

    def verdict(self) -> Verdict:
        """Go through everything once."""
        history = self._history
        for key in history.sent_twice:
            self._accuse("contradictions", key, "sent twice under one sequence")
        for text in history.unreadable:
            self._offend("unreadable", text)
        self._match_news()
        self._match_receipts()
        pairs, refused, dropped = self._classify()
        total = Pair(
            *(sum(column) for column in zip(*map(attrs.astuple, pairs.values()), strict=True))
        )
        return Verdict(
            sent=total.sent,
            delivered=total.delivered,
            refused=dict(refused),
            uncertain=total.uncertain,
            dropped=dict(dropped),
            orphaned=total.orphaned,
            lost=total.lost,
            duplicated=self._counts["duplicated"],
            reordered=self._counts["reordered"],
            corrupted=self._counts["corrupted"],
            misdelivered=self._counts["misdelivered"],
            contradictions=self._counts["contradictions"],
            unordered=self._counts["unordered"],
            late=self._counts["late"],
            unrecorded=self._counts["unrecorded"],
            foreign=self._counts["foreign"],
            drops=dict(history.drops),
            unreadable=self._counts["unreadable"],
            truncated=history.truncated,
            unfinished=tuple(sorted(history.unfinished)),
            pairs=dict(sorted(pairs.items())),
            offenders={kind: tuple(texts) for kind, texts in self._offenders.items()},
        )

    def _match_receipts(self) -> None:
        received: Counter[Key] = Counter()
        latest: dict[tuple[str, int, int, int], int] = {}
        for receipt in self._history.receipts:
            if not self._recognize(receipt):
                continue
            key = receipt.key
            received[key] += 1
            flow = receipt.file, receipt.source, receipt.source_epoch, receipt.node
            if received[key] > 1:
                self._accuse("duplicated", key, f"received {received[key]} times")
            elif receipt.sequence >= latest.get(flow, 0):
                latest[flow] = receipt.sequence
            elif self._is_uncertain(key):
                self._counts["late"] += 1
            else:
                self._accuse("reordered", key, f"received after #{latest[flow]}")
                self._counts["unordered"] += receipt.node in self._history.unordered
        for key, count in received.items():
            if key in self._history.sent:
                self._history.sent[key].received = count

    def _is_uncertain(self, key: Key) -> bool:
        sent = self._history.sent.get(key)
        return sent is not None and Status.UNCERTAIN.name in sent.told

    def _recognize(self, receipt: Receipt) -> bool:
        """Tell whether a node received what was meant for it, or what nobody can judge."""
        key, sent = receipt.key, self._history.sent.get(receipt.key)
        if sent is not None and (sent.kind, sent.digest) == (receipt.kind, receipt.digest):
            return True
        if receipt.source not in self._sources:
            self._counts["foreign"] += 1
            return True
        meant_for = self._by_content.get(
            (receipt.source, receipt.source_epoch, receipt.sequence, receipt.digest)
        )
        if meant_for not in (None, receipt.node):
            self._accuse("misdelivered", key, f"meant for {format_bus_id(meant_for or 0)}")
            return False
        if sent is not None:
            self._accuse("corrupted", key, f"sent {sent.digest}, received {receipt.digest}")
        elif self._may_be_unrecorded(key):
            self._counts["unrecorded"] += 1
        else:
            self._accuse("contradictions", key, "received, but never sent")
        return True

    def _match_news(self) -> None:
        for key, status in _spread(self._history.fates):
            if key in self._history.sent:
                self._history.sent[key].told.append(status)
            elif not self._may_be_unrecorded(key):
                self._accuse("contradictions", key, f"told {status}, but never sent")
        for key, status in _spread(self._history.dropped):
            if key in self._history.sent:
                self._history.sent[key].dropped = status

    def _classify(self) -> tuple[dict[tuple[int, int], Pair], Counter[str], Counter[str]]:
        pairs: defaultdict[tuple[int, int], Pair] = defaultdict(Pair)
        refused: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for node, target, reason in self._history.refused:
            refused[reason] += 1
            pairs[node, target].sent += 1
            pairs[node, target].refused += 1
        for key, sent in self._history.sent.items():
            fate, reason = self._fate_of(key, sent)
            pair = pairs[key[0], key[2]]
            pair.sent += 1
            setattr(pair, fate, getattr(pair, fate) + 1)
            if fate == "refused":
                refused[reason] += 1
            elif fate == "dropped":
                dropped[reason] += 1
        return pairs, refused, dropped

    def _fate_of(self, key: Key, sent: Sent) -> tuple[str, str]:
        reasons = [status for status in sent.told if status not in _NO_REFUSAL]
        if sent.received:
            # A receiver that fails has been given the message.
            reasons = [reason for reason in reasons if reason != Status.HANDLER_FAILED.name]
            if reasons:
                self._accuse("contradictions", key, f"received, but told {reasons[0]}")
            return "delivered", ""
        if Status.OK.name in sent.told:
            self._accuse("contradictions", key, "told that it was delivered, but not received")
        if reasons:
            if len(reasons) > 1:
                self._accuse("contradictions", key, f"refused {len(reasons)} times")
            return "refused", reasons[0]
        if Status.UNCERTAIN.name in sent.told:
            return "uncertain", ""
        if sent.dropped is not None:
            return "dropped", sent.dropped
        if key[:2] in self._killed:
            return "orphaned", ""
        self._accuse("lost", key, "neither received nor told of")
        return "lost", ""

    def _may_be_unrecorded(self, key: Key) -> bool:
        killed = key[:2] in self._killed
        return killed and key[3] > self._last.get(key[:3], 0)

    def _accuse(self, offense: str, key: Key, what: str) -> None:
        node, epoch, target, sequence = key
        flow = f"{format_bus_id(node)} (epoch {epoch}) -> {format_bus_id(target)}"
        self._offend(offense, f"{flow} #{sequence}: {what}")

    def _offend(self, offense: str, text: str) -> None:
        self._counts[offense] += 1
        if len(self._offenders[offense]) < OFFENDERS_MAX:
            self._offenders[offense].append(text)


_NO_REFUSAL: Final = frozenset({Status.OK.name, Status.UNCERTAIN.name})


def _spread(news: Iterable[News]) -> Iterator[tuple[Key, str]]:
    for each in news:
        node, epoch, target, first = each.key
        for sequence in range(first, first + each.count):
            yield (node, epoch, target, sequence), each.status


def _sum_up(reasons: Mapping[str, int]) -> str:
    parts = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return f"{sum(reasons.values())} ({parts})" if parts else "0"


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Judge a folder from the command line.

    :param arguments: The arguments; None: those of the process.
    :returns: The exit code: 0 all is well, 1 it is not, 2 there is nothing to judge.
    """
    parser = argparse.ArgumentParser(prog="python -m atbus.testing.checker")
    parser.add_argument("folder", type=Path, help=f"where the nodes' *{SUFFIX} files are")
    parser.add_argument(
        "--killed",
        action="append",
        default=[],
        type=parse_bus_id,
        metavar="ID",
        help="a node that was killed on purpose; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    options = parser.parse_args(arguments)
    verdict = check_folder(options.folder, options.killed)
    sys.stdout.write(f"{verdict.to_json() if options.json else verdict}\n")
    if not verdict.sent:
        sys.stderr.write(f"{options.folder}: nothing was sent, so there is nothing to judge\n")
        return 2
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
