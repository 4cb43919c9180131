"""Tests of `atbus.nats.route_session`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.route_grammar import Routed
from atbus.nats.route_session import Effect, Gossip, Renewed, RouteSession, RouteTerms
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_session import PONG, Answered, Close, Opened, StartTls, State, Write

INFO = {"server_id": "US", "cluster": "C1"}
OURS = b'INFO {"server_id":"US","cluster":"C1"}\r\n'

#: As nats-server says it, without what differs from one to the next.
THEIRS_2_9 = (
    b'INFO {"server_id":"THEM","server_name":"srv","version":"2.9.10","proto":2,"go":"go1.19.8",'
    b'"host":"127.0.0.1","port":6222,"headers":true,"auth_required":true,"max_payload":1048576,'
    b'"nonce":"","cluster":"C1","connect_urls":["127.0.0.1:4222"],"lnoc":true} \r\n'
)
THEIRS_2_15 = (
    b'INFO {"server_id":"THEM","server_name":"srv","version":"2.15.1","proto":3,"go":"go1.27.2",'
    b'"host":"127.0.0.1","port":6222,"headers":true,"auth_required":true,"max_payload":1048576,'
    b'"nonce":"","cluster":"C1","connect_urls":["127.0.0.1:4222"],"compression":"accept",'
    b'"lnoc":true,"lnocu":true,"ln":true,"route_pool_size":3} \r\n'
)
THEIRS = (THEIRS_2_9, THEIRS_2_15)


def dialer() -> RouteSession:
    """Make the side that has dialed."""
    session = RouteSession(RouteTerms(info=INFO, connect={"user": "u"}))
    session.open(0.0)
    return session


def acceptor(*, admits: bool = True) -> RouteSession:
    """Make the side that has accepted."""
    session = RouteSession(RouteTerms(info=INFO), lambda _: admits)
    session.open(0.0)
    return session


def joined() -> RouteSession:
    """Let one in."""
    session = acceptor()
    session.receive(b'CONNECT {"cluster":"C1"}\r\n' + THEIRS_2_9, 0.0)
    return session


def written(effects: list[Effect]) -> bytes:
    """Give what is sent."""
    return b"".join(effect.data for effect in effects if isinstance(effect, Write))


class DialerTests(SynchronousTestCase):
    """A node that dials a server of a cluster."""

    def test_it_joins(self) -> None:
        """It says who it is when it has heard INFO, and takes part when it is answered."""
        for theirs in THEIRS:
            session = dialer()
            said = written(session.receive(theirs, 0.0))
            self.assertEqual(said, b'CONNECT {"user":"u"}\r\n' + OURS + b"PING\r\n")
            found = session.receive(b"RS+ $G a.*\r\nRS+ $G w q 2\r\nPONG\r\n", 0.0)
            wanted = [Interest("a.*", "", 1), Interest("w", "q", 2)]
            self.assertEqual(found, [Opened(), *(Routed("$G", each) for each in wanted)])

    def test_a_server_without_interest(self) -> None:
        """Where nobody wants anything the answer is what lets a node in."""
        session = dialer()
        session.receive(THEIRS_2_9, 0.0)
        self.assertEqual(session.receive(b"PONG\r\n", 0.0), [Opened()])

    def test_tls_comes_first(self) -> None:
        """Where the cluster has TLS it begins before anything is said, on both sides."""
        terms = RouteTerms(info=INFO, connect={"user": "u"}, tls=True)
        self.assertEqual(RouteSession(terms).open(0.0), [StartTls()])
        effects = RouteSession(RouteTerms(info=INFO, tls=True)).open(0.0)
        self.assertEqual(effects, [StartTls(), Write(OURS)])

    def test_no_port_for_routes(self) -> None:
        """A port for clients or leafs gets no credentials, and is not tried again soon."""
        for text in (THEIRS_2_9.replace(b"{", b'{"client_id":5,', 1), b"INFO {}\r\n"):
            closed = dialer().receive(text, 0.0)
            self.assertEqual(closed, [Close("this is no port for routes", is_lasting=True)])

    def test_it_finds_itself(self) -> None:
        """Who hears its own id closes, and does not try again soon."""
        closed = dialer().receive(THEIRS_2_9.replace(b"THEM", b"US"), 0.0)
        self.assertEqual(closed, [Close("this is ourselves", is_lasting=True)])

    def test_another_cluster(self) -> None:
        """A server of another cluster is told so, and gets no credentials."""
        effects = dialer().receive(THEIRS_2_9.replace(b'"C1"', b'"C2"'), 0.0)
        said = b'-ERR \'Rejecting connection, cluster name "C2" does not match "C1"\'\r\n'
        self.assertEqual(written(effects), said)
        self.assertEqual(effects[-1], Close("its cluster is 'C2'", is_lasting=True))

    def test_a_cluster_without_a_name(self) -> None:
        """A server that has drawn its cluster's name is joined, and takes ours."""
        text = THEIRS_2_9.replace(b'"C1"', b'"x7Ys","cluster_dynamic":true')
        self.assertIn(b"CONNECT", written(dialer().receive(text, 0.0)))

    def test_what_is_not_tried_again_soon(self) -> None:
        """A refusal that stays true waits long, any other one does not."""
        for complaint, is_lasting in (
            (b"Authorization Violation", True),
            (b'Rejecting connection, cluster name "C1" does not match "C2"', True),
            (b"attempted to connect to route port", True),
            (b"Stale Connection", False),
        ):
            session = dialer()
            session.receive(THEIRS_2_9, 0.0)
            (closed,) = session.receive(b"-ERR '" + complaint + b"'\r\n", 0.0)
            assert isinstance(closed, Close)
            self.assertEqual(closed.is_lasting, is_lasting, complaint)

    def test_it_takes_no_connect(self) -> None:
        """A server that was dialed has no CONNECT to say."""
        session = dialer()
        session.receive(THEIRS_2_9, 0.0)
        said = written(session.receive(b"CONNECT {}\r\n", 0.0))
        self.assertEqual(said, b"-ERR 'Unknown Protocol Operation'\r\n")


class AcceptorTests(SynchronousTestCase):
    """A node that servers of a cluster dial."""

    def test_it_speaks_first(self) -> None:
        """INFO is said at once."""
        self.assertEqual(RouteSession(RouteTerms(info=INFO)).open(0.0), [Write(OURS)])

    def test_in_either_order(self) -> None:
        """It takes part when it has heard CONNECT and INFO, whichever comes first."""
        connect = b'CONNECT {"cluster":"C1"}\r\n'
        for one, other in ((connect, THEIRS_2_15), (THEIRS_2_9, connect)):
            session = acceptor()
            self.assertEqual(session.receive(one, 0.0), [])
            self.assertEqual(session.receive(other, 0.0), [Opened()])

    def test_who_is_not_let_in(self) -> None:
        """Who has no right, is a client, or belongs to another cluster, is told so."""
        for admits, fields, text in (
            (False, b'{"cluster":"C1"}', b"Authorization Violation"),
            (True, b'{"cluster":"C1","lang":"go"}', b"attempted to connect to route port"),
            (
                True,
                b'{"cluster":"C2"}',
                b'Rejecting connection, cluster name "C2" does not match "C1"',
            ),
        ):
            effects = acceptor(admits=admits).receive(b"CONNECT " + fields + b"\r\n", 0.0)
            self.assertEqual(written(effects), b"-ERR '" + text + b"'\r\n")
            self.assertIsInstance(effects[-1], Close)

    def test_who_takes_our_cluster(self) -> None:
        """Who has drawn the name of its cluster is let in."""
        session = acceptor()
        found = session.receive(b'CONNECT {"cluster":"x7","cluster_dynamic":true}\r\n', 0.0)
        self.assertEqual(found, [])

    def test_nothing_counts_before_connect(self) -> None:
        """Who has not said who he is can neither ask for anything nor send."""
        for text in (b"RS+ $G a\r\n", b"RMSG $G a 0\r\n\r\n", THEIRS_2_9 + b"RS+ $G a\r\n"):
            effects = acceptor().receive(text, 0.0)
            self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")
            self.assertIsInstance(effects[-1], Close)

    def test_no_large_message_of_a_stranger(self) -> None:
        """A message of a stranger is not held until it is complete."""
        effects = acceptor().receive(b"RMSG $G a 60000000\r\n", 0.0)
        self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")

    def test_once_is_enough(self) -> None:
        """A second CONNECT ends the route."""
        said = written(joined().receive(b'CONNECT {"cluster":"C1"}\r\n', 0.0))
        self.assertEqual(said, b"-ERR 'Unknown Protocol Operation'\r\n")

    def test_who_says_nothing(self) -> None:
        """Who does not say in time who he is is closed."""
        session = acceptor()
        assert session.deadline is not None
        said = written(session.tick(session.deadline))
        self.assertEqual(said, b"-ERR 'Authentication Timeout'\r\n")


class OpenTests(SynchronousTestCase):
    """A route that both take part in."""

    def test_messages_and_what_is_between_servers(self) -> None:
        """Messages come out with their account; what servers ask each other does not."""
        text = b"RS+ $SYS $SYS.REQ.X\r\nRMSG $SYS $SYS.REQ.X 0\r\n\r\nRMSG shop w | q 2\r\nok\r\n"
        wanted = [Routed("shop", Message("w", "", ("q",), b"", b"ok"))]
        self.assertEqual(joined().receive(text, 0.0), wanted)

    def test_gossip(self) -> None:
        """INFO of a further server comes out as where it takes routes."""
        text = b'INFO {"server_id":"NEW","ip":"nats-route://10.0.0.7:6222/"}\r\n'
        found = joined().receive(text, 0.0)
        self.assertEqual(found, [Gossip("NEW", "nats-route://10.0.0.7:6222/")])
        self.assertEqual(joined().receive(b'INFO {"server_id":"NEW","ip":1}\r\n', 0.0), [])

    def test_strangers_tell_of_nobody(self) -> None:
        """Who has not shown that it may come in cannot send us anywhere."""
        told = b'INFO {"server_id":"NEW","ip":"nats-route://10.0.0.7:6222/"}\r\n'
        session = acceptor()
        self.assertEqual(session.receive(THEIRS_2_9 + told + THEIRS_2_9, 0.0), [])
        self.assertEqual(session.receive(b'CONNECT {"cluster":"C1"}\r\n', 0.0), [Opened()])
        dialed = dialer()
        dialed.receive(THEIRS_2_9, 0.0)
        gossip = Gossip("NEW", "nats-route://10.0.0.7:6222/")
        self.assertEqual(dialed.receive(THEIRS_2_9 + told, 0.0), [Opened(), gossip])

    def test_lame_duck(self) -> None:
        """INFO of the other side itself replaces what was known of it."""
        session = joined()
        found = session.receive(b'INFO {"server_id":"THEM","ldm":true}\r\n', 0.0)
        self.assertEqual(found, [Renewed()])
        self.assertEqual(session.peer, {"server_id": "THEM", "ldm": True})

    def test_where_clients_can_go_is_told_later(self) -> None:
        """URLs in a later INFO replace the ones before, and are news only where both take part."""
        later = THEIRS_2_9.replace(b"127.0.0.1:4222", b"10.0.0.7:4222")
        for theirs in THEIRS:
            for session, last in ((acceptor(), b'CONNECT {"cluster":"C1"}\r\n'), (dialer(), PONG)):
                session.receive(theirs, 0.0)
                self.assertEqual(session.peer["connect_urls"], ["127.0.0.1:4222"])
                self.assertEqual(session.receive(later, 0.0), [])
                self.assertEqual(session.peer["connect_urls"], ["10.0.0.7:4222"])
                self.assertEqual(session.receive(last, 0.0), [Opened()])
                self.assertEqual(session.receive(theirs + later, 0.0), [Renewed(), Renewed()])
                self.assertEqual(session.peer["connect_urls"], ["10.0.0.7:4222"])
                self.assertEqual(
                    session.receive(b'INFO {"server_id":"THEM"}\r\n', 0.0), [Renewed()]
                )
                self.assertNotIn("connect_urls", session.peer)

    def test_it_is_asked_and_stale(self) -> None:
        """A silent server is asked twice, and closed when it does not answer."""
        session, asked = joined(), b""
        while session.state is State.OPEN:
            assert session.deadline is not None
            asked += written(session.tick(session.deadline))
        self.assertEqual(asked, b"PING\r\nPING\r\n-ERR 'Stale Connection'\r\n")

    def test_a_barrier(self) -> None:
        """The answer to the PING of a barrier tells that it is passed."""
        session = joined()
        self.assertEqual(session.ask(7, 0.0), [Write(b"PING\r\n")])
        self.assertEqual(session.receive(b"PING\r\nPONG\r\n", 0.0)[1:], [Answered(7)])

    def test_what_is_not_understood(self) -> None:
        """A verb of another dialect ends the route, as nats-server ends it."""
        effects = joined().receive(b"MSG a 1\r\nRS+ $G a\r\n", 0.0)
        self.assertEqual(written(effects), b"-ERR 'Unknown Protocol Operation'\r\n")
        self.assertEqual(len(effects), 2)
