"""What clients send, cut as the network likes."""

from __future__ import annotations

from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats import grammar as grammar_module
from atbus.nats.faults import Fault
from atbus.nats.grammar import (
    Broken,
    Connect,
    Grammar,
    Operation,
    Ping,
    Pong,
    Publish,
    PublishRun,
    Subscribe,
    Unsubscribe,
)

WORDS = st.text("abc.*>", min_size=1, max_size=12).map(str.encode)
PAYLOADS = st.binary(max_size=40)
HEADERS = st.binary(max_size=20)

OPERATIONS = st.one_of(
    st.builds(Publish, WORDS, WORDS | st.just(b""), HEADERS | st.none(), PAYLOADS),
    st.builds(Subscribe, WORDS, WORDS | st.just(b""), WORDS),
    st.builds(Unsubscribe, WORDS, st.integers(0, 999_999_999)),
    st.just(Connect(b'{"verbose":false}')),
    st.just(Ping()),
    st.just(Pong()),
)


def write(operation: Operation) -> bytes:
    """Write an operation as a client does."""
    match operation:
        case Publish(subject, reply, None, payload):
            return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
        case Publish(subject, reply, bytes() as header, payload):
            total = len(header) + len(payload)
            head = b"HPUB %b %b %d %d\r\n" % (subject, reply, len(header), total)
            return head + header + payload + b"\r\n"
        case Subscribe(subject, queue, sid):
            return b"SUB %b %b %b\r\n" % (subject, queue, sid)
        case Unsubscribe(sid, most):
            return b"UNSUB %b %d\r\n" % (sid, most) if most else b"UNSUB %b\r\n" % sid
        case Connect(options):
            return b"CONNECT %b\r\n" % options
        case Ping():
            return b"PING\r\n"
        case _:
            return b"PONG\r\n"


def read(grammar: Grammar, stream: bytes, sizes: list[int]) -> list[Operation]:
    """Read a stream that comes in chunks of these sizes, and the rest; runs one by one."""
    found = []
    for size in sizes:
        found += grammar.feed(stream[:size])
        stream = stream[size:]
    found += grammar.feed(stream)
    while grammar.is_unread:
        found += grammar.feed(b"")
    single: list[Operation] = []
    for operation in found:
        if isinstance(operation, PublishRun):
            subject, payloads = operation
            single += [Publish(subject, b"", None, payload) for payload in payloads]
        else:
            single.append(operation)
    return single


class StreamTests(SynchronousTestCase):
    """Operations in a row."""

    @given(st.lists(OPERATIONS, max_size=8), st.lists(st.integers(0, 30), max_size=20))
    @settings(deadline=None)
    def test_cuts_do_not_matter(self, operations: list[Operation], sizes: list[int]) -> None:
        """Whatever clients write is read again, however the network cuts it."""
        stream = b"".join(map(write, operations))
        self.assertEqual(read(Grammar(), stream, sizes), operations)

    @given(st.binary(max_size=200), st.lists(st.integers(0, 30), max_size=20))
    @settings(deadline=None)
    def test_noise_is_no_trouble(self, noise: bytes, sizes: list[int]) -> None:
        """Any bytes are read, kept or refused; where they are cut changes nothing of it."""
        self.assertEqual(read(Grammar(), noise, sizes), read(Grammar(), noise, []))

    def test_a_row_on_one_subject_is_read_at_once(self) -> None:
        """Payloads of any lengths are one run, until there is another subject or operation."""
        row = [Publish(b"a", b"", None, payload) for payload in (b"1", b"2", b"", b"333", b"444")]
        alone = Publish(b"b", b"", None, b"5")
        asking = Publish(b"a", b"r", None, b"6")
        headed = Publish(b"a", b"", b"h", b"7")
        said: list[Operation] = [*row, alone, asking, *row, headed, *row, Ping(), row[0]]
        stream = b"".join(map(write, said))
        run = PublishRun(b"a", [each.payload for each in row])
        self.assertEqual(
            Grammar().feed(stream), [run, alone, asking, run, headed, run, Ping(), row[0]]
        )

    def test_a_row_that_is_cut_short(self) -> None:
        """What of a row is whole is read; the rest waits, or is a fault."""
        grammar = Grammar()
        line = b"PUB a 2\r\n"
        found = grammar.feed(line + b"11\r\n" + line + b"22\r\n" + line + b"3")
        self.assertEqual(found, [PublishRun(b"a", [b"11", b"22"])])
        self.assertEqual(grammar.feed(b"3\r\n"), [Publish(b"a", b"", None, b"33")])
        found = grammar.feed(line + b"44\r\n" + line + b"55!\r\n")
        wrong = Broken(Fault.UNKNOWN_OPERATION, b"a")
        self.assertEqual(found, [Publish(b"a", b"", None, b"44"), wrong])

    def test_nothing_is_read_with_a_connect(self) -> None:
        """What is behind a CONNECT waits, because that may change how it is to be read."""
        grammar = Grammar(knows_headers=False)
        found = grammar.feed(b"PING\r\nCONNECT {}\r\nHPUB a 0 0\r\n\r\n")
        self.assertEqual(found, [Ping(), Connect(b"{}")])
        self.assertTrue(grammar.is_unread)
        grammar.knows_headers = True
        self.assertEqual(grammar.feed(b""), [Publish(b"a", b"", b"", b"")])
        self.assertFalse(grammar.is_unread)
        grammar.knows_headers = False
        self.assertEqual(grammar.feed(b"HPUB a 0 2\r\n"), [Broken(Fault.MALFORMED)])

    def test_nothing_is_read_after_a_fault(self) -> None:
        """What follows something that cannot be understood is not looked at."""
        grammar = Grammar()
        self.assertEqual(grammar.feed(b"FOO\r\nPING\r\n"), [Broken(Fault.UNKNOWN_OPERATION)])
        self.assertEqual(grammar.feed(b"PING\r\n"), [])

    def test_a_payload_in_small_pieces_costs_no_copies(self) -> None:
        """A large payload that comes byte by byte is put together once, at its end."""
        grammar = Grammar()
        size = 100_000
        grammar.feed(b"PUB a %d\r\n" % size)
        for _ in range(size):
            self.assertEqual(grammar.feed(b"x"), [])
        self.assertTrue(len(grammar._held) > size)
        self.assertEqual(grammar.feed(b"\r\n"), [Publish(b"a", b"", None, b"x" * size)])
        self.assertEqual(grammar._held, [])


class PortionTests(SynchronousTestCase):
    """What is read at once of very many operations."""

    def portions(self, grammar: Grammar, stream: bytes) -> list[list[Operation]]:
        """Read all of a stream, portion by portion."""
        found = [grammar.feed(stream)]
        while grammar.is_unread:
            found.append(grammar.feed(b""))
        return found

    def test_many_operations(self) -> None:
        """A portion has so many operations at most, and all are read, in order."""
        said = [Subscribe(b"a", b"", b"%d" % number) for number in range(3_000)]
        grammar = Grammar()
        found = self.portions(grammar, b"".join(map(write, said)) + b"PIN")
        self.assertEqual([len(each) for each in found], [512] * 5 + [440])
        self.assertEqual(list(chain.from_iterable(found)), said)
        self.assertEqual(grammar.feed(b"G\r\n"), [Ping()])
        self.assertEqual(bounds.PORTION_OPERATIONS, 512)

    def test_many_messages_in_a_row(self) -> None:
        """Messages on one subject count less, in one row and in many."""
        most = (bounds.PORTION_OPERATIONS + 1) * bounds.PORTION_ALIKE
        row, other = b"PUB a 0\r\n\r\n", b"PUB b 0\r\n\r\n"
        for stream, least in (
            (row * 20_000, most - 3 * bounds.PORTION_ALIKE),
            ((row * 100 + other * 100) * 100, most // 2),
            ((row + other) * 2_000, bounds.PORTION_OPERATIONS),
        ):
            counts = []
            for portion in self.portions(Grammar(), stream):
                count = sum(
                    len(each.payloads) if isinstance(each, PublishRun) else 1 for each in portion
                )
                self.assertLessEqual(count, most)
                counts.append(count)
            self.assertEqual(sum(counts), len(stream) // len(row))
            self.assertGreaterEqual(min(counts[:-1]), least)

    @given(st.lists(OPERATIONS, max_size=20), st.lists(st.integers(0, 99), max_size=20))
    @settings(deadline=None)
    def test_portions_do_not_matter(self, operations: list[Operation], sizes: list[int]) -> None:
        """What comes while something is unread is read behind it."""
        stream = b"".join(map(write, operations))
        most, grammar_module._COUNT_MAX = grammar_module._COUNT_MAX, 2  # type: ignore[misc]
        try:
            self.assertEqual(read(Grammar(), stream, sizes), operations)
        finally:
            grammar_module._COUNT_MAX = most  # type: ignore[misc]

    def test_a_fault_behind_a_portion(self) -> None:
        """Nothing is unread behind the end of what can be understood."""
        grammar = Grammar()
        found = self.portions(grammar, b"PING\r\n" * 600 + b"FOO\r\nPING\r\n")
        self.assertEqual(found[-1][-1], Broken(Fault.UNKNOWN_OPERATION))
        self.assertEqual(sum(map(len, found)), 601)
        self.assertEqual(grammar.feed(b"PING\r\n"), [])


class WordTests(SynchronousTestCase):
    """What separates the words of a line."""

    def test_blanks_and_tabs(self) -> None:
        """Nothing else does, whatever it is in a text."""
        for byte in (b"\v", b"\f", b"\x1c", b"\x85", b"\xa0", b"\0"):
            word = b"a" + byte + b"b"
            for says, wanted in (
                (b"SUB %b 1\r\n", Subscribe(word, b"", b"1")),
                (b"SUB \t a %b  1\t\r\n", Subscribe(b"a", word, b"1")),
                (b"UNSUB %b\r\n", Unsubscribe(word, 0)),
                (b"PUB %b 2\r\nhi\r\n", Publish(word, b"", None, b"hi")),
                (b"PUB \ta\t%b 2 \nhi\r\n", Publish(b"a", word, None, b"hi")),
                (b"HPUB %b 1 2\r\nhi\r\n", Publish(word, b"", b"h", b"i")),
                (b"PUB a 2%b\r\nhi\r\n", Broken(Fault.MALFORMED)),
            ):
                self.assertEqual(Grammar().feed(says % word), [wanted], says)

    def test_returns(self) -> None:
        """A CR inside separates the words of SUB and UNSUB, and belongs to those of PUB."""
        for says, wanted in (
            (b"SUB a\r1\r\r\n", Subscribe(b"a", b"", b"1")),
            (b"SUB a\v\r1\r\n", Subscribe(b"a\v", b"", b"1")),
            (b"UNSUB 1\r2\r\n", Unsubscribe(b"1", 2)),
            (b"PUB a b\r 2\r\nhi\r\n", Publish(b"a", b"b\r", None, b"hi")),
            (b"PUB a\r2\r\nhi\r\n", Broken(Fault.MALFORMED)),
            (b"PUB a 2\r\r\nhi\r\n", Broken(Fault.MALFORMED)),
            (b"HPUB a 1 2\r\r\nhi\r\n", Broken(Fault.MALFORMED)),
        ):
            self.assertEqual(Grammar().feed(says), [wanted], says)


class ConnectFirstTests(SynchronousTestCase):
    """Who has to say who he is."""

    def test_one_letter_is_enough(self) -> None:
        """What does not begin as CONNECT is not allowed; what does and is none is no verb."""
        for says, fault in (
            *((each, Fault.NOT_AUTHORIZED) for each in (b"P", b"INFO {}\r\n", b"+OK\r\n", b"\n")),
            (b"CX", Fault.UNKNOWN_OPERATION),
            (b"coPING\r\n", Fault.UNKNOWN_OPERATION),
            (b"CONNECT " + b"x" * 5_000, Fault.LINE_TOO_LONG),
        ):
            for sizes in ([], [1], [1] * len(says)):
                found = read(Grammar(awaits_connect=True), says, sizes)
                self.assertEqual(found, [Broken(fault)], says)

    def test_behind_it_everything_is_allowed(self) -> None:
        """One CONNECT is enough, in the same piece as well."""
        said = b"connect {}\r\n+OK\r\nPING\r\n"
        for sizes in ([], [1] * len(said)):
            found = read(Grammar(awaits_connect=True), said, sizes)
            self.assertEqual(found, [Connect(b"{}"), Ping()])


class BoundTests(SynchronousTestCase):
    """What one client may make us hold."""

    def test_a_payload_is_refused_before_it_comes(self) -> None:
        """A size above the limit is refused when its line is read; the limit itself is not."""
        grammar = Grammar(payload_bytes_max=10)
        whole = [Publish(b"a", b"", None, b"0123456789")]
        self.assertEqual(grammar.feed(b"PUB a 10\r\n0123456789\r\n"), whole)
        self.assertEqual(grammar.feed(b"PUB a 11\r\n"), [Broken(Fault.PAYLOAD_TOO_LARGE)])

    def test_headers_count_as_payload(self) -> None:
        """The limit is for header and payload together."""
        grammar = Grammar(payload_bytes_max=13)
        self.assertEqual(grammar.feed(b"HPUB a 12 14\r\n"), [Broken(Fault.PAYLOAD_TOO_LARGE)])

    def test_lines_without_an_end_are_refused(self) -> None:
        """Of no verb is more than the limit held, however little comes at a time."""
        for verb in (b"PUB ", b"SUB ", b"CONNECT ", b"INFO ", b"-ERR "):
            grammar = Grammar()
            grammar.feed(verb)
            found: list[Operation] = []
            for _ in range(bounds.LINE_BYTES + 10):
                found = found or grammar.feed(b"x")
            self.assertEqual(found, [Broken(Fault.LINE_TOO_LONG)], verb)

    def test_cuts_do_not_matter_for_the_limit(self) -> None:
        """Whether a line is too long is the same for one that comes at once and for one in two."""
        for verb in (b"PUB ", b"HPUB ", b"SUB ", b"UNSUB ", b"CONNECT ", b"INFO ", b"-ERR "):
            for count in (bounds.LINE_BYTES, bounds.LINE_BYTES + 1):
                line = verb + b"x" * count + b"\r\n"
                whole = Grammar().feed(line)
                is_long = whole == [Broken(Fault.LINE_TOO_LONG)]
                self.assertEqual(is_long, count > bounds.LINE_BYTES, verb)
                for cut in range(len(verb), len(line), 501):
                    self.assertEqual(read(Grammar(), line, [cut]), whole, (verb, cut))

    def test_what_stands_behind_ping_is_not_held(self) -> None:
        """What has no argument may have anything behind it, and nothing of that is kept."""
        for verb, found in ((b"PING", [Ping()]), (b"pong ", [Pong()]), (b"+OK\t", [])):
            grammar = Grammar()
            self.assertEqual(grammar.feed(verb), [])
            for _ in range(20):
                self.assertEqual(grammar.feed(b"x" * 5_000), [])
            self.assertEqual(grammar._held, [verb[: len(verb.strip())]])
            self.assertEqual(grammar.feed(b"\r\nPING\r\n"), [*found, Ping()])
            self.assertEqual(Grammar().feed(verb + b"x" * 100_000 + b"\r\n"), found)

    def test_nonsense_is_refused_at_once(self) -> None:
        """What no verb begins with is refused before its line ends."""
        for begin in (b"X", b"PX", b"CONNECX", b"\x00", b"SUBX", b" "):
            self.assertEqual(Grammar().feed(begin), [Broken(Fault.UNKNOWN_OPERATION)], begin)

    def test_a_payload_that_goes_on_is_refused_at_once(self) -> None:
        """One byte behind the payload that is no line end is enough."""
        grammar = Grammar()
        self.assertEqual(grammar.feed(b"PUB a 2\r\nhi"), [])
        self.assertEqual(grammar.feed(b"X"), [Broken(Fault.UNKNOWN_OPERATION, b"a")])

    def test_an_end(self) -> None:
        """After its end nothing of what was begun or unread is left, and nothing more is read."""
        for begun in (b"PUB a 2\r\nh", b"CONNECT {}\r\nPUB a 2\r\nhi\r\n"):
            grammar = Grammar()
            grammar.feed(begun)
            grammar.end()
            self.assertFalse(grammar.is_unread)
            self.assertEqual(grammar.feed(b"i\r\nPING\r\n"), [])
