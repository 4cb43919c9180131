"""Codec and schema are one; every message survives the way through bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.errors import LocalProtocolError, MalformedFrame, RemoteProtocolError, Status
from atbus.testing.strategies import any_message, kinds, links, of_type, payloads
from atbus.wire import codec, runs, schema
from atbus.wire.extras import pack_extras
from atbus.wire.messages import (
    MESSAGE_CLASSES,
    Data,
    DataResponse,
    Fragment,
    Goodbye,
    Hello,
    Message,
    MessageType,
    Ping,
    RegisterRequest,
    RouteBatch,
    RouteRecord,
    StreamData,
    Unknown,
)

HOT = (
    MessageType.DATA,
    MessageType.FRAGMENT,
    MessageType.PUBLISH,
    MessageType.PING,
    MessageType.PONG,
    MessageType.LINK_ACK,
    MessageType.ROUTE_BATCH,
    MessageType.INTEREST,
    MessageType.SERVICE_BATCH,
    MessageType.STREAM_DATA,
    MessageType.STREAM_CREDIT,
)


class EqualityTests(SynchronousTestCase):
    """The fast road and the normative one."""

    def _agree(self, message_type: MessageType) -> None:
        @settings(deadline=None, max_examples=100)
        @given(of_type(message_type), links())
        def agree(message: Message, link: tuple[int, int]) -> None:
            frame = codec.encode(message, *link)
            self.assertEqual(frame, schema.build(message, *link))
            self.assertEqual(codec.decode(frame), message)
            self.assertEqual(schema.parse(frame), message)

        agree()

    def test_data(self) -> None:
        """DATA: struct and construct write the same bytes and read the same message."""
        self._agree(MessageType.DATA)

    def test_fragment(self) -> None:
        """FRAGMENT: struct and construct write the same bytes and read the same message."""
        self._agree(MessageType.FRAGMENT)

    def test_publish(self) -> None:
        """PUBLISH: struct and construct write the same bytes and read the same message."""
        self._agree(MessageType.PUBLISH)

    def test_pings(self) -> None:
        """PING, PONG and LINK_ACK: the same bytes, the same message."""
        for message_type in (MessageType.PING, MessageType.PONG, MessageType.LINK_ACK):
            self._agree(message_type)

    def test_streams(self) -> None:
        """STREAM_DATA and STREAM_CREDIT: the same bytes, the same message."""
        for message_type in (MessageType.STREAM_DATA, MessageType.STREAM_CREDIT):
            self._agree(message_type)

    def test_route_batch(self) -> None:
        """ROUTE_BATCH: struct and construct write the same bytes and read the same records."""
        self._agree(MessageType.ROUTE_BATCH)

    def test_entries(self) -> None:
        """INTEREST and SERVICE_BATCH: the same bytes, the same entries."""
        self._agree(MessageType.INTEREST)
        self._agree(MessageType.SERVICE_BATCH)

    @settings(deadline=None, max_examples=300)
    @given(any_message(), links())
    def test_everything_else(self, message: Message, link: tuple[int, int]) -> None:
        """Every message of the protocol survives the way through bytes, whichever way it takes."""
        frame = codec.encode(message, *link)
        self.assertEqual(frame, schema.build(message, *link))
        self.assertEqual(codec.decode(frame), message)
        self.assertEqual(schema.parse(frame), message)
        head = codec.peek(frame)
        self.assertEqual(head[0], len(frame))
        self.assertEqual((head[9], head[12]), link)

    @settings(deadline=None, max_examples=100)
    @given(of_type(MessageType.FRAGMENT), links())
    def test_fragments_without_messages_in_between(
        self, message: Fragment, link: tuple[int, int]
    ) -> None:
        """What the hot path packs and reads is exactly the FRAGMENT message of the schema."""
        place = (message.offset, message.total, message.kind)
        pieces = runs.fragment_pieces(
            message.source,
            message.destination,
            message.sequence,
            message.epoch,
            memoryview(message.payload),
            place,
            flags=message.flags,
            hop_limit=message.hop_limit,
            frame=link[0],
            ack=link[1],
            extras=pack_extras(message.extras),
        )
        frame = b"".join(pieces)
        self.assertEqual(frame, schema.build(message, *link))
        self.assertEqual(runs.read_fragment(frame, codec.peek(frame)), (*place, message.payload))

    @settings(deadline=None, max_examples=100)
    @given(st.lists(st.tuples(kinds, payloads), min_size=1, max_size=20))
    def test_runs_without_messages_in_between(self, messages: list[tuple[int, bytes]]) -> None:
        """What the hot path packs and splits is exactly the DATA message of the schema."""
        frame = codec.pack_run(
            1,
            2,
            3,
            4,
            [kind for kind, _ in messages],
            [payload for _, payload in messages],
            flags=5,
            hop_limit=6,
            frame=7,
            ack=8,
        )
        data = Data(
            source=1,
            destination=2,
            sequence=3,
            epoch=4,
            flags=5,
            hop_limit=6,
            messages=tuple(messages),
        )
        self.assertEqual(frame, schema.build(data, 7, 8))
        self.assertEqual(codec.iter_run(frame), messages)
        kinds, payloads = codec.split_run(frame, codec.HEAD_SIZE, len(messages))
        self.assertEqual(list(zip(kinds, payloads, strict=True)), messages)


class RefusedToWriteTests(SynchronousTestCase):
    """What we are asked to write and cannot is our own fault, and says so."""

    def _refuse(self, message: Message, frame: int = 0) -> None:
        self.assertRaises(LocalProtocolError, codec.encode, message, frame)
        self.assertRaises(LocalProtocolError, schema.build, message, frame)

    def test_numbers_that_do_not_fit(self) -> None:
        """A number too large for its field is never cut to fit."""
        self._refuse(Ping(sequence=1 << 64))
        self._refuse(Ping(sent_at_us=-1))
        self._refuse(Ping(hop_limit=256))
        self._refuse(Ping(), frame=1 << 32)
        self._refuse(Data(messages=((1 << 31, b""),)))
        self._refuse(RouteBatch(records=(RouteRecord(bus_id=1 << 64, epoch=1, seq=1),)))
        self._refuse(DataResponse(target=1, first_sequence=1, count=1 << 32))
        self._refuse(Hello(version_min=1, version_max=1, nonce=b"short", frame_max=65536))

    def test_empty_runs(self) -> None:
        """A run has at least one message."""
        self._refuse(Data(messages=()))
        self.assertRaises(LocalProtocolError, codec.pack_run, 1, 2, 3, 4, [], [])

    def test_kinds_and_payloads_of_different_number(self) -> None:
        """A run is not packed when a kind is missing."""
        self.assertRaises(LocalProtocolError, codec.pack_run, 1, 2, 3, 4, [1], [b"", b""])
        self.assertRaises(LocalProtocolError, codec.pack_run, 1, 2, 3, 4, [1 << 31], [b""])

    def test_texts_that_are_none(self) -> None:
        """A text that has no UTF-8 form cannot travel."""
        self._refuse(RegisterRequest(host="\ud800"))
        self._refuse(RouteBatch(records=(RouteRecord(bus_id=1, epoch=1, seq=1, host="\ud800"),)))

    def test_unknown_messages(self) -> None:
        """What we do not understand we may pass on as bytes, but not write."""
        self._refuse(Unknown(type_number=0xFE))

    def test_answers_about_nothing(self) -> None:
        """A response names at least one message; stream data has at least one byte."""
        self._refuse(DataResponse(target=1, first_sequence=1, count=0))
        self._refuse(StreamData(stream_id=1, from_opener=True, offset=0, data=b""))


class ReadingTests(SynchronousTestCase):
    """What is particular about reading."""

    def test_a_hello_with_another_magic_is_not_ours(self) -> None:
        """A first frame that looks like one but has another magic is another protocol's."""
        hello = Hello(version_min=1, version_max=1, nonce=bytes(16), frame_max=65536)
        frame = bytearray(codec.encode(hello))
        frame[codec.HEAD_SIZE] ^= 1
        for read in (codec.decode, schema.parse):
            error = self.assertRaises(RemoteProtocolError, read, bytes(frame))
            self.assertIs(error.status, Status.NOT_ATBUS)

    def test_long_reasons_are_cut(self) -> None:
        """A reason in words never makes a frame that the other side would refuse."""
        goodbye = Goodbye(detail="\u00e4" * 1000)
        frame = codec.encode(goodbye)
        self.assertEqual(len(frame), codec.HEAD_SIZE + 4 + 256)
        self.assertEqual(codec.decode(frame), Goodbye(detail="\u00e4" * 128))

    def test_a_subnet_is_read_as_a_range(self) -> None:
        """A subnet written with any of its ids is read as the range, and is equal to it."""
        request = RegisterRequest(subnets=(Subnet(0x12345678, 16),))
        read = codec.decode(codec.encode(request))
        self.assertEqual(read, RegisterRequest(subnets=(Subnet(0x12340000, 16),)))

    def test_masks_beyond_63_bits_are_malformed(self) -> None:
        """A mask that no subnet can have is refused, in registrations and in routes."""
        request = codec.encode(RegisterRequest(subnets=(Subnet(0, 63),)))
        batch = codec.encode(
            RouteBatch(records=(RouteRecord(bus_id=1, epoch=1, seq=1, subnets=(Subnet(0, 63),)),))
        )
        for frame in (request, batch):
            place = frame.rindex(bytes(8) + b"\x3f") + 8
            wrong = frame[:place] + b"\x40" + frame[place + 1 :]
            self.assertRaises(MalformedFrame, codec.decode, wrong)
            self.assertRaises(MalformedFrame, schema.parse, wrong)

    def test_names_of_messages(self) -> None:
        """
        A type has a name for logs, a number that is none has no name.

        Scenario: G6
        """
        self.assertEqual(MessageType(0x40).name, "DATA")
        for number in (0, 1_000_000):
            self.assertRaises(ValueError, MessageType, number)
        self.assertEqual(len(MESSAGE_CLASSES), len(MessageType))
