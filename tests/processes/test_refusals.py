"""Processes that cannot do what they were told, and say why."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory

from tests.processes.harness import UP, NodeProcess, ProcessCase

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/root.sock"]
access_tokens = ["secret of all"]
"""

CHILD = """
id = "0x10001"
upstream = "unix://{folder}/root.sock"
access_tokens = ["secret of all"]
[application]
callable = "tests.processes.witness:count"
"""

TELLER = """
id = "0x10002"
upstream = "unix://{folder}/root.sock"
access_tokens = ["secret of all"]
[application]
callable = "tests.processes.witness:tell"
settings = { target = 0x10001 }
"""


class RefusedTests(ProcessCase):
    """What an upstream refuses by name before the node was ever up ends the process."""

    async def test_a_wrong_token(self) -> None:
        """
        A node with the wrong token ends with code 1 and says so; nobody says what the tokens are.

        It never was up, so it does not go down.

        Scenario: I4, H5
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        child = self.start("child", CHILD.replace("of all", "of mine"))
        self.assertEqual(await child.ends(), 1)
        await child.says("ACCESS_DENIED: registration refused by the other side")
        self.assertNotIn("went down", child.output)
        await root.says("ACCESS_DENIED")
        for output in (child.output, root.output):
            self.assertNotIn("secret", output)
            self.assertNotIn("Traceback", output)
        self.assertTrue(root.running)

    async def test_an_id_that_is_taken(self) -> None:
        """
        The second process with an id is refused and ends; the first keeps it and is reached.

        Scenario: H16
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        first = self.start("first", CHILD)
        await first.says(UP)
        second = self.start("second", CHILD)
        self.assertEqual(await second.ends(), 1)
        await second.says("ID_CONFLICT: registration refused by the other side")
        teller = self.start("teller", TELLER)
        await first.says("got hello")
        await teller.says("delivered: Fate")


class CannotListenTests(ProcessCase):
    """A node that cannot listen where it is told to ends at once, with code 1 and one line."""

    def check(self, process: NodeProcess, line: str) -> None:
        """Look at what a process wrote: one error, and nothing that it tried in spite of it."""
        errors = [text for text in process.output.splitlines() if "#error" in text]
        self.assertEqual(len(errors), 1, process.output)
        self.assertIn(line, errors[0])
        self.assertNotIn("Traceback", process.output)
        self.assertNotIn("is running", process.output)

    async def test_a_port_that_is_taken(self) -> None:
        """Another program has the port."""
        port: Any = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = f"ipv4://127.0.0.1:{port.getHost().port}"
        process = self.run_atbus("root", "--id", "1", "--listen", address)
        self.assertEqual(await process.ends(), 1)
        self.check(process, f"0x1 cannot listen on {address}: ")

    async def test_a_path_that_is_taken(self) -> None:
        """Another node has the path, and keeps it."""
        root = self.start("root", ROOT)
        await root.says(UP)
        second = self.start("second", ROOT)
        self.assertEqual(await second.ends(), 1)
        self.check(second, f"0x10000 cannot listen on unix://{self.folder}/root.sock: ")
        child = self.start("child", CHILD)
        await child.says(UP)
        await root.says("knows 0x10001 as downstream")

    async def test_one_of_two_addresses(self) -> None:
        """A node that can listen on one address only does not run half; the path is free again."""
        root = self.start("root", ROOT)
        await root.says(UP)
        paths = [f"unix://{self.folder}/{name}.sock" for name in ("free", "root")]
        process = self.run_atbus("two", "--id", "1", "--listen", paths[0], "--listen", paths[1])
        self.assertEqual(await process.ends(), 1)
        self.check(process, f"0x1 cannot listen on {paths[1]}: ")
        self.assertFalse((self.folder / "free.sock").exists())


class FaultTests(ProcessCase):
    """Configurations that cannot be used."""

    async def test_all_faults_are_told(self) -> None:
        """Every fault of a file stands on a line with its path; the process ends with code 1."""
        path = self.write(
            "bad.toml", 'id = "0x1"\nlisten = ["here"]\nhops = 0\n[limits]\nhops = 0\ncolour = 1\n'
        )
        process = self.run_atbus("bad", "--config", "bad.toml", "--set", "limits.pending=1")
        self.assertEqual(await process.ends(), 1)
        lines = process.output.splitlines()
        self.assertEqual([line for line in lines if not line.startswith(f"{path}: ")], [])
        faults = [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines]
        wanted = ["hops", "limits.colour", "limits.hops", "limits.pending", "listen[0]"]
        self.assertEqual(sorted(faults), wanted)

    async def test_an_application_that_is_not_there(self) -> None:
        """An application that cannot be imported is a fault of the file."""
        process = self.start("no", 'id = 1\n[application]\ncallable = "no.such.module:make"\n')
        self.assertEqual(await process.ends(), 1)
        line = "application: no.such.module cannot be imported: ModuleNotFoundError"
        self.assertIn(line, process.output)
        self.assertNotIn("Traceback", process.output)

    async def test_a_record_that_cannot_be_written(self) -> None:
        """Who is to write down everything, and cannot, does not run."""
        process = self.start("no", 'id = 1\nrecord_events = "no/such/folder/x.events"\n')
        self.assertEqual(await process.ends(), 1)
        self.assertIn("record_events: [Errno 2] No such file", process.output)

    async def test_files_that_are_not_there(self) -> None:
        """What the configuration names and nobody can read is told in a line, with its place."""
        for name, text, fault in (
            ("ids", 'denied_file = "/no/ids"', "denied_file: /no/ids: No such file or directory"),
            (
                "gateway",
                '[nats]\nlisten = "127.0.0.1:0"\ncertificate_file = "/no/a"\nkey_file = "/no/b"',
                "nats: /no/a: No such file or directory",
            ),
        ):
            process = self.start(name, f"id = 1\n{text}\n")
            self.assertEqual(await process.ends(), 1)
            self.assertIn(f"{name}.toml: {fault}\n", process.output)
            self.assertNotIn("Traceback", process.output)
        self.assertNotIn("Traceback", process.output)
