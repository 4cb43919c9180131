"""Clients over WebSocket by the byte: frames that do not end, and those who do not read."""

from __future__ import annotations

from typing import Any

from atbus.nats import bounds
from atbus.nats.faults import Reason
from atbus.nats.gateway import Gateway
from tests.nats.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    UPGRADE,
    frame,
    frames_in,
)
from tests.nats.harbor import Caller, HarborTests
from tests.nats.transcripts import EOF, QUIET


class FrameCase(HarborTests):
    """A gateway with a listener for WebSocket."""

    def open(self, **nats: Any) -> Gateway:
        """Start a node with one."""
        return self.alone(websocket="127.0.0.1:8080", **nats)

    def browser(self, gateway: Gateway) -> Caller:
        """Come in, and hear INFO."""
        browser = Caller(self.network.clock, self.quays[gateway.node].ports[1])
        browser.says(UPGRADE)
        # One is answered in a turn.
        self.network.settle(0.01)
        answer, _, heard = browser.hears().partition(b"\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 101 "))
        [(_, info)] = frames_in(heard)
        self.assertTrue(info.startswith(b"INFO {"))
        return browser

    def heard(self, browser: Caller) -> bytes:
        """Give what is in the messages that came."""
        found = frames_in(browser.hears())
        self.assertEqual({opcode for opcode, _ in found} - {BINARY}, set())
        return b"".join(content for _, content in found)


class UnfinishedTests(FrameCase):
    """Frames and messages that have not ended."""

    def test_what_is_in_them_counts(self) -> None:
        """It is obeyed as it comes."""
        gateway = self.open()
        said = QUIET + b"SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n"
        for sent in (frame(said, says=1 << 32), frame(said, is_last=False)):
            browser = self.browser(gateway)
            for place in range(len(sent)):
                browser.says(sent[place : place + 1])
            self.assertEqual(self.heard(browser), b"MSG a 1 2\r\nhi\r\nPONG\r\n")
            browser.hangs_up()

    def test_after_the_login(self) -> None:
        """The bounds are those of clients over TCP: of a line, and of a payload."""
        gateway = self.open(payload_bytes_max=10_000)
        for begun, told in (
            (b"SUB " + b"a" * 5_000, b"-ERR 'maximum control line exceeded'\r\n"),
            (b"PUB a 10001\r\n", b"-ERR 'Maximum Payload Violation'\r\n"),
            (b"PUB a 9\r\n" + b"x" * 12, b"-ERR 'Unknown Protocol Operation'\r\n"),
        ):
            browser = self.browser(gateway)
            browser.says(frame(QUIET + begun, says=1 << 32))
            (_, line), (opcode, _) = frames_in(browser.hears())
            self.assertEqual((line, opcode), (told, CLOSE))
            self.network.settle(0.1)
            self.assertTrue(browser.is_gone)

    def test_much_in_one_read(self) -> None:
        """It is dealt with in turns, in order, and not read on meanwhile."""
        gateway = self.open()
        browser = self.browser(gateway)
        browser.says(frame(QUIET + b"SUB a 1\r\n"))
        count = bounds.PORTION_FRAMES * 3
        browser.says(b"".join(frame(b"PUB a 4\r\n%04d\r\n" % each) for each in range(count)))
        self.assertTrue(browser.is_unread)
        self.assertEqual(self.heard(browser).count(b"MSG"), bounds.PORTION_FRAMES)
        # What is heard anyway comes behind it, and so does the end.
        browser.says(frame(b"PUB a 4\r\nlast\r\n") + frame(b"", CLOSE))
        self.network.settle(1.0)
        found = frames_in(browser.hears().removesuffix(EOF))
        heard = b"".join(content for opcode, content in found if opcode == BINARY)
        numbers = [line for line in heard.split(b"\r\n")[1::2] if line]
        rest = range(bounds.PORTION_FRAMES, count)
        self.assertEqual(numbers, [*(b"%04d" % each for each in rest), b"last"])
        self.assertEqual(found[-1], (CLOSE, b""))
        self.assertTrue(browser.is_gone)

    def test_before_it_is_let_in(self) -> None:
        """Who sends frames behind his request, before it is answered, is closed."""
        gateway = self.open()
        browser = Caller(self.network.clock, self.quays[gateway.node].ports[1])
        browser.says(UPGRADE + frame(QUIET))
        self.network.settle(0.1)
        self.assertTrue(browser.is_gone)
        self.assertEqual(gateway.clients, {})
        cut = Caller(self.network.clock, self.quays[gateway.node].ports[1])
        for place in range(0, len(UPGRADE), 3):
            cut.says(UPGRADE[place : place + 3])
        self.network.settle(0.01)
        cut.says(frame(QUIET + b"PING\r\n"))
        self.assertTrue(cut.hears().endswith(b"PONG\r\n"))


class EndTests(FrameCase):
    """How connections end."""

    def test_the_client_closes(self) -> None:
        """It is answered, and noted down as a client that has closed."""
        gateway = self.open()
        browser = self.browser(gateway)
        browser.says(frame(QUIET + b"PING\r\n") + frame(b"\x03\xe8", CLOSE))
        self.network.settle(0.1)
        found = frames_in(browser.hears().removesuffix(EOF))
        self.assertEqual(found, [(BINARY, b"PONG\r\n"), (CLOSE, b"\x03\xe8")])
        self.assertEqual(gateway.closed[0].reason, Reason.CLIENT_CLOSED)

    def test_who_closes_and_does_not_read(self) -> None:
        """Publishers for it go on."""
        gateway = self.open(write_seconds=5.0)
        browser, publisher = self.browser(gateway), self.caller(gateway)
        browser.says(frame(QUIET + b"SUB a 1\r\n"))
        publisher.says(QUIET)
        browser.is_deaf = True
        publisher.says(b"PUB a 2\r\nhi\r\n")
        browser.says(frame(b"", CLOSE))
        publisher.says(b"PUB a 2\r\nho\r\nPING\r\n")
        self.network.settle(0.1)
        self.assertEqual(publisher.hears(), b"PONG\r\n")
        self.network.settle(6.0)
        self.assertEqual((publisher.is_gone, browser.is_gone), (False, True))

    def test_what_is_no_frame(self) -> None:
        """It is told so, and closed."""
        gateway = self.open()
        for said in (b"\x82\x04PING", frame(b"x", CONTINUATION)):
            browser = self.browser(gateway)
            browser.says(said)
            self.network.settle(0.1)
            [(opcode, content)] = frames_in(browser.hears().removesuffix(EOF))
            self.assertEqual((opcode, content[:2]), (CLOSE, b"\x03\xea"))
            self.assertTrue(browser.is_gone)
        self.assertEqual(gateway.closed[0].reason, Reason.PROTOCOL_VIOLATION)

    def test_too_many(self) -> None:
        """One more than there may be is told so."""
        gateway = self.open(connections_max=1)
        self.caller(gateway)
        browser = Caller(self.network.clock, self.quays[gateway.node].ports[1])
        browser.says(UPGRADE)
        self.network.settle(0.1)
        found = frames_in(browser.hears().removesuffix(EOF).partition(b"\r\n\r\n")[2])
        said = b"".join(content for _, content in found)
        self.assertIn(b"-ERR 'maximum connections exceeded'\r\n", said)
        self.assertEqual(found[-1], (CLOSE, b"\x03\xf0Maximum Connections Exceeded"))


class SlowTests(FrameCase):
    """Clients that take little of what they are sent, or nothing."""

    def test_something_moves(self) -> None:
        """Who takes a byte now and then is served, until he takes none for as long."""
        gateway = self.open(write_seconds=5.0)
        browser, publisher = self.browser(gateway), self.caller(gateway)
        browser.says(frame(QUIET + b"SUB a 1\r\n"))
        browser.is_deaf = True
        publisher.says(QUIET + b"PUB a 200\r\n%b\r\n" % bytes(200))
        for _ in range(20):
            self.network.settle(4.0)
            browser.takes(1)
        self.assertFalse(browser.is_gone)
        self.network.settle(6.5)
        self.assertTrue(browser.is_gone)


class AnswerTests(FrameCase):
    """Control frames that want an answer."""

    def test_each_has_one(self) -> None:
        """The answer says the same."""
        browser = self.browser(self.open())
        browser.says(frame(b"1", PING) + frame(b"2", PING) + frame(b"3", PONG))
        self.assertEqual(frames_in(browser.hears()), [(PONG, b"1"), (PONG, b"2")])

    def test_who_does_not_read(self) -> None:
        """Only the last one waits for it."""
        gateway = self.open()
        browser = self.browser(gateway)
        browser.is_deaf = True
        for number in range(5_000):
            browser.says(frame(b"%d" % number, PING))
        browser.listens()
        self.assertEqual(frames_in(browser.hears()), [(PONG, b"0"), (PONG, b"4999")])
