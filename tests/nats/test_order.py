"""What a client says at once is carried out in its order: each thing finds what is before it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.authentication import User
from atbus.nats.effects import Terms
from atbus.nats.faults import Reason
from atbus.nats.grammar import Publish, PublishRun
from atbus.nats.permissions import Permissions, rules
from tests.nats.harbor import HarborTests
from tests.nats.transcripts import EOF, QUIET
from tests.nats.yard import Yard

ONE = b"PUB a 1\r\nx\r\n"
GOT = b"MSG a 1 1\r\nx\r\n"
REFUSED = b"-ERR 'Permissions Violation for Publish to \"r\"'\r\n"


class SessionTests(SynchronousTestCase):
    """One session, and what it looks at when."""

    def test_nothing_is_looked_at_before_its_turn(self) -> None:
        """While a publication is carried out, what is behind it has changed nothing yet."""
        session = Yard().client()
        says = QUIET + b"SUB a 1\r\n" + ONE + b'UNSUB 1 5\r\nCONNECT {"echo":false}\r\n' + ONE
        found = []
        says += 3 * ONE + b"UNSUB 1\r\nFOO\r\n"
        while says or session.is_unread:
            for effect in session.receive(says, 0.0):
                if isinstance(effect, Publish | PublishRun):
                    most = session.subscriptions[b"1"].most
                    found.append((type(effect), session.options.echo, most, session.closed))
            says = b""
        self.assertEqual(
            found, [(Publish, True, 0, False), (PublishRun, False, 5, False)]
        )
        self.assertTrue(session.closed)

    def test_a_right_to_answer_comes_in_time(self) -> None:
        """Who asks itself may answer at once, so often as it is told, and not before."""
        yard = Yard()
        yard.user = User(permissions=Permissions(publish=rules(["a"]), responses=1))
        client = yard.client()
        answer = b"PUB r 0\r\n\r\n"
        yard.says(client, QUIET + b"SUB a 1\r\n" + answer + b"PUB a r 0\r\n\r\n" + 2 * answer)
        self.assertEqual(yard.hears(client), REFUSED + b"MSG a 1 r 0\r\n\r\n" + REFUSED)
        yard.user = User(permissions=Permissions(publish=rules(["a"]), responses=3))
        client = yard.client()
        yard.says(client, QUIET + b"SUB a 1\r\nPUB a r 0\r\n\r\n" + 5 * answer)
        self.assertEqual(yard.hears(client), b"MSG a 1 r 0\r\n\r\n" + 2 * REFUSED)

    def test_a_right_to_answer_ends_with_the_login(self) -> None:
        """Who says again who it is has to be asked again before it may answer."""
        yard = Yard()
        yard.user = User(permissions=Permissions(publish=rules(["a"]), responses=-1))
        client = yard.client()
        yard.says(client, QUIET + b"SUB a 1\r\nPUB a r 0\r\n\r\n" + QUIET + b"PUB r 0\r\n\r\n")
        self.assertEqual(yard.hears(client), b"MSG a 1 r 0\r\n\r\n" + REFUSED)

    def test_a_place_is_free_in_time(self) -> None:
        """A subscription that had its last message leaves its place to the next one."""
        yard = Yard(Terms(subscriptions_max=1))
        client = yard.client()
        full = b"-ERR 'maximum subscriptions exceeded'\r\n"
        yard.says(client, QUIET + b"SUB a 1\r\nUNSUB 1 1\r\nSUB b 2\r\n" + ONE + b"SUB b 2\r\n")
        self.assertEqual(yard.hears(client), full + GOT)
        yard.says(client, b"PUB b 1\r\nx\r\n")
        self.assertEqual(yard.hears(client), b"MSG b 2 1\r\nx\r\n")


class GatewayTests(HarborTests):
    """The same with the subjects of a node; transcripts say more of it."""

    def test_a_row_is_counted_before_a_limit(self) -> None:
        """A subscription that had more than its limit when that is said ends, and loses nothing."""
        caller = self.caller(self.alone())
        caller.says(QUIET + b"SUB a 1\r\n" + 3 * ONE + b"UNSUB 1 2\r\n" + ONE)
        self.assertEqual(caller.hears(), 3 * GOT)
        caller.says(b"SUB a 1\r\n" + 3 * ONE + b"UNSUB 1 5\r\n" + 9 * ONE + b"PING\r\n")
        self.assertEqual(caller.hears(), 5 * GOT + b"PONG\r\n")

    def test_more_than_is_dealt_with_at_once(self) -> None:
        """It is so over the end of a portion as well."""
        caller = self.caller(self.alone())
        both = ONE + b"PUB b 0\r\n\r\n"
        count = bounds.PORTION_OPERATIONS
        caller.says(QUIET + b"SUB a 1\r\n" + count * both + b"UNSUB 1\r\n" + ONE)
        self.network.settle(0.1)
        self.assertEqual(caller.hears(), count * GOT)

    def test_a_member_that_wants_no_echo_any_more(self) -> None:
        """A queue group of one who does not want its own messages is nobody for a question."""
        caller = self.caller(self.alone())
        ask = b"PUB a r 1\r\nx\r\n"
        quiet = b'CONNECT {"echo":false}\r\n'
        caller.says(QUIET + b"SUB a q 1\r\nSUB r 2\r\n" + ask + quiet + ask)
        nobody = b"HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        self.assertEqual(caller.hears(), b"MSG a 1 r 1\r\nx\r\n" + nobody)

    def test_an_inbox_that_is_given_up_at_once(self) -> None:
        """Who gives up its inbox in the breath in which it asks is told that nobody answers."""
        caller = self.caller(self.alone())
        caller.says(QUIET + b"SUB r 1\r\nPUB a r 1\r\nx\r\nUNSUB 1\r\nPING\r\n")
        nobody = b"HMSG r 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        self.assertEqual(caller.hears(), nobody + b"PONG\r\n")

    def test_what_is_said_before_an_error_is_done(self) -> None:
        """All get what was published before a malformed line; then its client is closed."""
        gateway = self.alone()
        caller, other = self.caller(gateway), self.caller(gateway)
        other.says(QUIET + b"SUB a 1\r\n")
        caller.says(QUIET + b"SUB a 1\r\n" + ONE + b"PUB a x\r\n" + ONE)
        self.network.settle(0.1)
        self.assertEqual((caller.hears(), other.hears()), (GOT + EOF, GOT))

    def test_a_client_that_ends_by_its_own_words(self) -> None:
        """What stands behind the message that was too much is not done; nothing is left over."""
        gateway = self.alone(pending_bytes_max=1_024)
        caller = self.caller(gateway)
        large = b"PUB a 2000\r\n%2000d\r\n" % 0
        caller.says(QUIET + b"SUB a 1\r\n" + large + b"SUB b 2\r\n" + ONE)
        self.network.settle(0.1)
        self.assertTrue(caller.is_gone)
        self.assertEqual(gateway.closed[0].reason, Reason.SLOW_CONSUMER_BYTES)
        self.assertEqual(gateway.closed[0].attached, {})
