"""Outcomes and exceptions: what they are called, what they carry, what they say."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.errors import (
    AddressError,
    AtbusError,
    BusIdError,
    ChannelBroken,
    ChannelClosed,
    ConfigurationError,
    ConnectFailed,
    DiscoveryConflict,
    DiscoveryError,
    FrameTooLarge,
    ListenFailed,
    LocalProtocolError,
    MalformedFrame,
    OutOfTurn,
    RecordError,
    RegistrationRefused,
    RemoteProtocolError,
    Status,
    SubjectError,
    SubscriptionRefused,
    Undeliverable,
    UnknownMandatory,
    printable,
)
from atbus.libatbus import LIBATBUS_CODES, libatbus_text

DOCUMENT = Path(__file__).parent.parent / "docs" / "reference" / "errors.rst"

#: One of each, and what it says.
SENTENCES: list[tuple[AtbusError, str]] = [
    (LocalProtocolError("sent before open"), "sent before open"),
    (LocalProtocolError(), "this side was asked to break the protocol"),
    (RemoteProtocolError(Status.NOT_ATBUS, "this is HTTP"), "NOT_ATBUS: this is HTTP"),
    (MalformedFrame("47 bytes"), "MALFORMED_FRAME: 47 bytes"),
    (FrameTooLarge("2 > 1"), "FRAME_TOO_LARGE: 2 > 1"),
    (OutOfTurn(), "OUT_OF_TURN"),
    (UnknownMandatory("type 99"), "UNKNOWN_MANDATORY: type 99"),
    (
        RegistrationRefused(Status.ID_CONFLICT, "0x5 is alive", by_peer=True),
        "registration refused by the other side: ID_CONFLICT: 0x5 is alive",
    ),
    (
        RegistrationRefused(Status.ACCESS_DENIED),
        "registration refused by this side: ACCESS_DENIED",
    ),
    (
        RegistrationRefused(Status.LINK_LOST, "the connection was lost"),
        "registration came to nothing: LINK_LOST: the connection was lost",
    ),
    (Undeliverable(Status.NO_ROUTE, 0x12345678), "message for 0x12345678: NO_ROUTE"),
    (
        Undeliverable(Status.HOP_LIMIT, 0x5, 7, 0x9, "16 hops"),
        "message 7 for 0x5 at 0x9: HOP_LIMIT: 16 hops",
    ),
    (
        SubscriptionRefused(Status.NO_RIGHT, 0, 0, 0x9, "a rule", "a.>", "g"),
        "subscription to 'a.>' in group 'g' refused at 0x9: NO_RIGHT: a rule",
    ),
    (ChannelClosed(), "channel closed"),
    (ChannelBroken("connection reset"), "channel broken: connection reset"),
    (
        ListenFailed(parse_address("ipv4://127.0.0.1:80"), "permission denied"),
        "cannot listen on ipv4://127.0.0.1:80: permission denied",
    ),
    (ConnectFailed("unix:///x", "no such file"), "cannot connect to unix:///x: no such file"),
    (DiscoveryError("etcd: range"), "discovery failed: etcd: range"),
    (
        DiscoveryConflict("etcd", "/bus/0x5", "b@host"),
        "ID_CONFLICT: etcd: /bus/0x5 is that of b@host",
    ),
    (DiscoveryConflict(key="/bus/0x5"), "ID_CONFLICT: /bus/0x5 is that of another"),
    (ConfigurationError(["no id"]), "1 fault in the configuration: no id"),
    (ConfigurationError(["no id", "no"]), "2 faults in the configuration: no id; no"),
    (AddressError("x", "no scheme://"), "'x' is not an address: no scheme://"),
    (BusIdError("x", "no number"), "'x' is not a bus id or subnet: no number"),
    (SubjectError("a..b", "too few letters"), "'a..b' cannot be used: too few letters"),
    (RecordError(0x5, "host", "too long"), "record of 0x5: host: too long"),
]


class StatusTests(SynchronousTestCase):
    """One name for every outcome."""

    def test_kind_follows_from_the_number(self) -> None:
        """Each outcome is success or of exactly one kind, by its number alone."""
        for status in Status:
            is_end = 128 <= status <= 191
            kinds = [status is Status.OK, status.is_refusal, status.is_fate, status.is_breach]
            self.assertEqual([*kinds, is_end].count(True), 1, status)

    def test_known_numbers_are_read(self) -> None:
        """A number that we know is the member that was sent."""
        for status in Status:
            self.assertIs(Status.from_wire(int(status)), status)

    def test_unknown_numbers_keep_their_kind(self) -> None:
        """A newer node's outcome is read as the most general one of the same kind."""
        for number, status in (
            (31, Status.NOT_ADMITTED),
            (95, Status.NO_ROUTE),
            (127, Status.MALFORMED_FRAME),
            (191, Status.LINK_LOST),
        ):
            self.assertIs(Status.from_wire(number), status)

    @settings(deadline=None)
    @given(st.integers(min_value=1, max_value=191))
    def test_no_number_changes_its_kind(self, number: int) -> None:
        """Whatever number comes, a refusal is read as a refusal and a fate as a fate."""
        status = Status.from_wire(number)
        self.assertEqual(status.is_refusal, number <= 31)
        self.assertEqual(status.is_fate, 32 <= number <= 95)
        self.assertEqual(status.is_breach, 96 <= number <= 127)

    @settings(deadline=None)
    @given(st.integers(min_value=0, max_value=65535))
    def test_only_zero_is_success(self, number: int) -> None:
        """No unknown number is ever taken for success."""
        self.assertEqual(Status.from_wire(number) is Status.OK, number == 0)


class ExceptionTests(SynchronousTestCase):
    """What is raised carries values and says one sentence."""

    def test_sentences(self) -> None:
        """Each exception says what happened from the values it carries."""
        for error, sentence in SENTENCES:
            self.assertEqual(str(error), sentence)

    def test_every_exception_is_shown(self) -> None:
        """The list above leaves out no class of this module."""

        def below(parent: type[AtbusError]) -> set[type[AtbusError]]:
            found = set(parent.__subclasses__())
            return found.union(*(below(child) for child in found))

        ours = {each for each in below(AtbusError) if each.__module__ == AtbusError.__module__}
        self.assertEqual({type(error) for error, _ in SENTENCES}, ours)

    def test_breaches_have_their_status(self) -> None:
        """Each kind of breach is caught as one, and knows what to tell the other side."""
        for error, status in (
            (MalformedFrame("x"), Status.MALFORMED_FRAME),
            (FrameTooLarge("x"), Status.FRAME_TOO_LARGE),
            (OutOfTurn("x"), Status.OUT_OF_TURN),
            (UnknownMandatory("x"), Status.UNKNOWN_MANDATORY),
        ):
            self.assertIsInstance(error, RemoteProtocolError)
            self.assertEqual((error.status, error.detail), (status, "x"))
            self.assertTrue(error.status.is_breach)

    def test_undeliverable_has_two_names_for_why(self) -> None:
        """The reason of an undeliverable message is its status."""
        error = Undeliverable(Status.BACKPRESSURE, 0x5)
        self.assertIs(error.reason, error.status)
        self.assertEqual((error.sequence, error.gave_up_at, error.detail), (0, 0, ""))

    def test_texts_are_values(self) -> None:
        """Errors of reading keep what was read, and are value errors too."""
        for error in (AddressError("x", "y"), BusIdError("x", "y"), SubjectError("x", "y")):
            self.assertIsInstance(error, ValueError)
            self.assertEqual((error.text, error.fault), ("x", "y"))

    def test_long_texts_are_cut(self) -> None:
        """A wrong text of any length makes a sentence of one line."""
        sentence = str(AddressError("x" * 100_000, "too long"))
        self.assertLess(len(sentence), 200)
        self.assertIn("...", sentence)

    def test_hostile_texts_are_escaped(self) -> None:
        """Nothing that another node says can break a log line or move a terminal's cursor."""
        hostile = "ok\r\n\x1b[2J\u202e\ud800"
        for error in (
            RemoteProtocolError(Status.NOT_ATBUS, hostile),
            RegistrationRefused(Status.NOT_ADMITTED, hostile, by_peer=True),
            Undeliverable(Status.NO_ROUTE, 1, detail=hostile),
            SubscriptionRefused(Status.NO_RIGHT, 0, 0, 1, hostile, hostile, hostile),
            ConnectFailed(hostile, hostile),
            ConfigurationError([hostile]),
            AddressError(hostile, hostile),
            RecordError(1, hostile, hostile),
            LocalProtocolError(hostile),
        ):
            self.assertTrue(str(error).isprintable(), repr(str(error)))

    @settings(deadline=None)
    @given(st.text())
    def test_escaping_keeps_what_can_be_printed(self, text: str) -> None:
        """Printable text stays as it is; other text becomes printable."""
        self.assertTrue(printable(text).isprintable())
        if text.isprintable():
            self.assertEqual(printable(text), text)

    def test_survive_pickling(self) -> None:
        """An exception can cross a process border, as test runners and pools do it."""
        for error, sentence in SENTENCES:
            again = pickle.loads(pickle.dumps(error))
            self.assertIs(type(again), type(error))
            self.assertEqual(str(again), sentence)


class DocumentTests(SynchronousTestCase):
    """The reference document and the enum say the same."""

    def rows(self) -> list[list[str]]:
        """Read the rows of all tables, without their heads."""
        tables = re.split(r"^\.\. list-table::$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
        rows = []
        for table in tables:
            # A table ends where the text is no longer indented.
            body = re.split(r"^\S", table, maxsplit=1, flags=re.MULTILINE)[0]
            _, _, *found = re.split(r"^   \* - ", body, flags=re.MULTILINE)
            rows += [
                [" ".join(cell.split()) for cell in re.split(r"\n     - ", row)] for row in found
            ]
        return rows

    def test_every_member_is_documented_once(self) -> None:
        """The tables list each member with its number, in order, and nothing else."""
        listed = [(name.strip("`"), int(number)) for name, number, *_ in self.rows()]
        self.assertEqual(listed, [(status.name, int(status)) for status in Status])

    def test_every_cell_is_filled(self) -> None:
        """Each member has its meaning and who sees it."""
        for row in self.rows():
            self.assertEqual(len(row), 5, row)
            for cell in row:
                self.assertTrue(cell, row)

    def test_codes_are_those_of_the_table(self) -> None:
        """The documented code and name of libatbus are those the package gives."""
        for name, _, _, _, libatbus in self.rows():
            code = LIBATBUS_CODES[Status[name.strip("`")]]
            expected = libatbus_text(code).partition("(")[0].removeprefix("EN_ATBUS_ERR_")
            self.assertEqual(libatbus, f"{code} ``{expected}``")

    def test_every_exception_is_documented(self) -> None:
        """The document names each exception."""
        text = DOCUMENT.read_text()
        for error, _ in SENTENCES:
            self.assertIn(f"``{type(error).__name__}``", text)
