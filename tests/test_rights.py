"""Rights: what a node may do, by its id or by what it says of itself."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.rights import ALL_IDS, Rights, RightsRule, Who
from atbus.routing.table import Position
from atbus.subjects.pattern import parse_pattern, parse_subject
from atbus.wire.messages import MessageType

GUESTS = Subnet(0x1200, 8)
GUEST, SERVER, MEMBER = 0x1201, 0x9000, 0x1301


def allow(**things: Any) -> RightsRule:
    """Make a rule that allows."""
    return RightsRule(allows=True, **things)


def deny(**things: Any) -> RightsRule:
    """Make a rule that denies."""
    return RightsRule(allows=False, **things)


def patterns(*texts: str) -> tuple[tuple[str, ...], ...]:
    """Read patterns."""
    return tuple(map(parse_pattern, texts))


class SendTests(SynchronousTestCase):
    """Who may send to whom."""

    def test_nothing_is_refused_without_rules(self) -> None:
        """A node without rules lets everybody do everything."""
        rights = Rights(())
        self.assertFalse(rights)
        self.assertTrue(rights.may_send(GUEST, SERVER))
        self.assertIsNone(rights.refuses_command(Who(None, temporary=True), "status"))

    def test_denied(self) -> None:
        """What is denied to a range is denied to each id in it, and to nobody else."""
        rights = Rights([deny(name="guests", ids=(GUESTS,), send=(Subnet(SERVER, 4),))])
        self.assertFalse(rights.may_send(GUEST, SERVER))
        self.assertFalse(rights.may_send(GUEST, SERVER + 15))
        self.assertTrue(rights.may_send(GUEST, SERVER + 16))
        self.assertTrue(rights.may_send(MEMBER, SERVER))
        self.assertEqual(
            rights.refuses_send(GUEST, SERVER), "rights[0] (guests) denies send to 0x1201"
        )

    def test_deny_wins(self) -> None:
        """A rule that denies is stronger than any that allows, before or behind it."""
        rules = [allow(send=ALL_IDS), deny(ids=(GUESTS,), send=ALL_IDS)]
        for ordered in (rules, rules[::-1]):
            rights = Rights(ordered)
            self.assertFalse(rights.may_send(GUEST, SERVER))
            self.assertTrue(rights.may_send(MEMBER, SERVER))

    def test_what_is_allowed_to_some_is_forbidden_to_others(self) -> None:
        """With one rule that allows anybody to send, nobody else may; other kinds stay free."""
        rights = Rights([allow(ids=(GUESTS,), send=(Subnet(SERVER, 0),))])
        self.assertTrue(rights.may_send(GUEST, SERVER))
        self.assertFalse(rights.may_send(GUEST, SERVER + 1))
        self.assertFalse(rights.may_send(MEMBER, SERVER))
        self.assertEqual(
            rights.refuses_send(MEMBER, SERVER), "no rule of rights allows send to 0x1301"
        )
        self.assertIsNone(rights.refuses_command(Who.node(MEMBER), "status"))

    def test_denied_ids(self) -> None:
        """Who is on the list of denied ids may do nothing, whatever rules allow."""
        rights = Rights([allow(send=ALL_IDS, commands=("*",))], denied=(Subnet(GUEST, 0),))
        self.assertFalse(rights.may_send(GUEST, SERVER))
        self.assertTrue(rights.may_send(GUEST + 1, SERVER))
        for refusal in (
            rights.refuses_command(Who.node(GUEST), "status"),
            rights.refuses_registration(Who.node(GUEST), Position.UPSTREAM),
            rights.refuses_all(Who(Subnet(GUEST, 0), temporary=True)),
        ):
            self.assertEqual(refusal, "0x1201 is among the denied ids")

    def test_decisions_are_remembered(self) -> None:
        """A second message of the same pair costs a look-up; how many are kept is bounded."""
        asked: list[int] = []

        def labels_of(bus_id: int) -> tuple[tuple[str, str], ...]:
            asked.append(bus_id)
            return ()

        rights = Rights([deny(labels={"tier": ["guest"]}, send=ALL_IDS)], labels_of=labels_of)
        for _ in range(3):
            self.assertTrue(rights.may_send(GUEST, SERVER))
        self.assertEqual(asked, [GUEST])
        for target in range(1, 40_000):
            rights.may_send(GUEST, target)
        self.assertLessEqual(len(rights._sends), 16_384)

    def test_labels(self) -> None:
        """A rule can be about what nodes say of themselves, and follows them when they change."""
        known = {GUEST: (("tier", "guest"), ("zone", "a"))}
        rights = Rights(
            [deny(labels={"tier": ["guest", "trial"]}, send=ALL_IDS)],
            labels_of=lambda bus_id: known.get(bus_id, ()),
        )
        self.assertFalse(rights.may_send(GUEST, SERVER))
        self.assertTrue(rights.may_send(MEMBER, SERVER))
        known[GUEST] = (("tier", "member"), ("zone", "a"))
        rights.changed()
        self.assertTrue(rights.may_send(GUEST, SERVER))


class RegistrationTests(SynchronousTestCase):
    """Who may register as what."""

    def test_positions(self) -> None:
        """Below and beside are told apart."""
        rights = Rights([deny(ids=(GUESTS,), register=(Position.PEER,))])
        guest = Who.node(GUEST)
        self.assertIn("denies register", rights.refuses_registration(guest, Position.PEER) or "")
        self.assertIsNone(rights.refuses_registration(guest, Position.DOWNSTREAM))

    def test_an_upstream_needs_no_right(self) -> None:
        """Whom this node dials as its upstream it takes."""
        rights = Rights([deny(register=(Position.PEER, Position.DOWNSTREAM))])
        self.assertIsNone(rights.refuses_registration(Who.node(1), Position.UPSTREAM))


class NameTests(SynchronousTestCase):
    """Commands and streams."""

    def test_commands_by_name(self) -> None:
        """Names are allowed one by one, or by how they begin."""
        rights = Rights([allow(ids=(GUESTS,), commands=("status", "atbus.p*"))])
        guest = Who.node(GUEST)
        for name, may in (("status", True), ("atbus.ping", True), ("statu", False), ("", False)):
            self.assertEqual(rights.refuses_command(guest, name) is None, may, name)
        self.assertIsNotNone(rights.refuses_command(Who.node(MEMBER), "status"))

    def test_temporary_nodes(self) -> None:
        """A rule can be about temporary nodes, or about the ids that their certificates name."""
        rights = Rights(
            [allow(ids=(Subnet(7, 0),), commands=("*",)), allow(temporary=False, commands=("*",))]
        )
        self.assertIsNotNone(rights.refuses_command(Who(None, temporary=True), "status"))
        self.assertIsNone(rights.refuses_command(Who(Subnet(7, 0), temporary=True), "status"))
        self.assertIsNone(rights.refuses_command(Who.node(8), "status"))

    def test_a_wide_certificate(self) -> None:
        """A certificate for a range has what is allowed to all of it, and lacks what is not."""
        wide = Who(Subnet(0x1200, 9), temporary=True)
        self.assertIsNotNone(
            Rights([allow(ids=(GUESTS,), commands=("*",))]).refuses_command(wide, "status")
        )
        self.assertIsNotNone(
            Rights([deny(ids=(GUESTS,), commands=("*",))]).refuses_command(wide, "status")
        )

    def test_streams(self) -> None:
        """Services are named like commands."""
        rights = Rights([deny(streams=("ssh", "admin.*"))])
        self.assertIsNotNone(rights.refuses_stream(Who.node(1), "admin.web"))
        self.assertIsNone(rights.refuses_stream(Who.node(1), "web"))

    def test_what_passes(self) -> None:
        """A relay stops requests of somebody who may ask for nothing; other frames it lets go."""
        some = Rights([allow(ids=(GUESTS,), commands=("status",))])
        self.assertIsNone(some.refuses_passing(MessageType.COMMAND_REQUEST, GUEST))
        refusal = some.refuses_passing(MessageType.COMMAND_REQUEST, MEMBER)
        self.assertIn("no rule of rights allows commands to ", refusal or "")
        self.assertIsNone(some.refuses_passing(MessageType.STREAM_OPEN, MEMBER))
        self.assertIsNone(some.refuses_passing(MessageType.COMMAND_RESPONSE, MEMBER))
        none = Rights([deny(ids=(GUESTS,), streams=("*",)), deny(commands=("status",))])
        refusal = none.refuses_passing(MessageType.STREAM_OPEN, GUEST)
        self.assertIn(" denies streams to ", refusal or "")
        self.assertIsNone(none.refuses_passing(MessageType.COMMAND_REQUEST, GUEST))


class SubjectTests(SynchronousTestCase):
    """Who may publish and subscribe."""

    def setUp(self) -> None:
        self.rights = Rights(
            [
                allow(publish=patterns("orders.*.new"), subscribe=patterns("orders.>")),
                deny(ids=(GUESTS,), subscribe=patterns("orders.secret.>")),
            ]
        )

    def test_publish(self) -> None:
        """A subject is allowed by a pattern that it matches."""
        who = Who.node(GUEST)
        self.assertIsNone(self.rights.refuses_publication(who, parse_subject("orders.eu.new")))
        refusal = self.rights.refuses_publication(who, parse_subject("orders.eu.old"))
        self.assertEqual(refusal, "no rule of rights allows publish to 0x1201")

    def test_subscribe(self) -> None:
        """A pattern needs to be allowed as a whole, and no part of it may be denied."""
        for bus_id, pattern, may in (
            (MEMBER, "orders.>", True),
            (MEMBER, "orders.secret.x", True),
            (MEMBER, ">", False),
            (GUEST, "orders.eu", True),
            (GUEST, "orders.>", False),
            (GUEST, "orders.*.x", False),
            (GUEST, "orders.secret", True),
        ):
            refusal = self.rights.refuses_subscription(Who.node(bus_id), parse_pattern(pattern))
            self.assertEqual(refusal is None, may, (bus_id, pattern))

    def test_delivery(self) -> None:
        """Of what is published each subject is judged by itself."""
        guest = Who.node(GUEST)
        self.assertIsNone(self.rights.refuses_delivery(guest, parse_subject("orders.eu")))
        refused = self.rights.refuses_delivery(guest, parse_subject("orders.secret.x"))
        self.assertEqual(refused, "rights[1] denies subscribe to 0x1201")
