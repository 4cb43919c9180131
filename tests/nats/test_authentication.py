"""Who a client is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.authentication import Authentication, Clock, Unproven, User
from atbus.nats.connect_options import ConnectOptions
from atbus.nats.nkeys import Kind
from atbus.nats.tokens import Chain
from tests.nats.signing import Key

CLOCK = Clock(seconds=lambda: 50.0, wall_seconds=lambda: 1_000.0)


def judge(authentication: Authentication, **options: str) -> User | None:
    """Let somebody log in who was given the nonce "nonce"."""
    said = ConnectOptions(**options)  # type: ignore[arg-type]
    found = authentication.judge(said, "nonce", CLOCK)
    assert not isinstance(found, Unproven)
    return found


class AuthenticationTests(SynchronousTestCase):
    def test_an_open_gateway(self) -> None:
        """Anybody comes in, under any name."""
        door = Authentication()
        self.assertEqual((door.is_open, door.needs_login, door.needs_nonce), (True, False, False))
        self.assertEqual(judge(door, user="anna"), User(name="anna"))

    def test_users(self) -> None:
        """Name and password must fit."""
        door = Authentication(users={"anna": User(name="anna", password="geheim")})
        self.assertTrue(door.needs_login)
        admitted = judge(door, user="anna", password="geheim")
        assert admitted is not None
        self.assertEqual(admitted.name, "anna")
        for wrong in ({"user": "anna"}, {"user": "anna", "password": "x"}, {"user": "otto"}, {}):
            self.assertIsNone(judge(door, **wrong))
        self.assertNotIn("geheim", repr(door))

    def test_a_token(self) -> None:
        """All who show it come in."""
        door = Authentication(token="geheim")
        self.assertIsNotNone(judge(door, auth_token="geheim"))
        self.assertIsNone(judge(door, auth_token="x"))
        self.assertIsNone(judge(door))
        self.assertNotIn("geheim", repr(door))

    def test_nobody_may_be_somebody(self) -> None:
        """Who says nothing may be let in as a user; who says something wrong is not."""
        guest = User(name="guest", password="x")
        door = Authentication(users={"guest": guest}, nobody=guest)
        self.assertFalse(door.needs_login)
        self.assertEqual(judge(door), guest)
        self.assertIsNone(judge(door, user="guest", password="y"))
        self.assertIsNone(judge(door, password="x"))
        self.assertIsNone(judge(door, auth_token="x"))

    def test_keys(self) -> None:
        """Who signs the nonce with a known key comes in."""
        key, other = Key(Kind.USER), Key(Kind.USER)
        door = Authentication(keys={key.text: User(name="anna")})
        self.assertTrue(door.needs_nonce)
        self.assertIsNotNone(judge(door, nkey=key.text, sig=key.sign("nonce")))
        self.assertIsNone(judge(door, nkey=key.text, sig=other.sign("nonce")))
        self.assertIsNone(judge(door, nkey=key.text, sig="?"))
        self.assertIsNone(judge(door, nkey=other.text, sig=other.sign("nonce")))

    def test_tokens_of_an_operator(self) -> None:
        """A user with a token comes in until the token ends, on the gateway's own clock."""
        operator, account, user = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.USER)
        chain = Chain(
            operator.token(operator, "operator"), [operator.token(account, "account")]
        )
        door = Authentication(voucher=chain)
        self.assertTrue(door.needs_login)
        token = account.token(user, "user", exp=1_060)
        admitted = judge(door, jwt=token, sig=user.sign("nonce"))
        assert admitted is not None
        self.assertEqual(admitted.expires, 110.0)
        fault = self.assertRaises(
            ValueError, judge, door, jwt=token, sig=user.sign("another")
        )
        self.assertIn("has not its key", str(fault))
        self.assertIsNone(judge(door))
