"""Tests of `atbus.nats.leaf_session`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.leaf_session import Effect, LeafSession, LeafTerms
from atbus.nats.server_grammar import Interest
from atbus.nats.server_session import Answered, Close, Opened, StartTls, State, Write

HELLO = b'INFO {"client_id":1,"leafnode_urls":[]}\r\n'


def dialer(*, tls: bool = False) -> LeafSession:
    """Make the side that has dialed."""
    return LeafSession(LeafTerms(about={"name": "us"}, is_hub=False, tls=tls))


def hub(*, admits: bool = True) -> LeafSession:
    """Make the side that has accepted."""
    terms = LeafTerms(about={"client_id": 1}, is_hub=True, loop_subject="$LDS.us")
    return LeafSession(terms, lambda _: admits)


def written(effects: list[Effect]) -> bytes:
    """Give what is sent."""
    return b"".join(effect.data for effect in effects if isinstance(effect, Write))


class DialerTests(SynchronousTestCase):
    """A node that is a leaf."""

    def test_it_joins(self) -> None:
        """It says who it is when it has heard INFO, and takes part when it is answered."""
        session = dialer()
        self.assertEqual(session.open(0.0), [])
        said = written(session.receive(HELLO, 0.0))
        self.assertEqual(said, b'CONNECT {"name":"us"}\r\nPING\r\n')
        found = session.receive(b'INFO {"connect_info":true}\r\nLS+ a\r\nPONG\r\n', 0.0)
        self.assertEqual(found, [Opened(), Interest("a", "", 1)])

    def test_tls_comes_before_connect(self) -> None:
        """Where the server wants TLS, it begins before credentials are sent."""
        session = dialer(tls=True)
        session.open(0.0)
        text = HELLO.replace(b"{", b'{"tls_required":true,')
        self.assertEqual(session.receive(text, 0.0)[0], StartTls())

    def test_no_tls_no_credentials(self) -> None:
        """A server that wants TLS gets nothing from a node that has none."""
        session = dialer()
        session.open(0.0)
        effects = session.receive(HELLO.replace(b"{", b'{"tls_required":true,'), 0.0)
        self.assertEqual(written(effects), b"")
        self.assertIsInstance(effects[-1], Close)

    def test_a_port_for_clients(self) -> None:
        """A port that is not for leafs is not tried again soon."""
        session = dialer()
        session.open(0.0)
        closed = session.receive(b'INFO {"client_id":1}\r\n', 0.0)
        self.assertEqual(closed, [Close("this is no port for leafs", is_lasting=True)])

    def test_a_loop_is_not_tried_again_soon(self) -> None:
        """When the server has found a loop, the node waits long."""
        session = dialer()
        session.open(0.0)
        session.receive(HELLO, 0.0)
        (closed,) = session.receive(b"-ERR 'Loop detected for leafnode account=\"$G\"'\r\n", 0.0)
        assert isinstance(closed, Close)
        self.assertTrue(closed.is_lasting)


class HubTests(SynchronousTestCase):
    """A node that lets leafs in."""

    def joined(self) -> LeafSession:
        """Let one in."""
        session = hub()
        session.open(0.0)
        session.receive(b'CONNECT {"name":"them"}\r\n', 0.0)
        return session

    def test_it_lets_in(self) -> None:
        """A leaf hears INFO, and after CONNECT that it is in."""
        session = hub()
        self.assertEqual(written(session.open(0.0)), b'INFO {"client_id":1}\r\n')
        effects = session.receive(b'CONNECT {"name":"them"}\r\n', 0.0)
        self.assertIn(Opened(), effects)
        self.assertIn(b'"connect_info":true', written(effects))

    def test_wrong_credentials(self) -> None:
        """Who cannot show what he must is told so."""
        session = hub(admits=False)
        session.open(0.0)
        effects = session.receive(b"CONNECT {}\r\nLS+ a\r\n", 0.0)
        self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")
        self.assertEqual(len(effects), 2)

    def test_nothing_counts_before_connect(self) -> None:
        """Who has not said who he is can neither ask for anything nor send."""
        for text in (b"LS+ a\r\n", b"LMSG a 0\r\n\r\n"):
            session = hub()
            session.open(0.0)
            effects = session.receive(text, 0.0)
            self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")

    def test_nothing_is_held_of_a_stranger(self) -> None:
        """A message of any length, of somebody who has not said who he is, is not waited for."""
        session = hub()
        session.open(0.0)
        effects = session.receive(b"LMSG a 60000000\r\nbegins", 0.0)
        self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")
        self.assertIs(session.state, State.CLOSED)
        known = self.joined()
        self.assertEqual(known.receive(b"LMSG a 60000000\r\nbegins", 0.0), [])
        self.assertEqual(known.held_bytes, len(b"LMSG a 60000000\r\nbegins"))

    def test_a_client(self) -> None:
        """A client of NATS is told that this is no port for it."""
        session = hub()
        session.open(0.0)
        said = written(session.receive(b'CONNECT {"lang":"go"}\r\n', 0.0))
        self.assertEqual(said, b"-ERR 'attempted to connect to leaf node port'\r\n")

    def test_a_loop(self) -> None:
        """Who is told the subject that is his own has himself behind the leaf."""
        effects = self.joined().receive(b"LS+ $LDS.us\r\n", 0.0)
        said = b"-ERR 'Loop detected for leafnode account=\"$G\"'\r\n"
        self.assertEqual(written(effects), said)

    def test_system_subjects_stay_outside(self) -> None:
        """What servers of NATS want of each other is not for the bus."""
        self.assertEqual(self.joined().receive(b"LS+ $SYS.REQ.X\r\n", 0.0), [])

    def test_it_is_asked_and_stale(self) -> None:
        """A silent leaf is asked twice, and closed when it does not answer."""
        session, asked = self.joined(), b""
        while session.state is State.OPEN:
            assert session.deadline is not None
            asked += written(session.tick(session.deadline))
        self.assertEqual(asked, b"PING\r\nPING\r\n-ERR 'Stale Connection'\r\n")

    def test_who_says_nothing(self) -> None:
        """Who does not say in time who he is is closed."""
        session = hub()
        session.open(0.0)
        assert session.deadline is not None
        said = written(session.tick(session.deadline))
        self.assertEqual(said, b"-ERR 'Authentication Timeout'\r\n")

    def test_a_barrier(self) -> None:
        """A barrier is answered by the PONG to its own PING."""
        session = self.joined()
        self.assertEqual(written(session.ask(7)), b"PING\r\n")
        self.assertEqual(session.receive(b"PONG\r\n", 0.0), [Answered(7)])
