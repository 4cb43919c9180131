"""The wire protocol as written and the wire protocol as run are one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from construct import Construct, Padded, SizeofError, Struct
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.errors import Status
from atbus.handshake import access_token
from atbus.wire import bounds, codec, digests, schema
from atbus.wire.extras import read_zone
from atbus.wire.messages import (
    MESSAGE_CLASSES,
    Capability,
    ExtraType,
    Flags,
    Interest,
    MessageType,
    RouteBatch,
)
from tests.wire import document

_SIZES = {
    "u8": 1,
    "truth": 1,
    "member": 1,
    "u16": 2,
    "status": 2,
    "u32": 4,
    "i32": 4,
    "u64": 8,
    "8 bytes": 8,
    "16 bytes": 16,
    "2 zero": 2,
    "3 zero": 3,
}


class VectorTests(SynchronousTestCase):
    """The golden vectors, run from the page."""

    def test_values_become_the_printed_bytes(self) -> None:
        """Who builds the values of a vector, by codec or by schema, gets its bytes."""
        for section in document.sections():
            for vector in section.vectors:
                written = codec.encode(vector.message, vector.frame, vector.ack)
                self.assertEqual(written.hex(" "), vector.raw.hex(" "), section.name)
                built = schema.build(vector.message, vector.frame, vector.ack)
                self.assertEqual(built.hex(" "), vector.raw.hex(" "), section.name)

    def test_the_printed_bytes_become_the_values(self) -> None:
        """Who reads the bytes of a vector, by codec or by schema, gets its values."""
        for section in document.sections():
            for vector in section.vectors:
                self.assertEqual(codec.decode(vector.raw), vector.message)
                self.assertEqual(schema.parse(vector.raw), vector.message)
                head = codec.peek(vector.raw)
                self.assertEqual((head[9], head[12]), (vector.frame, vector.ack), section.name)

    def test_every_message_has_a_vector_of_its_own(self) -> None:
        """No section is without bytes, and none shows another message's."""
        for section in document.sections():
            shown = {vector.message.message_type for vector in section.vectors}
            self.assertEqual(shown, {MessageType[section.name]})

    def test_proofs_are_as_printed(self) -> None:
        """The example of proofs follows from the vectors of HELLO and the printed token."""
        dialler, listener = (vector.raw for vector in document.sections()[0].vectors)
        lines = document.proof_block()
        printed = dict(line.split() for line in lines[lines.index("--") + 1 :])
        transcript = hashlib.sha256(dialler + listener).digest()
        for letter, side in (
            ("D", access_token.Side.DIALLER),
            ("L", access_token.Side.LISTENER),
        ):
            text = b"atbus register" + letter.encode() + transcript
            self.assertEqual(hmac.digest(b"bus token", text, "sha256").hex(), printed[letter])
            proofs = access_token.prove(
                [b"bus token"], side, access_token.hash_transcript(dialler, listener)
            )
            self.assertEqual([proof.hex() for proof in proofs], [printed[letter]])

    def test_digests_are_as_printed(self) -> None:
        """The digests of section 7.17 and 7.18 follow from their vectors."""
        for section in document.sections():
            for vector in section.vectors[:1]:
                match vector.message:
                    case RouteBatch(records=(record,)):
                        self.assertIn(f"{digests.record_digest(record):#018x}", document.text())
                    case Interest(entries=(_, entry)):
                        self.assertIn(f"{digests.interest_digest(entry):#018x}", document.text())
                        zoned = section.vectors[1].message
                        assert isinstance(zoned, Interest)
                        digest = digests.interest_digest(
                            zoned.entries[0], read_zone(zoned.extras)
                        )
                        self.assertIn(f"{digest:#018x}", document.text())


class CompletenessTests(SynchronousTestCase):
    """Nothing is written that is not run, nothing is run that is not written."""

    def test_document_and_schema_have_the_same_messages(self) -> None:
        """Every message of the document is in the schema and vice versa, in the same order."""
        written = [section.name for section in document.sections()]
        self.assertEqual(written, [message_type.name for message_type in schema.BODIES])
        self.assertEqual(written, [message_type.name for message_type in MESSAGE_CLASSES])
        self.assertEqual(set(written), {message_type.name for message_type in MessageType})

    def test_the_table_of_types_is_right(self) -> None:
        """Number, receiver, fate when unknown, numbering and section of each type."""
        rows = document.chapter_table("2.3 Types")
        numbers = {section.name: section.number for section in document.sections()}
        expected = []
        for message_type in MESSAGE_CLASSES:
            receiver = "destination" if message_type.is_routed else "neighbor"
            if message_type is MessageType.PUBLISH:
                receiver = "neighbor, by subject"
            expected.append(
                [
                    f"0x{message_type.value:02x}",
                    message_type.name,
                    receiver,
                    "skipped" if message_type.is_ignorable else "refused",
                    "yes" if message_type.is_numbered else "no",
                    numbers[message_type.name],
                ]
            )
        self.assertEqual(rows, expected)

    def test_sections_say_number_and_numbering(self) -> None:
        """The list at the top of each section agrees with the type."""
        for section in document.sections():
            message_type = MessageType[section.name]
            self.assertEqual(section.fields["Number"], f"0x{message_type.value:02x}")
            numbered = "yes" if message_type.is_numbered else "no"
            self.assertEqual(section.fields["Numbered"], numbered, section.name)
            self.assertEqual(
                list(section.fields), ["Number", "From, to", "Sent", "Numbered", "Travels on"]
            )

    def test_code_cites_the_right_section(self) -> None:
        """The class of each message names the section that describes it."""
        for section in document.sections():
            cited = MESSAGE_CLASSES[MessageType[section.name]].__doc__ or ""
            self.assertIn(f"(wire protocol, section {section.number})", cited)

    def test_numbers_are_as_printed(self) -> None:
        """Flags, extras, capabilities and statuses have the numbers and names of their tables."""
        for title, members, form in (
            ("2.4 Flags", Flags, "0x{:02x}"),
            ("3.2 Assigned extras", ExtraType, "0x{:04x}"),
            ("3.6 Capabilities", Capability, "0x{:02x}"),
            ("9. Status", Status, "{}"),
        ):
            rows = [row[:2] for row in document.chapter_table(title)]
            expected = [[form.format(member.value), member.name] for member in members]
            self.assertEqual(rows, expected, title)

    def test_bounds_are_as_printed(self) -> None:
        """The table of bounds is that of the limits the code holds itself to."""
        frames = f"{limits.FRAME_BYTES_MIN:,} to {limits.FRAME_BYTES_MAX:,} bytes; "
        commands = f"{limits.COMMAND_BYTES:,} bytes"
        expected = {
            "frame before registration": f"{limits.HANDSHAKE_BYTES:,} bytes",
            "frame, by ``frame_max": f"{frames}{limits.FRAME_BYTES_NEAR:,} unless changed",
            "extras of one frame": f"{limits.EXTRAS_BYTES:,} bytes",
            "messages in one run": f"{limits.RUN_COUNT_MAX:,}",
            "subnets of one node": f"{limits.SUBNETS_MAX}",
            "addresses of one node; each": f"{limits.ADDRESSES_MAX}; {limits.ADDRESS_BYTES} bytes",
            "labels of one node; keys and values together": (
                f"{limits.LABELS_MAX}; {limits.LABELS_BYTES} bytes"
            ),
            "host, process; each": f"{limits.HOST_BYTES} bytes",
            "hostname": f"{limits.HOSTNAME_BYTES} bytes",
            "software": f"{limits.SOFTWARE_BYTES} bytes",
            "proofs of one node": f"{limits.ACCESS_TOKENS_MAX}, {limits.PROOF_BYTES} bytes each",
            "arguments of a command; together": f"{limits.COMMAND_ARGUMENTS_MAX}; {commands}",
            "lines of one COMMAND_RESPONSE; together": f"{limits.COMMAND_LINES_MAX:,}; {commands}",
            "ranges of one LINK_ACK": f"{limits.ACK_RANGES_MAX:,}",
            "records of one ROUTE_BATCH": f"{limits.ROUTE_BATCH_RECORDS_MAX:,}",
            "entries of one INTEREST": f"{limits.INTEREST_ENTRIES_MAX:,}",
            "documents of one SERVICE_BATCH": f"{bounds.SERVICE_ENTRIES_MAX:,}",
            "key of a document": f"{bounds.SERVICE_KEY_BYTES:,} bytes",
            "document": f"{bounds.SERVICE_VALUE_BYTES:,} bytes",
            "subject, reply subject, queue name; each": f"{limits.SUBJECT_BYTES} bytes",
            "detail": f"{limits.DETAIL_BYTES} bytes (cut, not refused)",
        }
        self.assertEqual(dict(document.chapter_table("10. Bounds")), expected)
        self.assertEqual(limits.HOST_BYTES, limits.PROCESS_BYTES)

    def test_numbers_for_experiments_are_free(self) -> None:
        """No message and no extra has a number that is kept for experiments."""
        self.assertEqual({0x3F, 0x7F, 0xBF, 0xFF} & set(map(int, MessageType)), set())
        self.assertEqual({0x7FFF, 0xFFFF} & set(map(int, ExtraType)), set())
        self.assertFalse(any(capability >> 48 for capability in Capability))


class LayoutTests(SynchronousTestCase):
    """The tables of layouts against the schema, field by field."""

    def test_the_head_is_as_printed(self) -> None:
        """Offsets, sizes and names of the head."""
        offset = 0
        expected = []
        for field in _fields(schema.HEAD):
            expected.append([str(offset), field.sizeof(), field.name])
            offset += field.sizeof()
        rows = [
            [at, _SIZES[kind], name] for at, kind, name, _ in document.chapter_table("2.2 Head")
        ]
        self.assertEqual(rows, expected)
        self.assertEqual(offset, 48)
        self.assertEqual(codec.HEAD.size, 48)

    def test_bodies_are_as_printed(self) -> None:
        """Names, order and sizes of the fields of every message."""
        for section in document.sections():
            layout = schema.BODIES[MessageType[section.name]]
            rows = section.tables[0] if section.tables else ()
            self._compare(section.name, rows, layout)

    def test_records_are_as_printed(self) -> None:
        """The table of a route record, whose first field is the record's own length."""
        (section,) = (s for s in document.sections() if s.name == "ROUTE_BATCH")
        self.assertEqual(section.tables[1][0], ("u16", "length"))
        self._compare("record", section.tables[1][1:], schema.RECORD)

    def _compare(
        self, name: str, rows: tuple[tuple[str, str], ...], layout: Construct[Any, Any]
    ) -> None:
        if name == "DATA":
            # A run is printed as its two parts.
            self.assertEqual([field for _, field in rows], ["table", "payloads"])
            layout = schema.RUN
        fields = list(_fields(layout))
        self.assertEqual(
            [field for kind, field in rows if not kind.endswith("zero")],
            [field.name or "magic" for field in fields if not isinstance(field, Padded)],
            name,
        )
        for (kind, field_name), field in zip(rows, fields, strict=True):
            if kind in _SIZES:
                self.assertEqual(field.sizeof(), _SIZES[kind], f"{name}.{field_name}")
            else:
                self.assertRaises(SizeofError, field.sizeof)


def _fields(layout: Any) -> Iterator[Any]:
    while not isinstance(layout, Struct):
        layout = layout.subcon
    for field in layout.subcons:
        # Terminated closes a body; it is no field of it.
        if field.name or field.flagbuildnone:
            inner = getattr(field, "subcon", field)
            if type(inner).__name__ != "Terminated" and type(field).__name__ != "Terminated":
                yield field
