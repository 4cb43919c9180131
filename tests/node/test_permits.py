"""What nodes may do at other nodes, and what becomes of those who may do nothing any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from atbus.channels.credentials import read_certificate
from atbus.errors import ConfigurationError, Status, Undeliverable
from atbus.handshake.certificate import parse_identity
from atbus.node import bounds
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.node.permits import read_denied
from atbus.node.reload import reconfigure
from atbus.wire.messages import StreamOpen
from tests.channels.certificates import DAY, Files
from tests.node.bus import CHILD, ROOT_ADDRESS, SIBLING
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests

ONE, OTHER = 0x10101, 0x10201


def change(node: Node, **options: Any) -> None:
    """Change the configuration of a node that runs."""
    reconfigure(node, node.config.replace(**options))


class RightsTests(MailTests):
    """Rules of a relay, of a destination, and of oneself."""

    def two_leaves(self, **of_root: Any) -> tuple[Node, Node, Node]:
        """Start a root, two proxies and a leaf below each."""
        root, _, _ = self.proxies()
        change(root, **of_root)
        return root, self.leaf(ONE), self.leaf(OTHER)

    def test_a_relay_refuses(self) -> None:
        """A message that may not pass is answered by the relay by name, and counted."""
        root, one, other = self.two_leaves(
            rights=[{"action": "deny", "ids": ["0x10100/8"], "send": ["0x10200/8"]}]
        )
        one.send(OTHER, b"x")
        other.send(ONE, b"y")
        self.network.settle(1)
        self.assertEqual(self.mail[other].payloads, [])
        self.assertEqual(self.mail[one].statuses(), ["NO_RIGHT"])
        [fate] = self.mail[one].fates
        self.assertEqual(fate.gave_up_at, ROOT)
        self.assertEqual(fate.detail, "rights[0] denies send to 0x10101")
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)
        self.assertEqual(self.mail[one].payloads, [b"y"])
        self.assert_quiet(root, one, other)

    def test_runs_and_fragments(self) -> None:
        """Each message of a run and each long message is refused, once."""
        root, one, other = self.two_leaves(
            rights=[{"action": "deny", "ids": ["0x10101"], "send": ["*"]}]
        )
        self.send_all(one, OTHER, [b"1", b"2", bytes(200_000)])
        self.network.settle(1)
        self.assertEqual(self.mail[one].statuses(), ["NO_RIGHT"] * 3)
        self.assertEqual(self.mail[other].payloads, [])
        self.assert_quiet(root, one, other)

    def test_the_destination_refuses(self) -> None:
        """A node asks its rights about what is for itself."""
        _, one, other = self.two_leaves()
        change(other, rights=[{"action": "allow", "ids": ["0x10102"], "send": ["*"]}])
        self.assertIs(self.ended(one.deliver(OTHER, b"x")), Status.NO_RIGHT)

    def test_a_node_forbids_itself(self) -> None:
        """A node that may not send by its own rules is told at once, with the rule."""
        _, one, other = self.two_leaves()
        one.send(OTHER, b"before")
        change(one, rights=[{"action": "deny", "name": "x", "send": ["0x10200/8"]}])
        error = self.assertRaises(Undeliverable, one.send, OTHER, b"after")
        self.assertIs(error.status, Status.NO_RIGHT)
        self.assertIn("rights[0] (x) denies send to 0x10101", str(error))
        one.send(ONE, b"to myself")
        one.send(NORTH, b"up")
        self.network.settle(1)
        self.assertEqual(self.mail[other].payloads, [b"before"])
        self.assertEqual(self.mail[one].payloads, [b"to myself"])

    def test_labels(self) -> None:
        """A rule can be about the labels of nodes that are known by the route table only."""
        root, _, _ = self.proxies(topology="records")
        change(root, rights=[{"action": "deny", "labels": {"tier": "guest"}, "send": ["*"]}])
        guest = self.leaf(ONE, labels={"tier": "guest"})
        member = self.leaf(OTHER, labels={"tier": "member"})
        self.network.settle(3)
        self.assertIs(self.ended(guest.deliver(SOUTH, b"1")), Status.NO_RIGHT)
        self.assertTrue(self.ended(member.deliver(NORTH, b"2")))

    def test_commands(self) -> None:
        """The node that a command is for judges it by its name and by who asks."""
        _, one, other = self.two_leaves()
        other.on_command(lambda source, arguments: [b"done"])
        change(
            other,
            rights=[{"action": "allow", "ids": ["0x10101"], "commands": ["status", "atbus.p*"]}],
        )
        self.assertEqual(self.ended(one.command(OTHER, b"status")), [b"done"])
        self.assertTrue(self.ended(one.command(OTHER, b"atbus.ping")))
        self.assertIs(self.ended(one.command(OTHER, b"stop")), Status.NO_RIGHT)
        self.assertEqual(other.statistics.refused[Status.NO_RIGHT], 1)

    def test_a_relay_stops_commands(self) -> None:
        """Who may run no command at all is stopped on the way."""
        root, one, other = self.two_leaves(
            rights=[{"action": "deny", "ids": ["0x10100/8"], "commands": ["*"]}]
        )
        asking = one.command(OTHER, b"atbus.ping")
        self.network.settle(1)
        error = self.failureResultOf(asking, Undeliverable).value
        self.assertIs(error.status, Status.NO_RIGHT)
        self.assertEqual(error.detail, "rights[0] denies commands to 0x10101")
        self.assertTrue(self.ended(other.command(ONE, b"atbus.ping")))
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)

    def test_a_relay_stops_streams(self) -> None:
        """Who may open no stream at all is told so on the way."""
        root, one, other = self.two_leaves(rights=[{"action": "deny", "streams": ["*"]}])
        north = next(node for node in self.nodes if node.bus_id == NORTH)
        opening = StreamOpen(
            source=ONE, destination=OTHER, epoch=one.epoch, stream_id=1, service="ssh"
        )
        self.say(north, root, opening, data=False)
        self.assertEqual(root.statistics.refused[Status.NO_RIGHT], 1)
        self.assert_quiet(root, other)

    def test_temporary_nodes(self) -> None:
        """Who has no id runs the commands that temporary nodes may run, here and through here."""
        _, one, _ = self.two_leaves(
            rights=[{"action": "deny", "temporary": True, "commands": ["atbus.nodes"]}]
        )
        tool = self.node(0, upstream=ROOT_ADDRESS)
        self.network.start(tool)
        for target in (0, ROOT, ONE):
            self.assertIs(self.ended(tool.command(target, b"atbus.nodes")), Status.NO_RIGHT)
            self.assertTrue(self.ended(tool.command(target, b"atbus.ping")))
        self.assertTrue(self.ended(one.command(ROOT, b"atbus.nodes")))


def unwanted(ids: str) -> dict[str, Any]:
    """Make a rule that lets nobody of these ids register below."""
    return {"action": "deny", "ids": [ids], "register": ["downstream"]}


class RegistrationRightsTests(MailTests):
    """Who may register, and who may stay."""

    def test_downstream(self) -> None:
        """A node that may not register is refused with the rule, and another one is not."""
        root = self.root(rights=[unwanted("0x10001")])
        self.network.start(root)
        child, sibling = self.child(), self.child(SIBLING)
        self.assertIs(self.refusal_of(child.start()), Status.NOT_ADMITTED)
        self.network.start(sibling)
        self.assertEqual(self.ids(root), [SIBLING])
        self.assertIn("NOT_ADMITTED", self.diaries[child].errors())

    def test_peer(self) -> None:
        """A node may be wanted below and not beside."""
        root = self.root(rights=[{"action": "deny", "register": ["peer"]}])
        child = self.child()
        self.network.start(root, child)
        peer = self.node(0x50000)
        self.network.start(peer)
        self.assertIs(self.refusal_of(peer.connect(ROOT_ADDRESS)), Status.NOT_ADMITTED)
        self.assertEqual(self.ids(root), [CHILD])

    def test_another_life(self) -> None:
        """Who takes the place of a node that is gone is judged by what he says of himself."""
        rule = {"action": "deny", "labels": {"tier": "guest"}, "register": ["downstream"]}
        root, child = self.pair(rights=[rule])
        self.power_off(child)
        self.assertIs(
            self.refusal_of(self.child(labels={"tier": "guest"}).start()), Status.NOT_ADMITTED
        )
        self.assertEqual(self.diaries[root].removed(), [])
        again = self.child(labels={"tier": "member"})
        self.network.start(again)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "REPLACED")])

    def test_an_automatic_id(self) -> None:
        """The id that was assigned is judged like any other."""
        root = self.root(rights=[unwanted("0x10000/16")])
        self.network.start(root)
        self.assertIs(self.refusal_of(self.child("auto").start()), Status.NOT_ADMITTED)

    def test_a_right_that_is_taken_away(self) -> None:
        """A neighbor that could not register any more is cut off when the node reloads."""
        root, _ = self.pair()
        change(root, rights=[unwanted("0x10001")])
        self.network.settle(0.1)
        self.assertEqual(self.ids(root), [])
        self.assertIn("ACCESS_DENIED", self.diaries[root].errors())

    def test_an_upstream_is_not_judged(self) -> None:
        """A rule about who may register is not about whom this node hangs below."""
        root, child = self.root(), self.child(rights=[{"action": "deny", "register": ["peer"]}])
        self.network.start(root, child)
        self.network.settle()
        self.assertEqual(self.ids(child), [ROOT])


class _Writer:
    """Somebody beside a node who writes a file when the node gets another configuration."""

    follows: frozenset[str] = frozenset()

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write

    def prepare(self, config: NodeConfig) -> Callable[[], object]:
        """Write it; see `atbus.node.reload.Follower`."""
        self._write()
        return lambda: None


class DeniedTests(MailTests):
    """The list of those who may do nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.mktemp())
        self.file.write_text("# nobody yet\n")

    def write(self, text: str) -> None:
        """Write the file anew, as an editor does: the new one takes the old one's place."""
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    def test_cut_when_the_file_changes(self) -> None:
        """A neighbor whose id is written into the file is cut within 5 seconds, and stays out."""
        root, child = self.pair(denied_file=str(self.file))
        self.network.start(self.child(SIBLING))
        self.write(f"# stolen\n{CHILD:#x}  # laptop\n")
        self.network.settle(5)
        self.assertEqual(self.ids(root), [SIBLING])
        self.network.settle(60)
        self.assertEqual(self.ids(root), [SIBLING])
        self.assertIn("NOT_ADMITTED", self.diaries[child].errors())
        self.write("")
        self.network.settle(60)
        self.assertEqual(self.ids(root), [CHILD, SIBLING])

    def test_nothing_of_theirs_passes(self) -> None:
        """Messages of a denied id are refused also where it is not a neighbor."""
        root, _, _ = self.proxies(denied_file=str(self.file))
        one, other = self.leaf(ONE), self.leaf(OTHER)
        self.assertTrue(self.ended(one.deliver(OTHER, b"1")))
        south = next(node for node in self.nodes if node.bus_id == SOUTH)
        change(south, denied=["0x10100/8"], denied_file=None)
        self.assertIs(self.ended(one.deliver(OTHER, b"2")), Status.NO_RIGHT)
        self.assertIs(self.ended(one.command(OTHER, b"atbus.ping")), Status.NO_RIGHT)
        self.assertEqual(self.mail[other].payloads, [b"1"])
        self.assert_quiet(root, one, other)

    def test_written_while_it_is_read(self) -> None:
        """What is written behind what a reload has read is read when the file is looked at next."""
        root, _ = self.pair(denied_file=str(self.file))
        root._parts.followers.append(_Writer(lambda: self.write(f"{CHILD:#x}\n")))
        change(root, hops=5)
        self.network.settle(5)
        self.assertEqual(self.ids(root), [])

    def test_who_may_read_it_now(self) -> None:
        """The file is read again when somebody may read it who could not: nothing else changes."""
        self.write(f"{CHILD:#x}\n")
        root = self.root(denied_file=str(self.file))
        self.network.start(root)
        stamp = root._parts.permits._stamp
        self.file.chmod(0o640)
        self.network.settle(5)
        self.assertNotEqual(root._parts.permits._stamp, stamp)

    def test_a_file_that_cannot_be_used(self) -> None:
        """A file that is broken while the node runs changes nothing; a good one is used again."""
        self.write("0x10001\n")
        root = self.root(denied_file=str(self.file))
        self.network.start(root)
        self.write("0x10001\nfoo\n")
        self.network.settle(5)
        child = self.child()
        self.assertIs(self.refusal_of(child.start()), Status.NOT_ADMITTED)
        self.file.unlink()
        self.network.settle(5)
        self.assertFalse(root._parts.context.rights is None)
        self.write("")
        self.network.settle(60)
        self.assertIsNone(root._parts.context.rights)

    def test_a_file_that_cannot_be_used_from_the_start(self) -> None:
        """A node whose file is missing or malformed is not made, nor reloaded with it."""
        for text, fault in (("0x5\nfoo", "line 2: 'foo' is not a bus id"), (None, "No such file")):
            if text is None:
                self.file.unlink()
            else:
                self.write(text)
            error = self.assertRaises(ConfigurationError, self.root, denied_file=str(self.file))
            self.assertIn(fault, str(error))
        root = self.root()
        self.network.start(root)
        wanted = root.config.replace(denied_file=str(self.file), hops=3)
        self.assertRaises(ConfigurationError, reconfigure, root, wanted)
        self.assertNotEqual(root.config.hops, 3)

    def test_a_file_that_is_too_long(self) -> None:
        """A file by mistake is not read into memory as a whole."""
        self.file.write_bytes(b"#" * (bounds.DENIED_FILE_BYTES + 10))
        error = self.assertRaises(ConfigurationError, read_denied, str(self.file))
        self.assertIn("more than", str(error))
        self.file.write_bytes(b"\xff")
        error = self.assertRaises(ConfigurationError, read_denied, str(self.file))
        self.assertIn("not in UTF-8", str(error))

    def test_only_the_first_faults_are_told(self) -> None:
        """A file of something else is not told line by line."""
        self.write("word\n" * 1000)
        error = self.assertRaises(ConfigurationError, read_denied, str(self.file))
        self.assertEqual(len(error.faults), bounds.DENIED_FAULTS_TOLD)


class RevokedTests(MailTests):
    """The lists of certificates that are not good any more."""

    def test_read_when_the_file_changes(self) -> None:
        """
        What is revoked is known within 5 seconds of the file's change, by every link at that
        moment; a file that cannot be used changes nothing.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        files, lists = Files(folder), folder / "revoked.pem"
        lists.write_bytes(files.authority.revoke([], DAY))
        options = files.options(files.issue(parse_identity("atbus://test/0x10000/16")))
        root = self.root(
            tls_certificate=options.certificate,
            tls_key=options.key,
            tls_authorities=options.authorities,
            tls_realm="test",
            tls_revoked=str(lists),
        )
        self.network.start(root)
        credentials = root._parts.channel_options.tls
        assert credentials is not None
        theirs = files.issue()
        peer = read_certificate(PEM_cert_to_DER_cert(theirs.certificate.decode()), "test")
        known: list[bool] = []
        # What a link is told of; it ends itself then.
        credentials.watching.add(lambda: known.append(credentials.is_revoked(peer)))
        self.network.settle(60)
        self.assertEqual(known, [])
        lists.write_bytes(files.authority.revoke([theirs.certificate], DAY))
        self.network.settle(5)
        self.assertEqual(known, [True])
        lists.write_bytes(b"no list")
        self.network.settle(5)
        self.assertEqual(known, [True])
        self.assertTrue(credentials.is_revoked(peer))
        # Somebody asks for it, which does not make it news twice.
        for text, told in ((b"none", "cannot be used"), (None, "new files for TLS are in use")):
            lists.write_bytes(text or files.authority.revoke([], DAY))
            with capturedLogs() as events:
                reconfigure(root, root.config)
                self.network.settle(60)
            texts = [formatEvent(event) for event in events]
            self.assertEqual(len([each for each in texts if told in each]), 1, texts)


class ReloadTests(MailTests):
    """Each test is named for the option that changes."""

    def test_rights(self) -> None:
        """New rights count for the next message."""
        root, child = self.pair()
        for payload, rights, expected in (
            (b"1", [{"action": "deny", "send": ["*"]}], False),
            (b"2", [], True),
            (b"3", [{"action": "deny", "ids": ["0x10001"], "send": ["0x10000"]}], False),
        ):
            change(root, rights=rights)
            fate = self.ended(child.deliver(ROOT, payload))
            self.assertEqual(fate is not Status.NO_RIGHT, expected)
        self.assertEqual(self.mail[root].payloads, [b"2"])
        change(root, rights=[])
        self.assertIsNone(root._parts.context.rights)

    def test_rights_to_subscribe(self) -> None:
        """Who may not subscribe is told so at once; what he may no more is ended and logged."""
        rule = {"action": "deny", "name": "secrets", "subscribe": ["secret.>"]}
        root, child = self.pair()
        got: list[bytes] = []
        early = root.subscribe("secret.a", lambda publication: got.append(publication.payload))
        lasting = root.subscribe("open.>")
        change(root, rights=[rule])
        self.assertEqual((early.closed, lasting.closed), (True, False))
        for pattern in ("secret.a", ">", "*.a"):
            error = self.assertRaises(Undeliverable, root.subscribe, pattern)
            self.assertIs(error.status, Status.NO_RIGHT)
            self.assertIn("secrets", str(error))
            self.assertFalse(root.may_subscribe(pattern))
        self.assertTrue(root.may_subscribe("open.*"))
        child.publish("secret.a", b"1")
        self.network.settle(1.0)
        self.assertEqual(got, [])
        change(root, rights=[])
        root.subscribe(">").unsubscribe()

    def test_denied(self) -> None:
        """A neighbor that is denied is cut off at once, and comes back when it is no more."""
        root, _ = self.pair()
        change(root, denied=["0x10000/4"])
        self.network.settle(0.1)
        self.assertEqual(self.ids(root), [])
        change(root, denied=[])
        self.network.settle(60)
        self.assertEqual(self.ids(root), [CHILD])

    def test_denied_file(self) -> None:
        """Another file is read at once."""
        file = Path(self.mktemp())
        file.write_text("0x10001")
        root, _ = self.pair()
        change(root, denied_file=str(file))
        self.network.settle(0.1)
        self.assertEqual(self.ids(root), [])
