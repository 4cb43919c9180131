"""Processes that are not wanted any more, and how soon they are cut off."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from atbus.busid import Subnet
from atbus.channels.tls_files import TlsOptions
from atbus.handshake.certificate import CertificateIdentity
from tests.channels.certificates import DAY, Files, tls_table
from tests.chaos.case import ChaosCase
from tests.extent import extent, is_soon
from tests.processes.harness import UP, NodeProcess

ROOT, FIRST = 0x12340000, 0x12340101

CUT_SECONDS = 5.0
"""From the moment when a file says it, or a certificate ends, to the end of the link."""

LIVES_SECONDS = (4, 16, 64, 256)
"""How long the certificate is good that is to end: a busy machine needs time to come in with it."""


class CutTests(ChaosCase):
    """A node that listens with TLS, and those below it; no process is told anything."""

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(self.folder)
        self.ids = itertools.count(FIRST)
        self.revoked: list[bytes] = []
        self.denied: list[int] = []
        self.publish()

    def publish(self) -> None:
        """Write who is not wanted, as those do who look after a bus: new files for the old ones."""
        lists = self.files.authority.revoke(self.revoked, DAY)
        denied = "".join(f"{bus_id:#x}\n" for bus_id in self.denied)
        for name, content in (("revoked.pem", lists), ("denied", denied.encode())):
            new = self.folder / f"{name}.new"
            new.write_bytes(content)
            new.replace(self.folder / name)

    def run_node(self, bus_id: int, options: TlsOptions, more: str) -> NodeProcess:
        """Start a node with some more lines."""
        text = f'id = "{bus_id:#x}"\n{more}\n{tls_table(options)}'
        return self.start(f"node-{bus_id:x}", text)

    def files_of(self, bus_id: int, bits: int = 0, life: timedelta = DAY) -> TlsOptions:
        """Make the files of a node."""
        identity = CertificateIdentity("test", Subnet(bus_id, bits))
        issued = self.files.issue(identity, lifetime=life)
        return self.files.options(issued, revoked=f"{self.folder}/revoked.pem")

    async def run_root(self) -> None:
        """Start the node that listens."""
        more = 'subnets = ["0/16"]\nlisten = ["tls+ipv4://127.0.0.1:0"]\ndenied_file = "denied"'
        self.root = self.run_node(ROOT, self.files_of(ROOT, 16), more)
        await self.root.says(UP)
        port = (await self.root.says(r"tls\+ipv4://127\.0\.0\.1:(\d+)"))[1]
        self.upstream = f'upstream = "tls+ipv4://127.0.0.1:{port}"'

    async def member(self, life: timedelta = DAY) -> tuple[int, NodeProcess, TlsOptions] | None:
        """
        Start a node below the root.

        :param life: How long its certificate is good.
        :returns: Its id, itself and its files; None when its certificate had ended before it was
            there.
        """
        bus_id = next(self.ids)
        options = self.files_of(bus_id, life=life)
        process = self.run_node(bus_id, options, self.upstream)
        self.root.forget()
        too_late = "" if life is DAY else r"|has expired \(EXPIRED\)"
        came = await self.root.says(rf"knows {bus_id:#x} as downstream{too_late}")
        if "knows" in came[0]:
            return bus_id, process, options
        await process.stops()
        return None

    async def good_member(self) -> tuple[int, NodeProcess, TlsOptions]:
        """Start a node that is good until something is written."""
        member = await self.member()
        assert member is not None
        return member

    async def short_lived_member(self) -> tuple[int, NodeProcess, datetime]:
        """Start a node whose certificate ends soon; gives when that is."""
        for seconds in LIVES_SECONDS:
            # Certificates know whole seconds.
            ends = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(seconds=seconds)
            member = await self.member(timedelta(seconds=seconds))
            if member is not None:
                return member[0], member[1], ends
        raise AssertionError("no certificate was good for long enough")

    def lost(self, bus_id: int) -> Deferred[datetime]:
        """Wait until the root has cut a node off; gives when it said so."""
        said = self.root_says(f"has lost {bus_id:#x}: ACCESS_DENIED")
        return said.addCallback(lambda _: datetime.now(tz=UTC))

    def root_says(self, pattern: str) -> Deferred[Any]:
        """Wait for a line of the root's, and for others meanwhile."""
        return Deferred.fromCoroutine(self.root.says(pattern))

    async def test_cut(self) -> None:
        """
        A node is cut off within five seconds when a revocation list or the file of denied ids names
        it, and when its certificate ends; it comes again and is refused, and one that is good
        notices nothing.
        """
        await self.run_root()
        kept, _, _ = await self.good_member()
        slowest = dict.fromkeys(("revoked", "denied", "expired"), 0.0)
        for _ in range(extent(1, 20)):
            for why, seconds in (await self.cut_three()).items():
                slowest[why] = max(slowest[why], seconds)
        self.assertTrue(is_soon(max(slowest.values()), CUT_SECONDS), slowest)
        self.assertNotIn(f"has lost {kept:#x}", self.root.output)
        for process in self.processes:
            self.assertNotIn("Traceback", process.output)

    async def cut_three(self) -> dict[str, float]:
        """Cut three nodes off, each for another reason; gives the seconds that it took."""
        one, revoked, options = await self.good_member()
        two, denied, _ = await self.good_member()
        three, expired, ends = await self.short_lived_member()
        self.revoked.append(read(options.certificate))
        self.denied.append(two)
        told = datetime.now(tz=UTC)
        self.publish()
        lost = [self.lost(bus_id) for bus_id in (one, two, three)]
        faults = ("REVOKED", "EXPIRED")
        refused = [self.root_says(rf"does not use .* \({fault}\)") for fault in faults]
        times = await gatherResults(lost)
        await gatherResults(refused)
        for process in (revoked, denied, expired):
            await process.says(f"has lost {ROOT:#x}")
            await process.stops()
        return {
            "revoked": (times[0] - told).total_seconds(),
            "denied": (times[1] - told).total_seconds(),
            "expired": (times[2] - ends).total_seconds(),
        }


def read(path: str) -> bytes:
    """Read a file."""
    return Path(path).read_bytes()
