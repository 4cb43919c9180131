"""Every bound of a message is held, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import LocalProtocolError, MalformedFrame
from atbus.wire import bounds, codec, schema
from atbus.wire.messages import (
    AddressUpdate,
    CommandRequest,
    CommandResponse,
    ConnectNotice,
    Data,
    DataResponse,
    Fragment,
    Interest,
    InterestEntry,
    LinkAck,
    Message,
    Publish,
    RegisterRequest,
    RouteBatch,
    RouteRecord,
    ServiceBatch,
    ServiceEntry,
    StreamData,
)
from tests.wire import unchecked

NODE = RouteRecord(bus_id=1, epoch=1, seq=1)


def numbered(count: int) -> tuple[str, ...]:
    """
    Make different short texts in ascending order.

    :param count: How many.
    :returns: The texts.
    """
    return tuple(f"{number:04}" for number in range(count))


class RuleCase(SynchronousTestCase):
    """Write and read what obeys a rule, and what does not."""

    def _bounded(self, bound: int, make: Callable[[int], Message]) -> None:
        most = make(bound)
        self.assertEqual(codec.decode(codec.encode(most)), most)
        self.assertEqual(schema.parse(schema.build(most)), most)
        self._refused(make(bound + 1))

    def _refused(self, message: Message) -> None:
        self.assertRaises(LocalProtocolError, codec.encode, message)
        self.assertRaises(LocalProtocolError, schema.build, message)
        frame = unchecked.build(message)
        self.assertRaises(MalformedFrame, codec.decode, frame)
        self.assertRaises(MalformedFrame, schema.parse, frame)

    def _bounded_in_both(self, bound: int, make: Callable[[int], dict[str, Any]]) -> None:
        def request(size: int) -> Message:
            return RegisterRequest(**make(size))

        def batch(size: int) -> Message:
            record = RouteRecord(bus_id=1, epoch=1, seq=1, **make(size))
            return RouteBatch(records=(record,))

        self._bounded(bound, request)
        self._bounded(bound, batch)


class BoundTests(RuleCase):
    """Up to its bound a thing travels; beyond it is neither written nor read."""

    def test_what_a_node_says_of_itself(self) -> None:
        """Ranges, labels, addresses and names are bounded in registrations and in routes."""
        self._bounded_in_both(
            limits.SUBNETS_MAX,
            lambda size: {"subnets": tuple(Subnet(place << 8, 8) for place in range(size))},
        )
        self._bounded_in_both(limits.ADDRESSES_MAX, lambda size: {"addresses": numbered(size)})
        self._bounded_in_both(limits.ADDRESS_BYTES, lambda size: {"addresses": ("a" * size,)})
        self._bounded_in_both(
            limits.LABELS_MAX, lambda size: {"labels": tuple((key, "") for key in numbered(size))}
        )
        self._bounded_in_both(
            limits.LABELS_BYTES, lambda size: {"labels": (("k", "v" * (size - 1)),)}
        )
        self._bounded_in_both(limits.HOST_BYTES, lambda size: {"host": "h" * size})
        self._bounded_in_both(limits.PROCESS_BYTES, lambda size: {"process": "p" * size})

    def test_names_for_people(self) -> None:
        """Host name and software are bounded."""
        self._bounded(limits.HOSTNAME_BYTES, lambda size: RegisterRequest(hostname="h" * size))
        self._bounded(limits.SOFTWARE_BYTES, lambda size: RegisterRequest(software="s" * size))

    def test_bounds_count_bytes_not_letters(self) -> None:
        """A name of few letters that are long on the wire is as long as it is there."""
        self._refused(RegisterRequest(software="\u20ac" * (limits.SOFTWARE_BYTES // 3 + 1)))

    def test_addresses(self) -> None:
        """Messages that bring addresses are bounded as the registration is."""
        most = limits.ADDRESSES_MAX
        self._bounded(most, lambda size: AddressUpdate(addresses=numbered(size)))
        self._bounded(most, lambda size: ConnectNotice(target=1, addresses=numbered(size)))

    def test_runs(self) -> None:
        """A run and a run of publications have so many messages."""
        most = limits.RUN_COUNT_MAX
        self._bounded(most, lambda size: Data(messages=((0, b""),) * size))
        self._bounded(most, lambda size: Publish(subject="s", messages=((0, b""),) * size))

    def test_batches(self) -> None:
        """A batch has so many records."""
        self._bounded(
            limits.ROUTE_BATCH_RECORDS_MAX, lambda size: RouteBatch(records=(NODE,) * size)
        )

    def test_acknowledgements(self) -> None:
        """One LINK_ACK has so many ranges, of frames that have a number."""
        self._bounded(limits.ACK_RANGES_MAX, lambda size: LinkAck(early=((1, 2),) * size))
        self.assertRaises(LocalProtocolError, codec.encode, LinkAck(early=((0, 2),)))

    def test_subjects(self) -> None:
        """Subjects and names of queue groups are bounded."""
        most = limits.SUBJECT_BYTES
        one = ((0, b""),)
        self._bounded(most, lambda size: Publish(subject="s" * size, messages=one))
        self._bounded(most, lambda size: Publish(subject="s", reply_to="r" * size, messages=one))
        self._bounded(most, lambda size: Publish(subject="s", queues=("q" * size,), messages=one))
        self._bounded(most, lambda size: Interest(entries=(InterestEntry(subject="s" * size),)))
        self._bounded(
            most, lambda size: Interest(entries=(InterestEntry(subject="s", queue="q" * size),))
        )

    def test_replays_of_interest(self) -> None:
        """One frame brings so many entries; a replay of more is several frames."""
        entry = InterestEntry(subject="s")
        self._bounded(limits.INTEREST_ENTRIES_MAX, lambda size: Interest(entries=(entry,) * size))

    def test_documents_of_services(self) -> None:
        """Documents and their keys are bounded, and so is their number in one frame."""
        entry = ServiceEntry(bus_id=1, key="k")
        most = bounds.SERVICE_ENTRIES_MAX
        self._bounded(most, lambda size: ServiceBatch(services=(entry,) * size))
        self._bounded(
            bounds.SERVICE_KEY_BYTES,
            lambda size: ServiceBatch(services=(ServiceEntry(bus_id=1, key="k" * size),)),
        )
        self._bounded(
            bounds.SERVICE_VALUE_BYTES,
            lambda size: ServiceBatch(
                services=(ServiceEntry(bus_id=1, key="k", value=bytes(size)),)
            ),
        )

    def test_proofs(self) -> None:
        """One proof too many is still read, so that the proof is refused and not the frame."""
        self._bounded(
            limits.ACCESS_TOKENS_MAX + 1,
            lambda size: RegisterRequest(proofs=(bytes(limits.PROOF_BYTES),) * size),
        )
        self._bounded(limits.PROOF_BYTES, lambda size: RegisterRequest(proofs=(bytes(size),)))

    def test_commands(self) -> None:
        """Arguments and lines are bounded in number and together in bytes."""
        self._bounded(
            limits.COMMAND_ARGUMENTS_MAX, lambda size: CommandRequest(arguments=(b"",) * size)
        )
        self._bounded(limits.COMMAND_LINES_MAX, lambda size: CommandResponse(lines=(b"",) * size))
        self._bounded(
            limits.COMMAND_BYTES, lambda size: CommandRequest(arguments=(b"a", bytes(size - 1)))
        )
        self._bounded(
            limits.COMMAND_BYTES, lambda size: CommandResponse(lines=(b"a", bytes(size - 1)))
        )


class RelationTests(RuleCase):
    """Rules between fields."""

    def test_runs_have_messages(self) -> None:
        """A run, also of publications, has at least one message."""
        self._refused(Data(messages=()))
        self._refused(Publish(subject="s", messages=()))

    def test_fragments_lie_inside_their_message(self) -> None:
        """A piece is not empty and ends where its message ends, at the latest."""
        fits = Fragment(offset=6, total=10, kind=0, payload=b"abcd")
        self.assertEqual(codec.decode(codec.encode(fits)), fits)
        self._refused(Fragment(offset=7, total=10, kind=0, payload=b"abcd"))
        self._refused(Fragment(offset=2**32 - 1, total=10, kind=0, payload=b"abcd"))
        self._refused(Fragment(offset=0, total=10, kind=0, payload=b""))

    def test_labels_are_in_order(self) -> None:
        """Each key comes once, in ascending order: equal labels are equal bytes."""
        for labels in ((("b", ""), ("a", "")), (("a", "1"), ("a", "2"))):
            self._refused(RegisterRequest(labels=labels))
            record = RouteRecord(bus_id=1, epoch=1, seq=1, labels=labels)
            self._refused(RouteBatch(records=(record,)))

    def test_answers_are_about_something(self) -> None:
        """A response names a message, stream data has a byte."""
        self._refused(DataResponse(target=1, first_sequence=1, count=0))
        self._refused(StreamData(stream_id=1, from_opener=True, offset=0, data=b""))
