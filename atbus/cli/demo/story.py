"""
The course of the demo: start everybody, let them talk, add a proxy, let one leave, kill one and let
it come back, stop, judge.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, DeferredList

from atbus.channels.timers import MonotonicTimers
from atbus.cli.demo.board import Board
from atbus.cli.demo.layout import (
    ADDED,
    APPLICATION,
    CROSS,
    DRAINED,
    FIRST,
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
from atbus.cli.demo.verdict import Ending, orders_given_up
from atbus.cli.demo.watch import Flow, Pair, Watch
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.testing.checker import Verdict, check_folder

# Parts of the time in which messages are sent. What takes longer than that delays what follows.
_ADDED_AT: Final = 0.2
_DRAINED_AT: Final = 0.4
_KILLED_AT: Final = 0.6
_BACK_AFTER: Final = 0.1
_AWAY_SECONDS_MIN: Final = 1.0

_LOOK_SECONDS: Final = 0.5

_START_SECONDS: Final = 180.0
_RECOVERY_SECONDS: Final = 180.0
_SETTLE_SECONDS: Final = 20.0
# So many looks without a change mean that nothing is on its way.
_QUIET_LOOKS: Final = 3
_STOP_SECONDS: Final = 180.0

_OPENING: Final = """\
atbus gives every process a node on a message bus. Here are {count} processes: two
regions, each with three services below two proxies, and a proxy between the
regions. Proxies of one region connect to each other by themselves; a policy
forbids it to those of two regions. Every service sends {rate:g} messages a second:
to itself, those of its region ("home"), those of the other ("abroad"), and "cross".

After {added:g} s a proxy is added, after {drained:g} s one leaves: nobody may lose anything or
be refused. After {killed:g} s one is killed and comes back: whoever sent through it is
told. At the end each message is accounted for.

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
        self._upstreams: dict[Member, int] = {}
        self._forbidden: set[tuple[str, str]] = set()

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
        return _OPENING.format(
            count=len(FIRST),
            rate=wishes.rate,
            added=wishes.seconds * _ADDED_AT,
            drained=wishes.seconds * _DRAINED_AT,
            killed=wishes.seconds * _KILLED_AT,
            picture=PICTURE,
        )

    # The acts.

    async def _start_registry(self) -> None:
        if self._registry is not None:
            await self._registry.start()
            self._screen.say(f"Nodes find each other through {self._registry.place}.\n")

    async def _start_all(self) -> None:
        for member in FIRST:
            self._start(member)
        self._watch.start()
        for _ in range(int(_START_SECONDS / _LOOK_SECONDS)):
            await self._pause(_LOOK_SECONDS)
            await self._watch.look()
            if self._fallen:
                words = tuple(self._fallen[0].last_words().splitlines())
                raise CommandFailed(ExitCode.FAILED, "NOT_STARTED", self._troubles[0], words)
            if not self._missing():
                return
        text = f"not up after {_START_SECONDS:g} s: {', '.join(self._missing())}"
        raise CommandFailed(ExitCode.FAILED, "NOT_STARTED", text)

    def _missing(self) -> list[str]:
        """Name who is not up, or is not known yet where it is needed to be reached or explained."""
        states = self._watch.states
        known = self._watch.known_by(CROSS) & self._watch.known_by(DRAINED)
        return [m.name for m in FIRST if states[m] != "running" or m.bus_id not in known]

    async def _talk(self) -> None:
        self._began = self._timers.seconds()
        self._up, self._upstreams = set(FIRST), dict(self._watch.upstreams)
        await self._watch.tell(b"demo.go")
        await self._watch_until(self._wishes.seconds * _ADDED_AT)
        await self._explain()
        await self._add()
        await self._watch_until(self._wishes.seconds * _DRAINED_AT)
        await self._drain()
        await self._watch_until(self._wishes.seconds * _KILLED_AT)
        await self._see_that_nobody_noticed()
        await self._kill()

    async def _explain(self) -> None:
        """Show what keeps the regions apart."""
        abroad = VICTIM
        told = await self._watch.explain(DRAINED, abroad)
        while not told:
            await self._pause(_LOOK_SECONDS)
            await self._look()
            told = await self._watch.explain(DRAINED, abroad)
        hop = NAMES.get(int(told["next_hop"] or "0", 0), "nobody")
        self._news(f"{DRAINED.name} reaches {abroad.name} through {hop}: {told['direct']}")

    async def _add(self) -> None:
        self._start(ADDED)
        self._news(f"{ADDED.name} is started")
        await self._until(self._is_in_use, f"nobody is below {ADDED.name}")

    def _is_in_use(self) -> bool:
        return ADDED.bus_id in self._upstreams.values()

    async def _drain(self) -> None:
        """Let a proxy leave: those below it move to others before it goes."""
        await self._watch.leave(DRAINED)
        self._up.discard(DRAINED)
        process = self._processes[DRAINED]
        process.terminate()
        self._news(f"{DRAINED.name} gets SIGTERM: it lets everybody below it move, and leaves")
        await self._until(lambda: not process.running, f"{DRAINED.name} does not leave")
        self._news(f"{DRAINED.name} has left")

    async def _until(self, holds: Callable[[], bool], complaint: str) -> None:
        """Look and show until something is so; that it takes very long is trouble."""
        for _ in range(int(_RECOVERY_SECONDS / _LOOK_SECONDS)):
            if holds():
                return
            await self._pause(_LOOK_SECONDS)
            await self._look()
        self._troubles.append(complaint)

    async def _see_that_nobody_noticed(self) -> None:
        flows = await self._look()
        refused = sum((flow.refused for flow in flows.values()), Counter[str]())
        if refused:
            reasons = ", ".join(f"{reason} {count}" for reason, count in refused.items())
            self._troubles.append(f"refused though nobody had been killed yet: {reasons}")
        else:
            self._news("one proxy more, one less, and nothing was refused")

    async def _kill(self) -> None:
        killed_at = self._timers.seconds() - self._began
        await self._processes[VICTIM].kill()
        self._news(f"{VICTIM.name} is killed (SIGKILL): what it held is uncertain")
        away = max(_AWAY_SECONDS_MIN, self._wishes.seconds * _BACK_AFTER)
        await self._watch_until(killed_at + away)
        self._start(VICTIM)
        self._news(f"{VICTIM.name} is started again")
        await self._until(lambda: VICTIM in self._up, f"{VICTIM.name} does not come back")
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
        if verdict.reordered:
            for process in self._processes.values():
                log = self._plan.log_path(process.member)
                self._troubles += orders_given_up(log.read_text(encoding="utf-8", errors="replace"))
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
            self._news(f"{member.name} is there")
        self._up = up
        self._note_moves()
        self._look_for_what_is_forbidden()
        self._screen.table(self._heading(flows, now), self._board.rows(flows, now))
        return flows

    def _note_moves(self) -> None:
        """Tell who has changed place."""
        for member in SERVICES:
            before, upstream = self._upstreams.get(member, 0), self._watch.upstreams[member]
            if upstream and before and upstream != before:
                self._news(f"{member.name} is below {NAMES[upstream]} now")
            self._upstreams[member] = upstream or before

    def _look_for_what_is_forbidden(self) -> None:
        """Note each connection between proxies of two regions; the policy forbids them."""
        for member, neighbors in self._watch.neighbors.items():
            for other in (MEMBERS[NAMES[each]] for each in neighbors if each in NAMES):
                pair = member.name, other.name
                both = member.is_regional_proxy and other.is_regional_proxy
                if both and member.region != other.region and pair not in self._forbidden:
                    self._forbidden.add(pair)
                    self._troubles.append(f"{member.name} is connected to {other.name}")

    def _heading(self, flows: Mapping[Pair, Flow], now: float) -> str:
        received = sum(flow.received for flow in flows.values())
        refused = sum(sum(flow.refused.values()) for flow in flows.values())
        uncertain = sum(flow.refused["UNCERTAIN"] for flow in flows.values())
        passed = f"{now:.1f} s of {self._wishes.seconds:g}"
        counts = f"received {received}, refused {refused - uncertain}, uncertain {uncertain}"
        return f"{passed}: {len(self._up)} nodes up; {counts}"

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
