"""What stands behind ``twistd atbus``."""

from __future__ import annotations

import gc
import io
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.python import runtime
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from atbus.cli import early_signals, twistd
from atbus.cli.twistd import Options, use_monotonic_clock
from atbus.node.config import NodeConfig

LOOK_AROUND = """
import sys, twisted.plugins.atbus_plugin
print([name for name in sys.modules if name.partition(".")[0] == "atbus"])
"""

ENDING = """
import atexit
from importlib import import_module
from atbus.cli.exit_code import exit_with
atexit.register(print, "registered first")
atexit.register(print, "registered last")
exit_with(3)
print("still running")
"""


class OptionsTests(SynchronousTestCase):
    """The options, and what they make of a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def parse(self, *words: str) -> NodeConfig:
        """Read options that are good."""
        options = Options()
        options.parseOptions(list(words))  # type: ignore[no-untyped-call]  # untyped in Twisted
        assert options.node_config is not None
        return options.node_config

    def faults(self, *words: str) -> list[str]:
        """Read options that are not."""
        error = self.assertRaises(SystemExit, Options().parseOptions, list(words))
        self.assertIsInstance(error.code, str)
        return str(error.code).splitlines()

    def test_a_file(self) -> None:
        """A file makes a node; nothing else has to be given."""
        self.path.write_text('id = "0x10"\nlisten = ["unix:///x"]\n')
        config = self.parse("--config", str(self.path))
        self.assertEqual((config.id, str(config.listen[0])), (0x10, "unix:///x"))
        self.assertEqual(self.parse("-c", str(self.path)), config)

    def test_no_file(self) -> None:
        """A node can be told everything on the command line."""
        config = self.parse(
            *("--id", "1.2.3.4", "--listen", "unix:///x", "--listen", "unix:///y"),
            *("--upstream", "unix:///z", "--set", "limits.hops=4", "--set", 'name="proxy"'),
        )
        self.assertEqual(config.id, 0x01020304)
        self.assertEqual([str(address) for address in config.listen], ["unix:///x", "unix:///y"])
        self.assertEqual([str(address) for address in config.upstreams], ["unix:///z"])
        self.assertEqual((config.hops, config.name), (4, "proxy"))

    def test_the_first_node_gives_itself_an_id(self) -> None:
        """A gateway for clients of NATS needs only its address; an id is drawn, and kept."""
        options = Options()
        words = ["--id", "auto", "--set", "nats.listen=127.0.0.1:4222"]
        options.parseOptions(words)  # type: ignore[no-untyped-call]  # untyped in Twisted
        config = options.node_config
        assert config is not None
        self.assertTrue(config.id)
        self.assertEqual(config.nats["listen"], "127.0.0.1:4222")
        self.assertEqual(options.read(), config)
        self.assertEqual(len(self.faults("--id", "auto")), 1)

    def test_one_fault_one_line(self) -> None:
        """A node that would get an id but for another fault is told of that one only."""
        gateway = "--set=nats.listen=127.0.0.1:4222"
        for words, place in (
            (("--upstream", "here"), "upstream"),
            (("--set", "discovery.dns=5"), "discovery.dns"),
            ((gateway, "--set", "limits.hops=0"), "limits.hops"),
            (("--set", "nats.listen=5"), "nats.listen"),
        ):
            (fault,) = self.faults("--id", "auto", *words)
            self.assertTrue(fault.startswith(f"twistd atbus: {place}: "), fault)
        both = self.faults("--id", "auto", "--set", "limits.hops=0")
        self.assertEqual(len(both), 2, both)

    def test_overrides_are_stronger(self) -> None:
        """What is given beside the file takes the place of what stands in it."""
        self.path.write_text('id = 1\nlisten = ["unix:///x"]\nupstream = "unix:///z"\n')
        config = self.parse(
            *("--config", str(self.path), "--id", "2", "--listen", "unix:///y"),
            *("--upstream", "unix:///a", "--upstream", "unix:///b"),
        )
        self.assertEqual(config.id, 2)
        self.assertEqual([str(address) for address in config.listen], ["unix:///y"])
        self.assertEqual([str(a) for a in config.upstreams], ["unix:///a", "unix:///b"])

    def test_how_long_to_look(self) -> None:
        """How long a busy process looks before it sleeps is a number of microseconds."""
        for given, expected in ([], 100), (["--busy-poll", "0"], 0), (["--busy-poll=250"], 250):
            options = Options()
            options.parseOptions(["--id", "1", *given])  # type: ignore[no-untyped-call]
            self.assertEqual(options["busy-poll"], expected)
        for wrong in ("-1", "1001", "soon"):
            words = ["--id", "1", f"--busy-poll={wrong}"]
            error = self.assertRaises(UsageError, Options().parseOptions, words)
            self.assertEqual(
                str(error), f"--busy-poll: a whole number from 0 to 1000, not {wrong!r}"
            )

    def test_every_fault_has_its_line(self) -> None:
        """All faults of a file are told at once, each behind the file's path."""
        self.path.write_text('id = "x"\nlisten = ["here"]\ncolour = 1\n')
        faults = self.faults("--config", str(self.path), "--set", "oops")
        self.assertEqual(faults[0], "--set oops: expected key=value")
        places = sorted(fault.removeprefix(f"{self.path}: ").split(":")[0] for fault in faults[1:])
        self.assertEqual(places, ["colour", "id", "listen[0]"])

    def test_faults_without_a_file(self) -> None:
        """Where there is no file, the faults are those of the command."""
        self.assertEqual(
            self.faults("--id", "1", "--set", "limits.hops=0"),
            ["twistd atbus: limits.hops: must be at least 1, not 0"],
        )

    def test_a_file_that_is_not_there(self) -> None:
        """The path is told once."""
        fault = f"{self.path}: No such file or directory"
        self.assertEqual(self.faults("--config", str(self.path)), [fault])

    def test_a_file_that_is_not_toml(self) -> None:
        """The place in the file is told."""
        self.path.write_text("id = \n")
        self.assertEqual(
            self.faults("--config", str(self.path)),
            [f"{self.path}: Invalid value (at line 1, column 6)"],
        )

    def test_secrets_are_not_repeated(self) -> None:
        """A fault in a secret does not show it."""
        (fault,) = self.faults("--id", "1", "--set", "access_tokens=swordfish")
        self.assertNotIn("swordfish", fault)

    def test_applications_are_looked_for(self) -> None:
        """An application that is not there is a fault, before anything runs."""
        for name, why in (
            (
                "no.such.module:make",
                "cannot be imported: ModuleNotFoundError: No module named 'no'",
            ),
            ("atbus.limits:no_such", "has no no_such"),
            ("atbus.limits:HOPS", "is not callable"),
        ):
            (fault,) = self.faults("--id", "1", "--set", f'application.callable="{name}"')
            self.assertIn(why, fault)

    def test_unknown_options(self) -> None:
        """An option that does not exist is a mistake of the command, as always in Twisted."""
        self.assertRaises(UsageError, Options().parseOptions, ["--colour", "1"])

    def test_versions(self) -> None:
        """``--version`` tells the versions of everything that matters, and ends with 0."""
        with redirect_stdout(io.StringIO()) as printed:
            error = self.assertRaises(SystemExit, Options().parseOptions, ["--version"])
        self.assertEqual(error.code, 0)
        words = [line.split()[0] for line in printed.getvalue().splitlines()]
        self.assertEqual(words, ["atbus", "Twisted", "Python", "OpenSSL"])

    def test_help(self) -> None:
        """``--help`` names all options."""
        with redirect_stdout(io.StringIO()) as printed:
            self.assertRaises(SystemExit, Options().parseOptions, ["--help"])
        options = ["--config=", "--id=", "--listen=", "--upstream=", "--set=", "--busy-poll="]
        for option in (*options, "--version"):
            self.assertIn(option, printed.getvalue())


class PlugInTests(SynchronousTestCase):
    """How ``twistd`` finds it."""

    def test_the_interface(self) -> None:
        """The module has what `twisted.application.service.ServiceMaker` looks for."""
        # It sets aside what there is now, which is all of this process, and sets handlers.
        self.addCleanup(gc.unfreeze)
        for number in (signal.SIGINT, *early_signals.KEPT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        atbus_plugin = import_module("twisted.plugins.atbus_plugin")
        self.assertIs(atbus_plugin.atbus.options, Options)
        self.assertIs(atbus_plugin.atbus.makeService, twistd.makeService)

    def test_finding_it_costs_nothing(self) -> None:
        """Twisted looks at every plug-in whatever it is asked for: this one imports no bus."""
        found = subprocess.run(
            [
                sys.executable,
                "-c",
                LOOK_AROUND,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(found.stdout.strip(), "[]")


class ClockTests(SynchronousTestCase):
    """The clock of a process that is there for one node."""

    def reactor(self) -> Any:
        clock: Any = Clock()
        clock.seconds = runtime.seconds
        return clock

    def test_the_wall_clock_is_not_followed(self) -> None:
        """The reactor's timers run on a clock that nobody sets."""
        reactor = self.reactor()
        use_monotonic_clock(reactor)
        self.assertIs(reactor.seconds, time.monotonic)  # noqa: TID251  # what it is about

    def test_not_under_a_timer(self) -> None:
        """A reactor that has timers, or a clock of its own, keeps its clock."""
        reactor = self.reactor()
        reactor.callLater(1, int)
        use_monotonic_clock(reactor)
        self.assertIs(reactor.seconds, runtime.seconds)
        virtual: Any = Clock()
        use_monotonic_clock(virtual)
        self.assertEqual(virtual.seconds(), 0)


class ExitCodeTests(SynchronousTestCase):
    """Ending with a code, although nobody asks for one."""

    def test_everybody_else_has_their_turn(self) -> None:
        """The process does all that it would do at its end, and writes it out; then the code."""
        run = subprocess.run(
            [sys.executable, "-c", ENDING], capture_output=True, text=True, check=False
        )
        self.assertEqual((run.returncode, run.stderr), (3, ""))
        lines = ["still running", "registered last", "registered first"]
        self.assertEqual(run.stdout.splitlines(), lines)
