"""What a process loads when it starts: what it has use for, whatever else there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.bus_case import ROOT

#: What is for some nodes and commands only, each with all that is below it.
OPTIONAL = (
    # other frameworks
    *("twisted.web", "twisted.conch", "twisted.mail", "twisted.names", "twisted.spread", "numpy"),
    # for registries
    *("kazoo", "atbus.discovery.etcd", "atbus.discovery.zookeeper", "atbus.discovery.names"),
    *("atbus.node.reading_etcd", "atbus.node.reading_zookeeper"),
    # for clients and servers of NATS
    *("h11", "wsproto", "atbus.nats"),
    # for TLS; Twisted's reactor loads OpenSSL itself
    *("atbus.channels.tls", "atbus.channels.tls_layer", "atbus.channels.credentials"),
    # for what is asked, compressed, streamed and tested
    *("cattrs", "zstandard", "atbus.stream", "atbus.testing", "hypothesis"),
)

#: What a process without a terminal has no use for either.
FOR_PEOPLE = ("click", "rich")

#: What a command that asks nobody has no use for either.
FOR_A_BUS = (
    *("rich", "twisted", "zope", "asyncio", "ssl", "OpenSSL", "cryptography", "construct"),
    *("automat", "atbus.node", "atbus.channels", "atbus.routing", "atbus.wire", "atbus.discovery"),
)

PATIENCE_SECONDS = 300

TELL = """
import json, sys
def tell():
    print("loaded:", json.dumps(sorted(sys.modules)), file=sys.__stdout__, flush=True)
"""

A_NODE = (
    TELL
    + """
from twisted.internet import reactor
from atbus.node.config import NodeConfig
from atbus.node.node import Node
node = Node(NodeConfig(id=1, listen=["mem://a"], labels={"zone": "a"}), reactor)
reactor.callWhenRunning(lambda: node.start().addCallback(started))
def started(_):
    tell()
    node.stop().addCallback(lambda _: reactor.stop())
reactor.run()
"""
)

AN_APPLICATION = (
    TELL
    + """
def run(node, settings):
    from twisted.internet import reactor
    def look():
        if node.addresses:
            tell()
            reactor.stop()
        else:
            reactor.callLater(0.01, look)
    reactor.callWhenRunning(look)
"""
)

A_COMMAND = (
    TELL
    + """
import atexit
atexit.register(tell)
from atbus.cli.main import main
main(sys.argv[1:])
"""
)

# Both files are imported first, as Twisted does where it cannot keep what it has found in them.
TWISTD = (
    TELL
    + """
import atexit
atexit.register(tell)
import twisted.plugins.atbus_plugin, twisted.plugins.atbus_endpoints
from twisted.scripts.twistd import run
sys.argv[0] = "twistd"
run()
"""
)

COLLECTIONS = """
import gc, json, sys
looks = []
def look(phase, info):
    if "atbus.cli.twistd" in sys.modules and not gc.get_freeze_count():
        looks.append(phase)
gc.callbacks.append(look)
import atbus.cli.plugin
print("loaded:", json.dumps([str(len(looks)), str(gc.isenabled()), str(gc.get_freeze_count() > 0)]))
"""

RUNNING = """
import gc, json
from twisted.internet.defer import execute
from atbus.cli.main import main
from atbus.cli import session
try:
    main(["--version"])
except SystemExit:
    before = gc.isenabled()
after = session.run(lambda reactor: execute(gc.isenabled))
print("loaded:", json.dumps([str(before), str(after), str(gc.get_freeze_count() > 0)]))
"""


def loaded(program: str, *words: str) -> list[str]:
    """Run a program in a process of its own; gives what it says behind ``loaded:``."""
    run = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    # A log may be around it.
    (told,) = (line for line in run.stdout.splitlines() if line.startswith("loaded:"))
    names: list[str] = json.loads(told.partition(":")[2])
    return names


class LoadingTests(SynchronousTestCase):
    """What there is in processes that have been started."""

    def assert_none_of(self, kept_out: tuple[str, ...], names: list[str]) -> None:
        """What is kept out is not there, nor anything below it."""
        beginnings = tuple(f"{each}." for each in kept_out)
        there = [name for name in names if f"{name}.".startswith(beginnings)]
        self.assertEqual(there, [])

    def test_a_node(self) -> None:
        """A node of which nothing special is wanted loads nothing for what is special."""
        names = loaded(A_NODE)
        self.assertIn("atbus.routing.table", names)
        self.assert_none_of((*OPTIONAL, *FOR_PEOPLE), names)

    def test_a_process_for_a_node(self) -> None:
        """Nor does ``twistd atbus``, from its options to the moment in which the node is there."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "telling.py").write_text(AN_APPLICATION)
        program = f"import sys\nsys.path.insert(0, {str(folder)!r})\n" + TWISTD.replace(
            "atexit.register(tell)\n", ""
        )
        application = ("--set", "application.callable='telling:run'")
        words = ("-n", "--pidfile=", "atbus", "--id=1", "--listen=mem://a", *application)
        names = loaded(program, *words)
        self.assertIn("atbus.node.node", names)
        self.assert_none_of((*OPTIONAL, *FOR_PEOPLE), names)

    def test_the_help_of_twistd(self) -> None:
        """``twistd --help`` names the plug-in and imports nothing of it, but for its names."""
        names = loaded(TWISTD, "--help")
        self.assertIn("twisted.plugins.atbus_endpoints", names)
        self.assertEqual([name for name in names if name.partition(".")[0] == "atbus"], [])

    def test_a_command_that_asks_nobody(self) -> None:
        """``atbus --version`` loads no bus, no Twisted and no asyncio."""
        for words in (["--version"], ["--help"], ["etcd", "lease", "--help"]):
            names = loaded(A_COMMAND, *words)
            self.assertIn("atbus.cli.registry", names)
            self.assert_none_of((*OPTIONAL, *FOR_A_BUS), names)


class CollectorTests(SynchronousTestCase):
    """When the collector of garbage looks at what is loaded."""

    def test_a_node_is_loaded_without_it(self) -> None:
        """``twistd atbus`` loads a node without one look, sets it aside, and collects from then."""
        self.assertEqual(loaded(COLLECTIONS), ["0", "True", "True"])

    def test_a_command(self) -> None:
        """A command collects nothing until it runs a reactor, and then not what was there."""
        self.assertEqual(loaded(RUNNING), ["False", "True", "True"])
