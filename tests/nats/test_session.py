"""One client's side of the protocol, byte by byte."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.authentication import Limits, User
from atbus.nats.connect_options import ConnectOptions
from atbus.nats.effects import Close, Terms, Write
from atbus.nats.faults import Fault
from atbus.nats.permissions import Permissions, rules
from atbus.nats.session import Session
from tests.nats.transcripts import EOF, QUIET, TRANSCRIPTS
from tests.nats.yard import Yard

INFORMED = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n'


class TranscriptTests(SynchronousTestCase):
    """What nats-server answers, a session answers."""

    def test_every_answer_is_the_same(self) -> None:
        """To each script a session answers with the bytes that nats-server answered with."""
        for transcript in TRANSCRIPTS:
            yard = Yard()
            client = yard.client()
            yard.says(client, transcript.says)
            self.assertEqual(yard.hears(client), transcript.hears, transcript.name)

    def test_cuts_do_not_matter(self) -> None:
        """The answers do not depend on how the network cuts what a client sends."""
        for transcript in TRANSCRIPTS:
            for size in (1, 7):
                yard = Yard()
                client = yard.client()
                for place in range(0, len(transcript.says), size):
                    yard.says(client, transcript.says[place : place + size])
                self.assertEqual(yard.hears(client), transcript.hears, transcript.name)


class LifeTests(SynchronousTestCase):
    """A connection in the course of time."""

    def test_a_silent_client_is_given_up(self) -> None:
        """Two PINGs without an answer, then it is told that it is stale, and closed."""
        yard = Yard(Terms(ping_seconds=1.0, first_ping_seconds=1.0))
        client = yard.client()
        yard.says(client, QUIET + b"PING\r\n")
        yard.passes(3.5)
        stale = b"PONG\r\nPING\r\nPING\r\n-ERR 'Stale Connection'\r\n" + EOF
        self.assertEqual(yard.hears(client), stale)
        self.assertIsNone(client.deadline)

    def test_a_client_that_answers_stays(self) -> None:
        """Each PONG makes the count begin anew, and the round trip is known."""
        yard = Yard(Terms(ping_seconds=1.0, first_ping_seconds=1.0))
        client = yard.client()
        yard.says(client, QUIET + b"PING\r\n")
        for _ in range(10):
            yard.passes(1.0)
            yard.says(client, b"PONG\r\n")
        self.assertNotIn(b"-ERR", yard.hears(client))
        self.assertEqual(client.round_trip_seconds, 0.0)

    def test_the_first_estimate(self) -> None:
        """Until a PING is answered a round trip is taken to be what CONNECT took to come."""
        yard = Yard(Terms(ping_seconds=10.0, first_ping_seconds=2.0))
        client = yard.client()
        self.assertIsNone(client.round_trip_seconds)
        yard.passes(0.25)
        yard.says(client, QUIET)
        yard.passes(0.5)
        yard.says(client, QUIET)
        self.assertEqual(client.round_trip_seconds, 0.25)
        yard.passes(1.25)
        self.assertEqual(yard.hears(client), b"PING\r\n")
        yard.passes(0.125)
        yard.says(client, b"PONG\r\n" + QUIET)
        self.assertEqual(client.round_trip_seconds, 0.125)

    def test_a_busy_client_is_not_asked(self) -> None:
        """Who has just sent something is alive; it is asked once, for the round trip."""
        yard = Yard(Terms(ping_seconds=10.0, first_ping_seconds=2.0))
        client = yard.client()
        yard.says(client, QUIET)
        yard.passes(2.0)
        self.assertEqual(yard.hears(client), b"PING\r\n")
        yard.says(client, b"PONG\r\n")
        for _ in range(8):
            yard.passes(5.0)
            yard.says(client, b"PUB a 0\r\n\r\n")
        self.assertEqual(yard.hears(client), b"")

    def test_news_wait_for_the_first_pong(self) -> None:
        """What is new in INFO comes behind the first PONG, since clients expect that one first."""
        yard = Yard()
        client = yard.client()
        yard.performs(client, client.inform(b"INFO {1}\r\n"))
        yard.says(client, INFORMED)
        yard.performs(client, client.inform(b"INFO {2}\r\n"))
        self.assertEqual(yard.hears(client), b"")
        yard.says(client, b"PING\r\n")
        self.assertEqual(yard.hears(client), b"PONG\r\nINFO {2}\r\n")
        yard.performs(client, client.inform(b"INFO {3}\r\n"))
        self.assertEqual(yard.hears(client), b"INFO {3}\r\n")

    def test_news_are_for_those_who_understand(self) -> None:
        """A client of protocol 0 gets one INFO in its life."""
        yard = Yard()
        client = yard.client()
        yard.says(client, QUIET + b"PING\r\n")
        yard.performs(client, client.inform(b"INFO {}\r\n"))
        self.assertEqual(yard.hears(client), b"PONG\r\n")
        early = yard.client()
        yard.performs(early, early.inform(b"INFO {}\r\n"))
        yard.says(early, QUIET + b"PING\r\n")
        self.assertEqual(yard.hears(early), b"PONG\r\n")
        mute = yard.client()
        yard.says(mute, b"PING\r\n")
        yard.performs(mute, mute.inform(b"INFO {}\r\n"))
        self.assertEqual(yard.hears(mute), b"PONG\r\n")

    def test_the_end_takes_subscriptions_along(self) -> None:
        """When a client is gone nothing is delivered to it, and it is asked nothing."""
        yard = Yard()
        client, other = yard.client(), yard.client()
        yard.says(client, QUIET + b"SUB a 1\r\n")
        yard.performs(client, client.end())
        self.assertEqual(yard._attached, [])
        yard.says(other, QUIET + b"PUB a 0\r\n\r\nPING\r\n")
        self.assertEqual(yard.hears(client), b"")
        self.assertEqual(list(client.receive(b"PING\r\n", 9.0)), [])
        self.assertEqual(client.tick(1e9), [])


class LoginTests(SynchronousTestCase):
    """A gateway that wants to know who comes."""

    def setUp(self) -> None:
        self.yard = Yard(Terms(needs_login=True))

    def test_nothing_before_the_login(self) -> None:
        """Whoever begins with anything but CONNECT is not authorized, at the first letter."""
        for says in (
            *(b"PING\r\n", b"P", b"FOO\r\n", b"SUB a 1\r\n" + QUIET),
            *(b"INFO {}\r\n" + QUIET, b"+OK\r\n" + QUIET, b"-", b"\r\n"),
        ):
            client = self.yard.client()
            self.yard.says(client, says)
            refused = b"-ERR 'Authorization Violation'\r\n" + EOF
            self.assertEqual(self.yard.hears(client), refused, says)

    def test_a_stranger_is_refused(self) -> None:
        """Whom nobody knows is told so, and closed."""
        self.yard.user = None
        client = self.yard.client()
        self.yard.says(client, QUIET + b"PING\r\n")
        self.assertEqual(
            self.yard.hears(client), b"-ERR 'Authorization Violation'\r\n" + EOF
        )

    def test_a_user_comes_in(self) -> None:
        """Who is known is served."""
        client = self.yard.client()
        self.yard.says(client, QUIET + b"PING\r\n")
        self.yard.passes(5.0)
        self.assertEqual(self.yard.hears(client), b"PONG\r\nPING\r\n")

    def test_who_says_nothing_is_closed(self) -> None:
        """A client has two seconds to say who it is."""
        client = self.yard.client()
        self.yard.passes(1.9)
        self.assertEqual(self.yard.hears(client), b"")
        self.yard.passes(0.2)
        timeout = b"-ERR 'Authentication Timeout'\r\n" + EOF
        self.assertEqual(self.yard.hears(client), timeout)

    def test_who_need_not_say_who_he_is(self) -> None:
        """Where he must say something he has as long for that; half a CONNECT is nothing."""
        for words, is_closed in (
            ((b"",), True), ((b"C",), True), ((b"CONN", b"ECT {"), True), ((b"P",), False),
            ((b"PING\r\n",), False), ((b"SUB a 1\r\n", b"C"), False), ((b"c", QUIET[1:]), False),
        ):
            yard = Yard(Terms(awaits_word=True, ping_seconds=100.0, first_ping_seconds=50.0))
            client = yard.client()
            for word in words:
                yard.says(client, word)
            yard.passes(3.0)
            heard = yard.hears(client)
            timeout = b"-ERR 'Authentication Timeout'\r\n" + EOF
            self.assertEqual(heard.endswith(timeout), is_closed, words)

    def test_rights_end(self) -> None:
        """A user whose rights end is told so, and closed."""
        self.yard.user = User(expires=30.0)
        client = self.yard.client()
        self.yard.says(client, QUIET)
        self.yard.passes(29.0)
        self.assertEqual(self.yard.hears(client), b"PING\r\n")
        self.yard.passes(2.0)
        expired = b"-ERR 'User Authentication Expired'\r\n" + EOF
        self.assertEqual(self.yard.hears(client), expired)


class PermissionTests(SynchronousTestCase):
    """Clients that may not do everything."""

    def client(self, permissions: Permissions, terms: Terms | None = None) -> Session:
        self.yard = Yard(terms)
        self.yard.user = User(permissions=permissions)
        client = self.yard.client()
        self.yard.says(client, QUIET)
        return client

    def test_a_publication_that_is_not_allowed(self) -> None:
        """It is named, and the connection stays open."""
        client = self.client(Permissions(publish=rules(["a"])))
        self.yard.says(client, b"SUB > 1\r\nPUB b 0\r\n\r\nPUB a 0\r\n\r\n")
        self.assertEqual(
            self.yard.hears(client),
            b"-ERR 'Permissions Violation for Publish to \"b\"'\r\nMSG a 1 0\r\n\r\n",
        )

    def test_a_subscription_that_is_not_allowed(self) -> None:
        """It is named, with its queue group if it has one, and the connection stays open."""
        client = self.client(Permissions(subscribe=rules(None, ["a", "b q"])))
        self.yard.says(client, b"SUB a 1\r\nSUB b q 2\r\nSUB b 3\r\nPUB b 0\r\n\r\n")
        self.assertEqual(
            self.yard.hears(client),
            b"-ERR 'Permissions Violation for Subscription to \"a\"'\r\n"
            b"-ERR 'Permissions Violation for Subscription to \"b\" using queue \"q\"'\r\n"
            b"MSG b 3 0\r\n\r\n",
        )

    def test_denied_messages_do_not_come_through_a_wildcard(self) -> None:
        """A wider subscription is allowed, and gets everything but what is denied."""
        client = self.client(Permissions(subscribe=rules(None, ["a.b"])))
        self.yard.says(client, b"SUB a.* 1\r\nPUB a.b 0\r\n\r\nPUB a.c 0\r\n\r\n")
        self.assertEqual(self.yard.hears(client), b"MSG a.c 1 0\r\n\r\n")

    def test_answers_are_allowed(self) -> None:
        """Who may publish nothing may answer what it got, so often and so long as it is told."""
        server = self.client(
            Permissions(publish=rules([]), responses=1, responses_seconds=10.0)
        )
        self.yard.user = User()
        client = self.yard.client()
        self.yard.says(server, b"SUB a 1\r\n")
        self.yard.says(client, QUIET + b"SUB r.* 1\r\nPUB a r.1 0\r\n\r\nPUB a r.2 0\r\n\r\n")
        self.yard.says(server, b"PUB r.1 0\r\n\r\nPUB r.1 0\r\n\r\n")
        self.assertEqual(self.yard.hears(client), b"MSG r.1 1 0\r\n\r\n")
        self.assertIn(b"Violation for Publish", self.yard.hears(server))
        self.yard.now = 11.0
        self.yard.says(server, b"PUB r.2 0\r\n\r\n")
        self.assertEqual(self.yard.hears(client), b"")

    def test_too_many_subscriptions(self) -> None:
        """One more than allowed is refused, and the connection stays open."""
        client = self.client(Permissions(), Terms(subscriptions_max=1))
        self.yard.says(client, b"SUB a 1\r\nSUB b 2\r\nPING\r\n")
        self.assertEqual(
            self.yard.hears(client), b"-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n"
        )


class LimitTests(SynchronousTestCase):
    """Clients that may have less than others."""

    def client(self, limits: Limits, terms: Terms | None = None) -> Session:
        self.yard = Yard(terms)
        self.yard.user = User(limits=limits)
        return self.yard.client()

    def test_subscriptions(self) -> None:
        """The smaller number counts, whoever has it."""
        for own, all_ in ((1, 0), (1, 2), (2, 1)):
            client = self.client(Limits(subscriptions=own), Terms(subscriptions_max=all_))
            self.yard.says(client, QUIET + b"SUB a 1\r\nSUB b 2\r\nPING\r\n")
            self.assertEqual(
                self.yard.hears(client), b"-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n"
            )

    def test_no_subscriptions(self) -> None:
        """Who may have none is told so at once, and closed."""
        client = self.client(Limits(subscriptions=0))
        self.yard.says(client, QUIET + b"PUB a 0\r\n\r\n")
        told = b"-ERR 'maximum subscriptions exceeded'\r\n" + EOF
        self.assertEqual(self.yard.hears(client), told)

    def test_payloads(self) -> None:
        """Too long a payload ends the connection, also one that came along with CONNECT."""
        too_long = (
            *(b"PUB a 3\r\nabc\r\n", b"PUB b 1\r\nx\r\n" * 9 + b"PUB a 3\r\nabc\r\n" * 20),
            b"HPUB a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
        )
        for said in too_long:
            for cut in (b"", b"PING\r\n"):
                client = self.client(Limits(payload_bytes=2))
                headers = QUIET.replace(b"{", b'{"headers":true,')
                self.yard.says(client, headers + cut + (b"" if cut else said))
                self.yard.says(client, said if cut else b"")
                heard = self.yard.hears(client).removeprefix(b"PONG\r\n")
                self.assertEqual(heard, b"-ERR 'Maximum Payload Violation'\r\n" + EOF)
        client = self.client(Limits(payload_bytes=2))
        self.yard.says(client, QUIET + b"SUB a 1\r\nPUB a 2\r\nab\r\n")
        self.assertEqual(self.yard.hears(client), b"MSG a 1 2\r\nab\r\n")

    def test_another_user(self) -> None:
        """Who logs in anew has the limits of the new user, whichever are smaller."""
        client = self.client(Limits(subscriptions=1, payload_bytes=0))
        self.yard.says(client, QUIET)
        self.yard.user = User()
        self.yard.says(client, QUIET)
        self.yard.says(client, b"SUB a 1\r\nSUB b 2\r\nPUB a 2\r\nab\r\n")
        self.assertEqual(self.yard.hears(client), b"MSG a 1 2\r\nab\r\n")
        self.yard.user = User(limits=Limits(subscriptions=2))
        self.yard.says(client, QUIET)
        self.assertIn(b"maximum subscriptions exceeded", self.yard.hears(client))


class MessageTests(SynchronousTestCase):
    """Several clients."""

    def setUp(self) -> None:
        self.yard = Yard()
        self.client, self.other = self.yard.client(), self.yard.client()
        self.yard.says(self.client, QUIET)

    def test_headers_are_cut_for_who_knows_none(self) -> None:
        """A client without headers gets the payload alone."""
        self.yard.says(self.other, b'CONNECT {"verbose":false}\r\nSUB a 1\r\n')
        self.yard.says(self.client, b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
        self.assertEqual(self.yard.hears(self.other), b"MSG a 1 2\r\nhi\r\n")

    def test_counts(self) -> None:
        """Messages and bytes are counted both ways, headers included."""
        self.yard.says(self.other, QUIET + b"SUB a 1\r\n")
        self.yard.says(self.client, b"HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\nPUB a 3\r\nabc\r\n")
        sent, got = self.client.counts, self.other.counts
        self.assertEqual((sent.in_messages, sent.in_bytes), (2, 17))
        self.assertEqual((got.out_messages, got.out_bytes), (2, 17))

    def test_secrets_are_not_shown(self) -> None:
        """What a client logs in with is in no representation of what it said."""
        self.yard.says(self.client, b'CONNECT {"pass":"geheim","auth_token":"geheim"}\r\n')
        self.assertEqual(self.client.options.password, "geheim")
        self.assertNotIn("geheim", repr(self.client.options))

    def test_what_is_remembered(self) -> None:
        """After its end it is known how a client was called, and not how it has proven itself."""
        said = b'CONNECT {"name":"n","lang":"l","version":"1","user":"u","pass":"geheim"}\r\n'
        self.yard.says(self.client, said)
        self.assertEqual(self.client.options.user, "u")
        self.client.end()
        self.assertEqual(self.client.options, ConnectOptions(name="n", lang="l", version="1"))

    def test_an_end_may_be_told(self) -> None:
        """A gateway can end a session and say why."""
        effects = self.client.end(Fault.TOO_MANY_CONNECTIONS)
        self.assertEqual(
            effects,
            [
                Write(b"-ERR 'maximum connections exceeded'\r\n"),
                Close(Fault.TOO_MANY_CONNECTIONS),
            ],
        )
        self.assertEqual(self.client.end(), [])

