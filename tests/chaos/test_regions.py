"""
A region behind a bad network, and one that does not notice: real packets between two namespaces.

A proxy stands in the middle. Below it is a good region, on this host, and a far one on a host of
its own that is reached over a link as bad as the test says.
"""

from __future__ import annotations

import math
from collections import Counter

from atbus.testing.namespace import Namespace, what_is_missing
from atbus.testing.tun_link import TunLink, Way
from atbus.testing.weather import FAIR, Weather
from tests.chaos.case import PROGRAMS, ChaosCase, need, node_file, speech
from tests.chaos.programs import machine_seconds
from tests.extent import LONG, extent
from tests.processes.harness import NodeProcess

CROSS, NEAR, FAR = 0x1_0000, 0x1_0100, 0x1_0200
ONE, TWO, CALLER = NEAR + 1, NEAR + 2, NEAR + 3
THIRD, FOURTH, FIFTH = FAR + 1, FAR + 2, FAR + 3
FAR_NAMES = ("far", "third", "fourth", "fifth")
TALKERS = ("one", "two", "third", "fourth")

RATE = extent(100, 500)
"""Each of those says so much in a second: where there is no time it is not to be too much."""

DREADFUL = Weather(
    delay_seconds=0.15, jitter_seconds=0.02, loss=0.2, bytes_per_second=8_000, queue_bytes=20_000
)
"""64 kbit/s, and of five packets one is lost."""

QUICK_BEATS = "[heartbeat]\nseconds = 1.5\ntolerance = 3"
PATIENT_BEATS = "[heartbeat]\nseconds = 8.0\ntolerance = 2"
ELSEWHERE = 'hostname = "far away"'
PATIENT = "patience = 60"
TIMED = "tests.chaos.timed:speak"


def percentile(values: list[float], share: float) -> float:
    """Find the value that such a share of values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


class FarRegionTests(ChaosCase):
    """Two regions below one proxy."""

    def setUp(self) -> None:
        need(what_is_missing() is None, f"{what_is_missing()}")
        super().setUp()
        self.middle, self.far_host = Namespace(), Namespace()
        self.addCleanup(self.far_host.close)
        self.addCleanup(self.middle.close)
        self.link = TunLink(self.reactor, self.middle, self.far_host, seed=extent(1, 2))
        self.link.start()
        self.addCleanup(self.link.stop)
        self.hosts = {"cross": self.middle} | dict.fromkeys(FAR_NAMES, self.far_host)

    def run_program(self, name: str, *words: str) -> NodeProcess:
        """Start a process on its host."""
        if name in self.hosts:
            words = tuple(self.hosts[name].command(*words, folder=str(self.folder)))
        return super().run_program(name, *words)

    async def bus(self, beats: str) -> dict[str, NodeProcess]:
        """Start everything: two proxies below a third, two talkers in each region, one between."""
        listen = f'allow_insecure = true\nsubnets = ["0/16"]\n{beats}'
        text = node_file("cross", CROSS, listens=True, more=listen)
        place = f"ipv4://{self.link.here_address}:0"
        cross = self.start("cross", text.replace('cross.sock"]', f'cross.sock", "{place}"]'))
        port = (await cross.says(r"ipv4://10\.119\.0\.1:(\d+);"))[1]
        over = f"ipv4://{self.link.here_address}:{port}"
        # Unix sockets reach across networks: these nodes must not take the others for local.
        more = {"near": beats, "far": f"{ELSEWHERE}\n{beats}"}
        proxies = await self.bring_up(
            ("near", node_file("near", NEAR, ["cross"], listens=True, more=beats)),
            ("far", node_file("far", FAR, [over], listens=True, more=more["far"])),
        )
        talkers = {
            "one": (ONE, "near", speech(TWO, rate=RATE, more=PATIENT), TIMED),
            "two": (TWO, "near", speech(ONE, rate=RATE, more=PATIENT), TIMED),
            "caller": (CALLER, "near", speech(FIFTH, rate=20, sizes=(100,), more=PATIENT), TIMED),
            "fifth": (FIFTH, "far", "every = 5", f"{PROGRAMS}:listen"),
            "third": (THIRD, "far", speech(FOURTH, rate=RATE, more=PATIENT), TIMED),
            "fourth": (FOURTH, "far", speech(THIRD, rate=RATE, more=PATIENT), TIMED),
        }
        files = [
            (name, node_file(name, bus_id, [up], program=program, settings=said, more=more[up]))
            for name, (bus_id, up, said, program) in talkers.items()
        ]
        processes = [cross, *proxies, *await self.bring_up(*files)]
        return {process.name: process for process in processes}

    async def end(self, bus: dict[str, NodeProcess]) -> None:
        """Stop everything, services first, and look at what became of all messages."""
        for name in ("caller", "one", "two", *FAR_NAMES[1:], "near", "far", "cross"):
            await self.stop_all(bus[name])
        self.check()

    def questions(self, began: float, ended: float, *names: str) -> list[tuple[float, str]]:
        """Collect how long each question took that was asked in a time, and how it ended."""
        notes = [note for name in names for note in self.notes(name, "questions")]
        return [
            (seconds, outcome)
            for note in notes
            for asked_at, seconds, outcome in note["all"]
            if began < asked_at < ended
        ]

    def check_undisturbed(self, began: float, ended: float, *names: str) -> None:
        """Look that all that some nodes asked in a time was answered."""
        outcomes = Counter(outcome for _, outcome in self.questions(began, ended, *names))
        self.assertEqual(set(outcomes), {"OK"}, outcomes)

    async def test_dreadful_weather(self) -> None:
        """
        The far region stays and is reached, slowly; within the good one nothing is noticed.

        That its slowest answers take hardly longer than before is looked at where there is time
        for enough of them.
        """
        bus = await self.bus(PATIENT_BEATS)
        await self._talk(bus, near=extent(6, 300), far=extent(3, 100))
        changed = machine_seconds()
        self.link.weather(DREADFUL)
        await self._talk(bus, near=extent(6, 300), far=extent(3, 100))
        self.link.weather(FAIR)
        mended = machine_seconds()
        bus["fifth"].forget()
        await bus["fifth"].says("received ")
        await self.end(bus)
        self.check_undisturbed(changed, mended, *TALKERS)
        outcomes = Counter(outcome for _, outcome in self.questions(changed, mended, "caller"))
        self.assertGreater(outcomes["OK"], 0, outcomes)
        before, during = self._slowest(0.0, changed), self._slowest(changed, mended)
        if LONG:
            self.assertLessEqual(during, 1.2 * before)

    async def _talk(self, bus: dict[str, NodeProcess], *, near: int, far: int) -> None:
        """
        Let messages pass within both regions, and from the good one to the far one.

        :param near: Thousands within the good region.
        :param far: Thousands within the far one.
        """
        for process in bus.values():
            process.forget()
        for _ in range(near):
            await bus["two"].says("received ")
        for _ in range(far):
            await bus["fifth"].says("received ")
        await bus["fourth"].says("received ")

    def _slowest(self, began: float, ended: float) -> float:
        """Find how long the slowest hundredth of the answers within the good region took."""
        took = [seconds for seconds, _ in self.questions(began, ended, "one", "two")]
        return percentile(took, 0.99)

    async def test_a_cut_link(self) -> None:
        """
        Each side misses the other, goes on by itself, and the far region is back afterwards.

        A link that is cut on one way is down for both sides; whoever asks is told.
        """
        bus = await self.bus(QUICK_BEATS)
        await self._talk(bus, near=6, far=3)
        began = machine_seconds()
        for ways in ((Way.TO_THERE,), tuple(Way), (Way.TO_HERE,)) * extent(1, 10):
            for process in bus.values():
                process.forget()
            self.link.cut(*ways)
            await bus["cross"].says("has lost 0x10200: ")
            await bus["far"].says("has lost 0x10000: ")
            await self.is_refused(bus["caller"])
            for name in ("two", "fourth"):
                await bus[name].says("received ")
                await bus[name].says("received ")
            self.link.mend()
            await self.is_answered(bus["caller"])
            await self._talk(bus, near=6, far=3)
        ended = machine_seconds()
        for name in TALKERS:
            # What is asked of one who stops meanwhile is refused.
            await self.is_settled(bus[name])
        await self.end(bus)
        self.check_undisturbed(began, ended, *TALKERS)
        self.check_questions("caller", at_least=1)
