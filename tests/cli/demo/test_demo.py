"""The demo itself, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from atbus.cli.outcome import ExitCode
from tests.extent import LONG
from tests.interop.etcd_server import require_etcd
from tests.interop.zookeeper_server import require_zookeeper

ROOT = Path(__file__).parents[3]
NOTICED = "refused though nobody had been killed yet: "


class Demo(ProcessProtocol):
    """
    One ``atbus demo``.

    :param look: Called with everything that it has told people so far, and the process's transport.
    """

    transport: Any

    def __init__(self, look: Callable[[str, Any], None]) -> None:
        self.out = self.err = ""
        self.ended: Deferred[int | None] = Deferred()
        self._look = look

    def outReceived(self, data: bytes) -> None:
        self.out += data.decode()

    def errReceived(self, data: bytes) -> None:
        self.err += data.decode()
        self._look(self.err, self.transport)

    def processEnded(self, reason: Failure) -> None:
        error: Any = reason.value
        self.ended.callback(error.exitCode)


class DemoTests(TestCase):
    """Nine nodes, a killing, and a verdict."""

    timeout = 900

    def setUp(self) -> None:
        # Short, because of the paths of sockets, and ours, to see what is left in it.
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(self._remove)

    def _remove(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.folder.rmdir()

    def start(
        self,
        *words: str,
        look: Callable[[str, Any], None] = lambda _e, _t: None,
        path: str | None = None,
    ) -> Demo:
        """Start it, with people's text on stderr, and with other folders of programs if wanted."""
        from twisted.internet import reactor  # noqa: TID251  # for real processes

        demo = Demo(look)
        spawn: Any = reactor
        spawn.spawnProcess(
            demo,
            sys.executable,
            [sys.executable, "-m", "atbus", "demo", "-o", "json", *words],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(self.folder),
                "PATH": os.environ["PATH"] if path is None else path,
            },
            path=str(ROOT),
        )
        return demo

    def processes(self) -> list[str]:
        """List the processes of this test's demo that are still there."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if os.fsencode(self.folder) in line:
                found.append(line.replace(b"\0", b" ").decode())
        return found

    async def good_end_of(self, demo: Demo) -> dict[str, Any]:
        """
        Wait for a demo that ends well, and give what it says to programs.

        A machine that holds up a single process for most of a second, while others go on, may let
        a move be noticed. Where there is time this is no excuse.
        """
        code = await demo.ended
        result: dict[str, Any] = json.loads(demo.out.splitlines()[-1])
        noticed = [each for each in result["troubles"] if each.startswith(NOTICED)]
        if noticed and noticed == result["troubles"] and not LONG:
            for kept in self.folder.iterdir():
                shutil.rmtree(kept)
            return result
        self.assertEqual((code, result["ok"], result["troubles"]), (ExitCode.DONE, True, []))
        self.assertIn("one proxy more, one less, and nothing was refused", demo.err)
        self.assertIn("Verdict: good", demo.err)
        return result

    async def test_it_ends_well(self) -> None:
        """
        The bus loses nothing although proxies come, leave and die; nothing is left of it.

        Nobody notices the first and the second: not one message is refused.

        Scenario: AA6
        """
        demo = self.start("--seconds", "6", "--rate", "100")
        result = await self.good_end_of(demo)
        self.assertEqual((result["lost"], result["duplicated"], result["reordered"]), (0, 0, 0))
        self.assertEqual(result["killed"], ["0x21"])
        self.assertGreater(result["delivered"], 0)
        for text in (
            "cross 0x1",
            "through cross: 0x21: policy[1] (abroad) denies it",
            "eu-chat is below eu-proxy-3 now",
            "eu-login is below eu-proxy-3 now",
            "eu-proxy-1 has left",
            "us-proxy-1 is killed",
            "us-proxy-1 is there",
        ):
            self.assertIn(text, demo.err)
        self.assertEqual((self.processes(), list(self.folder.iterdir())), ([], []))

    async def found_through(self, kind: str, title: str) -> None:
        """Run a demo whose nodes find each other through a server."""
        demo = self.start("--seconds", "3", "--rate", "20", "--discovery", kind)
        result = await self.good_end_of(demo)
        self.assertEqual(result["lost"], 0)
        self.assertIn(f"Nodes find each other through {title} on 127.0.0.1:", demo.err)
        self.assertEqual((self.processes(), list(self.folder.iterdir())), ([], []))

    async def test_with_etcd(self) -> None:
        """Nodes that are told where etcd is find their upstreams; nothing of it is left either."""
        require_etcd()
        await self.found_through("etcd", "etcd")

    async def test_with_zookeeper(self) -> None:
        """So do those that are told where ZooKeeper is."""
        require_zookeeper()
        await self.found_through("zookeeper", "ZooKeeper")

    async def test_a_registry_that_is_not_installed(self) -> None:
        """Where the server is missing the demo says what to install, and leaves nothing behind."""
        for kind, package in (("etcd", "etcd-server"), ("zookeeper", "zookeeper")):
            demo = self.start("--discovery", kind, path="/nowhere")
            code = await demo.ended
            self.assertEqual(code, ExitCode.USAGE, demo.err)
            error = json.loads(demo.out)["error"]
            self.assertEqual(error["error"], "NO_SERVER")
            self.assertIn(f"apt-get install {package}", error["message"])
        self.assertEqual((self.processes(), list(self.folder.iterdir())), ([], []))

    async def test_a_swallowed_message_is_found(self) -> None:
        """A proxy that swallows one message turns the verdict red, and the evidence is kept."""
        relay = "tests.cli.demo.swallowing:make"
        demo = self.start("--seconds", "6", "--rate", "100", "--relay", relay)
        code = await demo.ended
        self.assertEqual(code, ExitCode.FAILED, demo.err)
        result = json.loads(demo.out.splitlines()[-1])
        self.assertEqual(result["ok"], False)
        self.assertGreater(result["lost"], 0)
        self.assertEqual(result["troubles"], [])
        self.assertIn("Verdict: NOT good", demo.err)
        self.assertEqual(self.processes(), [])
        (kept,) = self.folder.iterdir()
        self.assertIn(str(kept), demo.err)
        self.assertTrue((kept / "us-proxy-2.events").exists())

    async def test_a_broken_application_is_told(self) -> None:
        """Processes that cannot start end the demo at once, with the reason."""
        demo = self.start("--seconds", "6", "--relay", "no.such:thing")
        code = await demo.ended
        self.assertEqual(code, ExitCode.FAILED)
        error = json.loads(demo.out)["error"]
        self.assertEqual(error["error"], "NOT_STARTED")
        self.assertIn("no.such", "".join(error["faults"]))
        self.assertEqual(self.processes(), [])

    async def test_interrupted(self) -> None:
        """Ctrl-C in the middle leaves no process and no file."""
        interrupted: list[str] = []

        def look(told: str, transport: Any) -> None:
            if "msg/s" in told and not interrupted:
                interrupted.append(told)
                transport.signalProcess(signal.SIGINT)

        demo = self.start("--seconds", "60", look=look)
        code = await demo.ended
        self.assertEqual(code, ExitCode.INTERRUPTED, demo.err)
        self.assertEqual(json.loads(demo.out)["error"]["error"], "INTERRUPTED")
        self.assertEqual((self.processes(), list(self.folder.iterdir())), ([], []))
