"""Messages are values, and their numbers say what to do with them."""

from __future__ import annotations

import attrs
from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.strategies import STRATEGIES, any_message
from atbus.wire.messages import (
    IGNORABLE_BIT,
    MESSAGE_CLASSES,
    ROUTED_BIT,
    Data,
    Message,
    MessageType,
    Ping,
    Pong,
    RegisterRequest,
    RouteRecord,
    Unknown,
)


class ValueTests(SynchronousTestCase):
    """What can be relied on without knowing the message."""

    @settings(deadline=None, max_examples=50)
    @given(any_message())
    def test_messages_are_frozen_values(self, message: Message) -> None:
        """A message equals its copy, can be put into sets, and nobody can change it."""
        copy = attrs.evolve(message)
        self.assertEqual(copy, message)
        self.assertEqual(len({copy, message}), 1)
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, message, "source", 1)

    def test_types_are_told_apart(self) -> None:
        """A PING and a PONG with the same fields are two different things."""
        self.assertNotEqual(Ping(sequence=1), Pong(sequence=1))

    def test_labels_may_be_given_as_a_mapping(self) -> None:
        """Labels travel sorted by key, in whatever order a program has them."""
        for labels in ({"b": "2", "a": "1"}, (("a", "1"), ("b", "2"))):
            expected = (("a", "1"), ("b", "2"))
            self.assertEqual(RegisterRequest(labels=labels).labels, expected)
            record = RouteRecord(bus_id=1, epoch=1, seq=1, labels=labels)
            self.assertEqual(record.labels, expected)


class NumberTests(SynchronousTestCase):
    """The bits of message types."""

    def test_each_type_has_a_class_and_a_strategy(self) -> None:
        """No number without a message, no message that tests cannot make."""
        self.assertEqual(set(MESSAGE_CLASSES), set(MessageType))
        self.assertEqual(set(STRATEGIES), set(MessageType))
        for message_type, cls in MESSAGE_CLASSES.items():
            self.assertIs(cls.message_type, message_type)
        self.assertIs(Unknown.message_type, None)

    def test_bits_decide(self) -> None:
        """Ignorable and routed are bits of the number; what is routed is numbered."""
        for message_type in MessageType:
            self.assertEqual(message_type.is_ignorable, bool(message_type.value & IGNORABLE_BIT))
            self.assertEqual(message_type.is_routed, bool(message_type.value & ROUTED_BIT))
            if message_type.is_routed:
                self.assertTrue(message_type.is_numbered)

    def test_numbered_are_those_that_carry_what_programs_say(self) -> None:
        """Frames of the link itself are outside the numbering: losing the link loses them too."""
        self.assertEqual(
            {member.name for member in MessageType if not member.is_routed and member.is_numbered},
            {"PUBLISH"},
        )
        self.assertFalse(MessageType.PING.is_numbered)
        self.assertFalse(MessageType.GOODBYE.is_numbered)

    def test_a_run_is_data(self) -> None:
        """Kinds and payloads stand beside each other in the order of sending."""
        run = Data(messages=((1, b"a"), (2, b"b")))
        self.assertEqual([kind for kind, _ in run.messages], [1, 2])
