"""Two hosts on one machine, and a network between them that is as bad as one likes."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from atbus.testing.namespace import Namespace, what_is_missing
from atbus.testing.tun_link import TunLink, Way
from atbus.testing.weather import Weather
from tests.chaos.case import need
from tests.documents import captioned_blocks

# Answers each of so many packets, and says before that it is there.
_ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5000))
s.settimeout(300)
print("bound", flush=True)
for _ in range(int(sys.argv[2])):
    packet, peer = s.recvfrom(2000)
    s.sendto(packet, peer)
"""

# Asks one after the other, and says what each answer took.
_ASK = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 5000))
s.settimeout(300)
for number in range(int(sys.argv[2])):
    began = time.monotonic()
    s.send(b"%d" % number)
    assert s.recv(2000) == b"%d" % number
    print(time.monotonic() - began)
"""

# Sends so many packets to whoever may listen.
_SHOUT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(int(sys.argv[2])):
    s.sendto(b"here", (sys.argv[1], 5000))
"""

_MAKE_ONE = """
from atbus.testing.namespace import Namespace
one = Namespace()
print(one.pid, flush=True)
input()
"""


class NamespaceCase(TestCase):
    """Tests that need root."""

    timeout = 900

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251  # it reads the devices

        need(what_is_missing() is None, f"{what_is_missing()}")
        self.reactor: Any = reactor
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def namespace(self, *folders: Path) -> Namespace:
        """Make one that is gone with the test."""
        made = Namespace([str(folder) for folder in folders])
        self.addCleanup(made.close)
        return made


class NamespaceTests(NamespaceCase):
    """A host of its own."""

    def test_a_network_of_its_own(self) -> None:
        """There is a loopback, and nothing else."""
        links = self.namespace().run("ip", "-oneline", "link").splitlines()
        names = [line.split(": ")[1].partition("@")[0] for line in links]
        self.assertIn("lo", names)
        self.assertFalse([name for name in names if name.startswith(("eth", "ens", "veth"))])

    def test_folders_of_its_own(self) -> None:
        """The same path is another file system in each namespace that asked for that."""
        one, two = self.namespace(self.folder), self.namespace(self.folder)
        file = self.folder / "file"
        one.run("touch", str(file))
        self.assertEqual(one.run("ls", str(self.folder)), "file\n")
        self.assertEqual(two.run("ls", str(self.folder)), "")
        self.assertFalse(file.exists())

    def test_where_a_program_starts(self) -> None:
        """A program starts in the folder that was said, as that namespace sees it."""
        one = self.namespace(self.folder)
        command = one.command("pwd", folder=str(self.folder))
        text = subprocess.check_output(command, text=True)
        self.assertEqual(text, f"{self.folder}\n")

    def test_what_a_failed_program_said(self) -> None:
        """The error has the command and its complaint."""
        error = self.assertRaises(OSError, self.namespace().run, "ls", "/nowhere at all")
        self.assertIn("ls /nowhere at all: ", str(error))
        self.assertIn("No such file", str(error))

    def test_it_ends_with_whoever_made_it(self) -> None:
        """The process that holds it does not outlive the one that wanted it."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        words = [sys.executable, "-c", _MAKE_ONE]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=environment) as maker:
            assert maker.stdout is not None
            holder = os.pidfd_open(int(maker.stdout.readline()))
            self.addCleanup(os.close, holder)
            maker.kill()
        ended = select.poll()
        ended.register(holder, select.POLLIN)
        self.assertTrue(ended.poll(60_000), "it is still there")


class LinkTests(NamespaceCase):
    """Packets that go from one namespace to another."""

    def setUp(self) -> None:
        super().setUp()
        self.here, self.there = self.namespace(), self.namespace()
        self.link = TunLink(self.reactor, self.here, self.there, seed=1)
        self.link.start()
        self.addCleanup(self.link.stop)

    def program(self, namespace: Namespace, text: str, *words: object) -> subprocess.Popen[str]:
        """Start a program in a namespace."""
        command = namespace.command(sys.executable, "-I", "-c", text, *map(str, words))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.__exit__, None, None, None)
        self.addCleanup(process.kill)
        return process

    async def round_trips(self, count: int) -> list[float]:
        """Ask across the link, and back; seconds that each answer took."""
        echo = self.program(self.there, _ECHO, self.link.there_address, count)
        assert echo.stdout is not None
        self.assertEqual(await deferToThread(echo.stdout.readline), "bound\n")
        ask = self.program(self.here, _ASK, self.link.there_address, count)
        text, _ = await deferToThread(ask.communicate)
        self.assertEqual(ask.returncode, 0)
        return [float(line) for line in text.split()]

    async def test_there_and_back(self) -> None:
        """Packets pass both ways, and take at least the delay of both."""
        await self.round_trips(20)
        self.link.weather(Weather(delay_seconds=0.02), Way.TO_THERE)
        self.link.weather(Weather(delay_seconds=0.03), Way.TO_HERE)
        late = await self.round_trips(20)
        self.assertGreaterEqual(min(late), 0.05)
        for path in self.link.paths.values():
            self.assertGreaterEqual(path.carried, 40)

    async def test_a_way_that_is_cut(self) -> None:
        """What sets out while a way is cut is lost; the other way stays, and mending undoes it."""
        bad = Weather(delay_seconds=0.001)
        self.link.weather(bad)
        self.link.cut(Way.TO_THERE)
        lost = self.link.paths[Way.TO_THERE].lost
        shout = self.program(self.here, _SHOUT, self.link.there_address, 10)
        await deferToThread(shout.communicate)
        while self.link.paths[Way.TO_THERE].lost < lost + 10:
            await deferLater(self.reactor, 0)
        self.assertEqual(self.link.paths[Way.TO_HERE].weather, bad)
        self.link.cut(Way.TO_THERE)
        self.link.mend()
        self.assertEqual(self.link.paths[Way.TO_THERE].weather, bad)
        self.assertEqual(len(await self.round_trips(5)), 5)

    def test_a_device_that_cannot_be_made(self) -> None:
        """A second link by the same name is refused, and the error says which."""
        second = TunLink(self.reactor, self.here, self.namespace())
        self.addCleanup(second.stop)
        error = self.assertRaises(OSError, second.start)
        self.assertIn("the device atbus0 cannot be made: ", str(error))

    async def test_links_of_one_host(self) -> None:
        """A namespace may have several links, on networks of their own."""
        third = self.namespace()
        second = TunLink(self.reactor, self.here, third, network="10.119.1")
        second.start()
        self.addCleanup(second.stop)
        addresses = self.here.run("ip", "-brief", "-4", "address")
        self.assertIn("10.119.0.1", addresses)
        self.assertIn("10.119.1.1", addresses)


class HowToTests(NamespaceCase):
    """The page for readers."""

    async def test_the_how_to(self) -> None:
        """What the how-to shows is a test that passes."""
        files = captioned_blocks("howto/test-on-a-bad-network.rst")
        for name in ("shop.py", "customer.py", "test_far_away.py"):
            (self.folder / name).write_text(files[name], encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        said, complaint, code = await getProcessOutputAndValue(
            sys.executable, ["-m", "twisted.trial", "test_far_away"], environment, str(self.folder)
        )
        self.assertEqual(code, 0, (said + complaint).decode())
        self.assertIn(b"successes=1", said)
