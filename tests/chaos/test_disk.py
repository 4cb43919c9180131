"""A disk that is full."""

from __future__ import annotations

import signal

from atbus.testing.small_disk import SmallDisk, what_is_missing
from tests.chaos.case import ChaosCase, need, node_file, speech

RELAY, ONE, TWO, LATE = 0x20100, 0x20101, 0x20102, 0x20103
DISK_BYTES = 64 * 1024



class FullDiskTests(ChaosCase):
    """A relay whose log, pid file and record are on a small disk."""

    def setUp(self) -> None:
        super().setUp()
        missing = what_is_missing()
        need(missing is None, f"{missing}, for a small disk")
        self.disk = SmallDisk(self.folder / "disk", DISK_BYTES)
        self.addCleanup(self.disk.close)

    async def test_the_disk_is_full(self) -> None:
        """Messages pass as before, lines that are lost are counted, and the exit code is right."""
        relay_file = node_file("relay", RELAY, listens=True)
        self.write("relay.toml", relay_file.replace("relay.events", "disk/relay.events"))
        places = ("--pidfile=disk/relay.pid", "--logfile=disk/relay.log")
        relay = self.run_twistd("relay", "-n", *places, "atbus", "--config", "relay.toml")
        one, two = await self.bring_up(
            ("one", node_file("one", ONE, ["relay"], settings=speech(TWO))),
            ("two", node_file("two", TWO, ["relay"], settings=speech(ONE))),
        )
        await one.says("received ")
        self.disk.fill()
        # A line that is longer than what is left of the log's last page.
        self.write("relay.toml", "\n".join(f"unknown_{number} = 1" for number in range(500)))
        for process in (one, two):
            relay.kill(signal.SIGHUP)
            await process.says("received ")
            await process.says("received ")
        await self.start_on_the_full_disk()
        await self.stop_all(one, two, relay)
        self.assertFalse((self.disk.folder / "relay.pid").exists())
        self.check(RELAY)
        self.check_questions("one", "two", at_least=1)
        (statistics,) = self.notes("relay", "statistics")
        self.assertGreater(statistics["log_lines_lost"], 0)

    async def start_on_the_full_disk(self) -> None:
        """Start what cannot write its record, and what cannot write its pid."""
        text = node_file("recorder", LATE, ["relay"])
        recorder = self.start("recorder", text.replace("recorder.events", "disk/recorder.events"))
        self.assertEqual(await recorder.ends(), 1)
        await recorder.says("record_events: .* No space left on device")
        self.write("writer.toml", node_file("writer", LATE, ["relay"]))
        words = ("-n", "--pidfile=disk/writer.pid", "atbus", "--config", "writer.toml")
        writer = self.run_twistd("writer", *words)
        self.assertEqual(await writer.ends(), 1)
        await writer.says("No space left on device")
        # That is twistd's own end, and it tells where it was.
        self.processes.remove(writer)
