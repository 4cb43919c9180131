"""
The course of the demo: start everybody, let them talk, kill one, let it come back, stop, judge.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList

from atbus.channels.timers import MonotonicTimers
from atbus.cli.demo.board import Board
from atbus.cli.demo.layout import (
    APPLICATION,
    MEMBERS,
    NAMES,
    PAIRS,
    PICTURE,
    SERVICES,
    VICTIM,
    Member,
    Plan,
    Ports,
)
from atbus.cli.demo.process import MemberProcess
from atbus.cli.demo.registry import Registry
from atbus.cli.demo.screen import Screen
from atbus.cli.demo.service import counts_name
from atbus.cli.demo.verdict import Ending
from atbus.cli.demo.watch import Flow, Pair, Watch
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.testing.checker import Verdict, check_folder

# Parts of the time in which messages are sent.
_KILLED_AT: Final = 0.35
_BACK_AFTER: Final = 0.15
_AWAY_SECONDS_MIN: Final = 1.0

_LOOK_SECONDS: Final = 0.5

_START_SECONDS: Final = 180.0
_RECOVERY_SECONDS: Final = 180.0
_SETTLE_SECONDS: Final = 20.0
# So many looks without a change mean that nothing is on its way.
_QUIET_LOOKS: Final = 3
_STOP_SECONDS: Final = 180.0

_OPENING: Final = """\
atbus gives every process a node on a message bus. Here are {count} processes:
two regions, each with three services behind a proxy, and a root between them.
Every service sends {rate:g} messages a second: to itself, its siblings, its proxy,
the root, and the services of the other region. After {killed:g} s one proxy is killed
and comes back. At the end each message is accounted for.

{picture}

hops: nodes that passed messages on; median, 99 %: how long messages took
"""


@attrs.frozen(kw_only=True)
class Wishes:
    """
    What the user wants to see.

    :param seconds: How long messages are sent.
    :param rate: Messages per second of each service.
    :param pairs: Whether to show each pair of nodes.
    :param keep: Whether to keep the files.
    :param relay: What runs in the processes of the proxies.
    :param discovery: The kind of registry that they use; empty for none.
    """

    seconds: float
    rate: float
    pairs: bool = False
    keep: bool = False
    relay: str = APPLICATION
    discovery: str = ""


class _FellError(Exception):
    """A process has ended that nobody had told to."""


class Story:
    """
    One run of the demo.

    :param reactor: Twisted's.
    :param wishes: What the user wants to see.
    :param screen: Where to show it.
    """

    def __init__(self, reactor: Any, wishes: Wishes, screen: Screen) -> None:
        self._reactor = reactor
        self._wishes = wishes
        self._screen = screen
        self._timers = MonotonicTimers(reactor)
        self._ports = Ports()
        self._folder = Path(tempfile.mkdtemp(prefix="atbus-demo-"))
        self._plan = Plan(
            folder=self._folder,
            ports=self._ports,
            token=secrets.token_hex(16),
            rate=wishes.rate,
            relay=wishes.relay,
        )
        self._registry: Registry | None = None
        if wishes.discovery:
            self._registry = Registry(
                wishes.discovery, reactor, self._timers, self._folder, self._ports
            )
            self._plan = attrs.evolve(self._plan, tell=self._registry.tell)
        self._watch = Watch(reactor, self._timers, self._plan)
        self._board = Board(pairs=wishes.pairs)
        self._processes: dict[Member, MemberProcess] = {}
        self._fallen: list[MemberProcess] = []
        self._troubles: list[str] = []
        self._began = 0.0
        self._up: set[Member] = set()

    async def tell(self) -> Ending:
        """
        Play it.

        However this ends, no process is left, and no file unless it is wanted, or needed to see
        what went wrong.

        :returns: What it came to.
        :raises CommandFailed: The processes did not come up.
        """
        keep = self._wishes.keep
        try:
            await self._start_registry()
            self._plan.write()
            self._screen.say(self._opening())
            await self._start_all()
            with suppress(_FellError):
                await self._talk()
                await self._settle()
            await self._stop_all()
            ending = self._judge()
            keep = keep or not ending.ok
            return ending
        except CommandFailed:
            keep = True
            raise
        finally:
            self._screen.close()
            await self._clean_up(keep=keep)

    def _opening(self) -> str:
        wishes = self._wishes
        killed = wishes.seconds * _KILLED_AT
        return _OPENING.format(count=len(MEMBERS), rate=wishes.rate, killed=killed, picture=PICTURE)

    # The acts.

    async def _start_registry(self) -> None:
        if self._registry is not None:
            await self._registry.start()
            self._screen.say(f"Nodes find each other through {self._registry.place}.\n")

    async def _start_all(self) -> None:
        for member in MEMBERS.values():
            self._start(member)
        self._watch.start()
        for _ in range(int(_START_SECONDS / _LOOK_SECONDS)):
            await self._pause(_LOOK_SECONDS)
            await self._watch.look()
            if self._fallen:
                words = tuple(self._fallen[0].last_words().splitlines())
                raise CommandFailed(ExitCode.FAILED, "NOT_STARTED", self._troubles[0], words)
            if all(state == "running" for state in self._watch.states.values()):
                return
        missing = [m.name for m, state in self._watch.states.items() if state != "running"]
        text = f"not up after {_START_SECONDS:g} s: {', '.join(missing)}"
        raise CommandFailed(ExitCode.FAILED, "NOT_STARTED", text)

    async def _talk(self) -> None:
        seconds = self._wishes.seconds
        self._began = self._timers.seconds()
        self._up = set(MEMBERS.values())
        await self._watch.tell(b"demo.go")
        killed_at = seconds * _KILLED_AT
        await self._watch_until(killed_at)
        await self._processes[VICTIM].kill()
        self._news(f"{VICTIM.name} killed (SIGKILL): its region can only talk among its services")
        await self._watch_until(killed_at + max(_AWAY_SECONDS_MIN, seconds * _BACK_AFTER))
        self._start(VICTIM)
        self._news(f"{VICTIM.name} started again")
        await self._recover(await self._watch.look())

    async def _recover(self, before: Mapping[Pair, Flow]) -> None:
        """Watch to the end, and for longer if not everybody hears from everybody again."""
        seconds = self._wishes.seconds
        await self._watch_until(seconds)
        for extra in range(1, int(_RECOVERY_SECONDS / _LOOK_SECONDS)):
            flows = await self._look()
            silent = [pair for pair in PAIRS if not _received_more(flows, before, pair)]
            if not silent:
                return
            await self._watch_until(seconds + extra * _LOOK_SECONDS)
        source, target = (NAMES[bus_id] for bus_id in silent[0])
        text = f"{len(silent)} flows did not begin again, among them {source} to {target}"
        self._troubles.append(text)

    async def _settle(self) -> None:
        """Wait until nothing is on its way any more."""
        await self._watch.tell(b"demo.halt")
        self._news("the services stop sending")
        before, quiet = -1, 0
        for _ in range(int(_SETTLE_SECONDS / _LOOK_SECONDS)):
            flows = await self._watch.look()
            self._complain()
            known = sum(flow.received + sum(flow.refused.values()) for flow in flows.values())
            # Of who does not answer nothing is known.
            answered = all(self._watch.states.values())
            quiet = quiet + 1 if answered and known == before else 0
            if quiet >= _QUIET_LOOKS:
                break
            before = known
            await self._pause(_LOOK_SECONDS)

    async def _stop_all(self) -> None:
        self._news("everybody gets SIGTERM")
        await self._watch.stop()
        stopping = [process.terminate() for process in self._processes.values()]
        patience = self._timers.callLater(_STOP_SECONDS, self._kill_all)
        await DeferredList(stopping)
        if patience.active():
            patience.cancel()
        for process in self._processes.values():
            if not process.graceful and process not in self._fallen:
                text = f"{process.member.name} {process.exit_text} instead of stopping"
                self._troubles.append(text)

    def _judge(self) -> Ending:
        verdict = check_folder(self._folder)
        self._compare(verdict)
        # The life that was ended with SIGKILL, and those that are trouble already.
        expected = [VICTIM.bus_id, *(process.member.bus_id for process in self._fallen)]
        unfinished = Counter(bus_id for bus_id, _ in verdict.unfinished) - Counter(expected)
        for bus_id in unfinished:
            self._troubles.append(f"{NAMES[bus_id]} did not write that it stopped")
        return Ending(verdict=verdict, troubles=tuple(self._troubles))

    def _compare(self, verdict: Verdict) -> None:
        """Hold what the services counted against the record of their nodes."""
        counted = {member.bus_id: self._counts_of(member) for member in SERVICES}
        for source, target in PAIRS:
            counts = counted.get(target)
            if counts is None:
                continue
            judged = verdict.pairs.get((source, target))
            recorded, told = 0 if judged is None else judged.delivered, counts.get(str(source), 0)
            if recorded != told:
                text = f"{NAMES[target]} counted {told} messages of {NAMES[source]}"
                self._troubles.append(f"{text}, {recorded} recorded")

    def _counts_of(self, member: Member) -> dict[str, int] | None:
        """Read what a service left; None when it did not come to that, which is told elsewhere."""
        path = self._folder / counts_name(member.name)
        if not path.exists():
            return None
        counts: dict[str, int] = json.loads(path.read_text(encoding="ascii"))
        return counts

    # What the acts are made of.

    def _start(self, member: Member) -> None:
        self._processes[member] = MemberProcess(self._reactor, self._plan, member, self._fell)

    def _fell(self, process: MemberProcess) -> None:
        self._fallen.append(process)
        text = f"{process.member.name} {process.exit_text}"
        self._troubles.append(text)
        self._news(text)

    def _complain(self) -> None:
        """
        End the talk if somebody has fallen who should not have.

        :raises _FellError: So it is.
        """
        if self._fallen:
            self._screen.say(f"\nIts log ends with\n{self._fallen[0].last_words()}")
            raise _FellError

    def _kill_all(self) -> list[Deferred[None]]:
        return [process.kill() for process in self._processes.values() if process.running]

    async def _watch_until(self, seconds: float) -> None:
        """Look and show until so many seconds have passed since the beginning."""
        while True:
            remaining = self._began + seconds - self._timers.seconds()
            # Rates over a short rest would be wrong.
            is_last = remaining < 1.5 * _LOOK_SECONDS
            await self._pause(max(0.0, remaining) if is_last else _LOOK_SECONDS)
            await self._look()
            if is_last:
                return

    async def _look(self) -> Mapping[Pair, Flow]:
        flows = await self._watch.look()
        self._complain()
        now = self._timers.seconds() - self._began
        up = {member for member, state in self._watch.states.items() if state == "running"}
        for member in sorted(up - self._up, key=lambda member: member.bus_id):
            self._news(f"{member.name} is back")
        self._up = up
        self._screen.table(self._heading(flows, now), self._board.rows(flows, now))
        return flows

    def _heading(self, flows: Mapping[Pair, Flow], now: float) -> str:
        received = sum(flow.received for flow in flows.values())
        refused = sum(sum(flow.refused.values()) for flow in flows.values())
        uncertain = sum(flow.refused["UNCERTAIN"] for flow in flows.values())
        passed = f"{now:.1f} s of {self._wishes.seconds:g}"
        counts = f"received {received}, refused {refused - uncertain}, uncertain {uncertain}"
        return f"{passed}: {len(self._up)} of {len(MEMBERS)} nodes up; {counts}"

    def _news(self, text: str) -> None:
        self._screen.news(f"{self._timers.seconds() - self._began:.1f} s: {text}")

    async def _pause(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        call = self._timers.callLater(seconds, over.callback, None)
        try:
            await over
        finally:
            if call.active():
                call.cancel()

    async def _clean_up(self, *, keep: bool) -> None:
        await DeferredList(self._kill_all())
        if self._registry is not None:
            await self._registry.stop()
        await self._watch.stop()
        self._ports.close()
        self._timers.stop()
        if keep and any(self._folder.iterdir()):
            self._screen.say(f"Configurations, logs and events are in {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)


def _received_more(flows: Mapping[Pair, Flow], before: Mapping[Pair, Flow], pair: Pair) -> bool:
    return flows.get(pair, Flow()).received > before.get(pair, Flow()).received
