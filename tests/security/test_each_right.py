"""Somebody does what he has no right to, of every kind, and speaks for others in every way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.wire.messages import CommandRequest, Publish
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests

OTHER = SOUTH + 1


class KindTests(MailTests):
    """A rule that denies one thing."""

    def deny(self, node: Node, **what: Any) -> None:
        """Have a node deny something to its child, and nothing else."""
        rules = [{"action": "deny", "ids": ["0x10001"], **what}]
        reconfigure(node, node.config.replace(rights=rules))

    def test_security_right_to_register(self) -> None:
        """Who may not register is not registered, and one that is registered is cut off."""
        root, child = self.pair()
        self.deny(root, register=["downstream"])
        self.network.settle(60)
        self.assertEqual(self.ids(root), [])
        reconfigure(root, root.config.replace(rights=[]))
        self.network.settle(60)
        self.assertEqual(self.ids(root), [child.bus_id])

    def test_security_right_to_publish(self) -> None:
        """What somebody may not publish reaches nobody, and is counted."""
        root, child = self.pair()
        got: list[bytes] = []
        root.subscribe("a.>", lambda publication: got.append(publication.payload))
        self.network.settle(1)
        child.publish("a.b", b"1")
        self.network.settle(1)
        self.deny(root, publish=["a.*"])
        child.publish("a.b", b"2")
        child.publish("a.b.c", b"3")
        self.network.settle(1)
        self.assertEqual(got, [b"1", b"3"])
        self.assertEqual(root.statistics.publications_dropped[Status.NO_RIGHT], 1)

    def test_security_right_to_subscribe(self) -> None:
        """What somebody may not subscribe to does not reach him."""
        root, child = self.pair()
        got: list[bytes] = []
        child.subscribe("a.>", lambda publication: got.append(publication.payload))
        self.network.settle(1)
        root.publish("a.b", b"1")
        self.network.settle(1)
        self.deny(root, subscribe=["a.*"])
        root.publish("a.b", b"2")
        root.publish("a.b.c", b"3")
        self.network.settle(1)
        self.assertEqual(got, [b"1", b"3"])

    def test_security_right_to_run_commands(self) -> None:
        """A command that somebody may not run is not run, and he is told the rule."""
        root, child = self.pair()
        run: list[bytes] = []

        def execute(_source: int, words: tuple[bytes, ...]) -> list[bytes]:
            run.append(words[0])
            return [b"done"]

        root.on_command(execute)
        self.deny(root, commands=["stop*"])
        asking = [child.command(ROOT, name) for name in (b"stop now", b"status")]
        self.network.settle(1)
        refused = self.failureResultOf(asking[0], Undeliverable).value
        self.assertEqual((refused.status, run), (Status.NO_RIGHT, [b"status"]))
        self.assertIn("denies commands to 0x10001", refused.detail)
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)

    def test_security_file_of_denied_ids(self) -> None:
        """Who is written into the file is cut off within five seconds, though nobody says so."""
        path = Path(self.mktemp())
        path.write_text("# nobody\n")
        root, _ = self.pair(denied_file=str(path))
        self.network.settle(10)
        self.assertNotEqual(self.ids(root), [])
        path.write_text("0x10001\n")
        self.network.settle(5)
        self.assertEqual(self.ids(root), [])


class SpeakingForOthersTests(MailTests):
    """A neighbor says that a command or a publication is somebody else's."""

    def test_security_spoofed_command(self) -> None:
        """It is not run, and refused; one in its own name is run."""
        root, north, _ = self.proxies()
        run: list[int] = []

        def execute(source: int, _words: tuple[bytes, ...]) -> list[bytes]:
            run.append(source)
            return []

        root.on_command(execute)
        for number, source in enumerate((SOUTH, OTHER, ROOT, 0x777777, NORTH)):
            forged = CommandRequest(
                source=source, destination=ROOT, sequence=100 + number, arguments=(b"x",)
            )
            self.say(north, root, forged, data=False)
        self.network.settle(1)
        self.assertEqual(run, [NORTH])

    def test_security_spoofed_publication(self) -> None:
        """It reaches nobody; one in its own name does."""
        root, north, south = self.proxies()
        got: list[tuple[int, bytes]] = []
        for node in (root, south):
            node.subscribe("a", lambda each: got.append((each.source, each.payload)))
        self.network.settle(1)
        for source in (SOUTH, OTHER, ROOT, 0x777777, NORTH):
            forged = Publish(source=source, sequence=1, subject="a", messages=((0, b"x"),))
            self.say(north, root, forged)
        self.network.settle(1)
        self.assertEqual(got, [(NORTH, b"x")] * 2)
