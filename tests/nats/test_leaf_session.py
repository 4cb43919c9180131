"""Tests of `atbus.nats.leaf_session`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.authentication import User
from atbus.nats.leaf_session import Effect, LeafSession, LeafTerms
from atbus.nats.permissions import read_permissions
from atbus.nats.server_grammar import Interest
from atbus.nats.server_session import Answered, Close, Opened, StartTls, State, Write

HELLO = b'INFO {"client_id":1,"leafnode_urls":[]}\r\n'


def dialer(*, tls: bool = False) -> LeafSession:
    """Make the side that has dialed."""
    return LeafSession(LeafTerms(about={"name": "us"}, is_hub=False, tls=tls))


def hub(*, admits: bool = True) -> LeafSession:
    """Make the side that has accepted."""
    terms = LeafTerms(about={"client_id": 1}, is_hub=True, loop_subject="$LDS.us")
    return LeafSession(terms, lambda _: User() if admits else None)


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


class RightsTests(SynchronousTestCase):
    """What a leaf may do."""

    def dialed(self, rights: bytes) -> LeafSession:
        """Join a hub that says what we may do."""
        session = dialer()
        session.open(0.0)
        session.receive(HELLO, 0.0)
        session.receive(b'INFO {"connect_info":true,%b}\r\n' % rights, 0.0)
        return session

    def let_in(self, **rights: Any) -> LeafSession:
        """Let a leaf in that may do so much."""
        terms = LeafTerms(about={"client_id": 1}, is_hub=True)
        user = User(permissions=read_permissions(rights))
        session = LeafSession(terms, lambda _: user)
        session.open(0.0)
        said = written(session.receive(b"CONNECT {}\r\n", 0.0))
        self.info = json.loads(said.partition(b" ")[2])
        return session

    def test_a_leaf_keeps_to_them(self) -> None:
        """It sends what it may send, and asks for what it may have, or for more than that."""
        session = self.dialed(
            b'"export":{"allow":["orders.>"],"deny":["orders.x"]},"import":{"allow":["news.>"]}'
        )
        for subject, is_sent in (("orders.a", True), ("orders.x", False), ("a", False)):
            self.assertEqual(session.may_send(subject), is_sent, subject)
        told = {"news.a": True, "news.*": True, ">": True, "orders.a": False, "a.>": False}
        for subject, is_told in told.items():
            self.assertEqual(session.may_tell(subject, ""), is_told, subject)

    def test_none_are_said(self) -> None:
        """A hub that says nothing of them allows everything, and so does an empty list."""
        for said in (b'"proto":1', b'"export":null', b'"import":{"allow":[]},"export":{}'):
            session = self.dialed(said)
            self.assertTrue(session.may_send("a"))
            self.assertTrue(session.may_tell(">", ""))

    def test_what_is_denied(self) -> None:
        """What is denied is not asked for; more than that may be."""
        session = self.dialed(b'"import":{"deny":["secret.>"]}')
        self.assertFalse(session.may_tell("secret.a", ""))
        self.assertTrue(session.may_tell(">", "q"))

    def test_rights_that_make_no_sense(self) -> None:
        """A hub whose rights are not understood is left for long: nobody guesses what it means."""
        for said in (b'"export":5', b'"import":{"allow":"a"}', b'"export":{"deny":["a..b"]}'):
            session = dialer()
            session.open(0.0)
            session.receive(HELLO, 0.0)
            closed = session.receive(b'INFO {"connect_info":true,%b}\r\n' % said, 0.0)[-1]
            assert isinstance(closed, Close)
            self.assertTrue(closed.is_lasting)

    def test_a_violation_will_be_one_again(self) -> None:
        """A leaf that did what it may not waits long before it comes again."""
        session = self.dialed(b'"proto":1')
        text = b"-ERR 'Permissions Violation for Subscription to \"a\"'\r\n"
        (closed,) = session.receive(text, 0.0)
        assert isinstance(closed, Close)
        self.assertTrue(closed.is_lasting)

    def test_a_hub_says_what_is_allowed(self) -> None:
        """A leaf hears its rights; where nothing is allowed all is denied, as NATS writes it."""
        self.let_in(publish=["orders.>"], subscribe={"deny": ["a", "b q"]})
        sides = {"import": {"deny": ["a", "b q"]}, "export": {"allow": ["orders.>"]}}
        self.assertEqual({name: self.info[name] for name in sides}, sides)
        self.let_in(publish=[])
        self.assertEqual(self.info["export"], {"deny": [">"]})
        self.let_in()
        self.assertNotIn("import", self.info)

    def test_a_hub_insists(self) -> None:
        """A leaf that sends or asks for what it may not is told so, and closed."""
        for said, what in (
            (b"LMSG a 2\r\nhi\r\n", b"Publish"),
            (b"LS+ a\r\n", b"Subscription"),
            (b"LS+ a q 1\r\n", b"Subscription"),
        ):
            session = self.let_in(publish=["orders.>"], subscribe=["news.>"])
            effects = session.receive(said, 0.0)
            text = b"-ERR 'Permissions Violation for %b to \"a\"'\r\n" % what
            self.assertEqual(written(effects), text)
            self.assertIs(session.state, State.CLOSED)

    def test_a_hub_gives_what_is_allowed(self) -> None:
        """A leaf may ask for everything, and gets of it what it may have; loops still show."""
        session = self.let_in(subscribe={"allow": ["news.>"], "deny": ["news.x"]})
        self.assertEqual(session.receive(b"LS+ >\r\n", 0.0), [Interest(">", "", 1)])
        loop = Interest("$LDS.far", "", 1)
        self.assertEqual(session.receive(b"LS+ $LDS.far\r\n", 0.0), [loop])
        for subject, is_sent in (("news.a", True), ("news.x", False), ("orders.a", False)):
            self.assertEqual(session.may_send(subject), is_sent, subject)


class ProofTests(SynchronousTestCase):
    """Who a leaf is."""

    def test_what_was_drawn_is_proven(self) -> None:
        """What a leaf shows depends on what the hub has drawn for this connection."""
        terms = LeafTerms(about={"name": "us"}, is_hub=False, prove=lambda nonce: {"sig": nonce})
        session = LeafSession(terms)
        session.open(0.0)
        said = written(session.receive(HELLO.replace(b"{", b'{"nonce":"abc",'), 0.0))
        self.assertEqual(said, b'CONNECT {"name":"us","sig":"abc"}\r\nPING\r\n')


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

    def test_its_cluster(self) -> None:
        """It is known by a number that is the same on all nodes; without a name there is none."""
        numbers = []
        for name in (b'"C1"', b'"C1"', b'"C2"', rb'"\ud800"', b'""', b"7", b"null"):
            session = hub()
            session.open(0.0)
            session.receive(b'CONNECT {"cluster":%s}\r\n' % name, 0.0)
            self.assertIs(session.state, State.OPEN)
            numbers.append(session.cluster)
        self.assertEqual(numbers[0], 0xFD23ACF170358CE5)
        self.assertEqual(numbers[0], numbers[1])
        self.assertEqual(len({*numbers[:4]}), 3)
        self.assertTrue(all(1 << 63 <= each < 1 << 64 for each in numbers[:4]))
        self.assertEqual(numbers[4:], [0, 0, 0])
        session = dialer()
        session.open(0.0)
        session.receive(HELLO[:-3] + b',"cluster":"C1"}\r\n', 0.0)
        self.assertEqual(session.cluster, 0)

    def test_wrong_credentials(self) -> None:
        """Who cannot show what he must is told so."""
        session = hub(admits=False)
        session.open(0.0)
        effects = session.receive(b"CONNECT {}\r\nLS+ a\r\n", 0.0)
        self.assertEqual(written(effects), b"-ERR 'Authorization Violation'\r\n")
        self.assertEqual(len(effects), 2)

    def test_a_server_of_our_cluster(self) -> None:
        """Who has routes that lead here is told that it is no leaf, in the words of nats-server."""
        for cluster, is_in in (("C1", False), ("C2", True)):
            terms = LeafTerms(about={"client_id": 1, "cluster": "C1"}, is_hub=True)
            session = LeafSession(terms)
            self.assertIn(b'"cluster":"C1"', written(session.open(0.0)))
            effects = session.receive(b'CONNECT {"cluster":"%s"}\r\n' % cluster.encode(), 0.0)
            self.assertEqual(Opened() in effects, is_in)
            refusal = b"-ERR 'remote leafnode has same cluster name'\r\n"
            self.assertEqual(written(effects) == refusal, not is_in)

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
        self.assertEqual(written(session.ask(7, 0.0)), b"PING\r\n")
        self.assertEqual(session.receive(b"PONG\r\n", 0.0), [Answered(7)])
