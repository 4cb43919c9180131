"""JSON Web Tokens: whom an operator vouches for."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.authentication import Origin, User
from atbus.nats.nkeys import Kind
from atbus.nats.tokens import Chain
from tests.nats.signing import UNLIMITED_ACCOUNT, Key

NOW = 1_000_000.0
LOCAL = Origin(host="127.0.0.1")


class TokenCase(SynchronousTestCase):
    """An operator, an account, a user."""

    def setUp(self) -> None:
        self.operator, self.account = Key(Kind.OPERATOR), Key(Kind.ACCOUNT)
        self.user, self.stranger = Key(Kind.USER), Key(Kind.USER)
        self.operator_token = self.operator.token(self.operator, "operator")

    def chain(self, **claims: Any) -> Chain:
        """Make a chain; the account's token has these claims."""
        token = self.operator.token(self.account, "account", **claims)
        return Chain(self.operator_token, [token])

    def admit(
        self,
        token: str,
        *,
        chain: Chain | None = None,
        signer: Key | None = None,
        now: float = NOW,
        origin: Origin = LOCAL,
    ) -> tuple[User, float | None] | None:
        """Show a token, and sign the nonce; None when nobody is let in by it."""
        signature = (signer or self.user).sign("nonce")
        try:
            return (chain or self.chain()).admit(token, signature, "nonce", now, origin)
        except ValueError:
            return None

    def user_of(self, token: str, **how: Any) -> User:
        """Show a token by which somebody is let in."""
        admitted = self.admit(token, **how)
        assert admitted is not None
        return admitted[0]

    def refused(self, token: str, why: str, **how: Any) -> None:
        """Show a token by which nobody is let in, and see that it is said why."""
        chain = how.pop("chain", None) or self.chain()
        signature = how.pop("signer", self.user).sign("nonce")
        fault = self.assertRaises(
            ValueError, chain.admit, token, signature, "nonce", NOW, how.pop("origin", LOCAL)
        )
        self.assertIn(why, str(fault))


class ChainTests(TokenCase):
    """Who vouches for whom, and how long."""

    def test_a_user_is_admitted(self) -> None:
        """With the name and the rights of its token."""
        token = self.account.token(
            self.user, "user", name="anna", pub={"allow": ["a.>"]}, sub={"deny": ["b"]}
        )
        admitted = self.admit(token)
        assert admitted is not None
        user, ends = admitted
        self.assertEqual((user.name, ends), ("anna", None))
        self.assertTrue(user.permissions.may_publish("a.b"))
        self.assertFalse(user.permissions.may_publish("b"))
        self.assertFalse(user.permissions.may_subscribe("b"))

    def test_the_older_signature(self) -> None:
        """Tokens of the first version sign only their second part."""
        self.assertIsNotNone(self.admit(self.account.token(self.user, "user", old=True)))

    def test_somebody_else_shows_it(self) -> None:
        """Without the user's key its token is worth nothing, unless it is for its bearer."""
        token = self.account.token(self.user, "user")
        self.assertIsNone(self.admit(token, signer=self.stranger))
        bearer = self.account.token(self.user, "user", bearer_token=True)
        self.assertIsNotNone(self.admit(bearer, signer=self.stranger))

    def test_a_foreign_account(self) -> None:
        """Nobody vouches for an account that the operator has not signed."""
        foreign = Key(Kind.ACCOUNT)
        self.assertIsNone(self.admit(foreign.token(self.user, "user")))
        pretending = foreign.token(self.user, "user", issuer_account=self.account.text)
        self.assertIsNone(self.admit(pretending))

    def test_a_signing_key(self) -> None:
        """An account may have further keys, which sign in its name."""
        signer = Key(Kind.ACCOUNT)
        token = signer.token(self.user, "user", issuer_account=self.account.text)
        self.assertIsNone(self.admit(token))
        self.assertIsNotNone(self.admit(token, chain=self.chain(signing_keys=[signer.text])))
    def test_times(self) -> None:
        """A token is valid from its begin to its end; the earlier end counts."""
        cases: list[tuple[dict[str, Any], bool]] = [
            ({"exp": NOW + 5}, True),
            ({"exp": NOW}, False),
            ({"nbf": NOW + 1}, False),
            ({"nbf": NOW}, True),
            ({"exp": "never"}, False),
        ]
        for claims, good in cases:
            token = self.account.token(self.user, "user", **claims)
            self.assertEqual(self.admit(token) is not None, good, claims)
        token = self.account.token(self.user, "user", exp=NOW + 50)
        admitted = self.admit(token, chain=self.chain(exp=NOW + 20))
        assert admitted is not None
        self.assertEqual(admitted[1], NOW + 20)
        self.assertIsNone(self.admit(token, chain=self.chain(exp=NOW - 1)))

    def test_what_was_taken_back(self) -> None:
        """Tokens of a user, or of all, that were issued before an account took them back."""
        token = self.account.token(self.user, "user", iat=100)
        for key, moment, good in (
            (self.user.text, 100, False),
            (self.user.text, 99, True),
            ("*", 100, False),
            (self.stranger.text, 100, True),
        ):
            chain = self.chain(revocations={key: moment})
            self.assertEqual(self.admit(token, chain=chain) is not None, good)

    def test_what_is_no_token(self) -> None:
        """Damaged texts admit nobody."""
        token = self.account.token(self.user, "user")
        head, body, signature = token.split(".")
        for wrong in (
            *("", "a.b.c", "..", f"{head}.{body}", f"{head}.{head}.{signature}"),
            *(f"{head}.{body}.", f"e30.{body}.{signature}", token + "A", "W10.W10.W10"),
            self.user.token(self.user, "user"),
        ):
            self.assertIsNone(self.admit(wrong), wrong)

    def test_rights_that_cannot_be_read(self) -> None:
        """A token with rights that make no sense admits nobody."""
        wrong: list[dict[str, Any]] = [
            *({"pub": {"allow": ["a..b"]}}, {"pub": ["a"]}, {"resp": {"max": "x"}}),
            {"sub": {"deny": "a"}},
        ]
        for claims in wrong:
            self.assertIsNone(self.admit(self.account.token(self.user, "user", **claims)))

    def test_a_chain_that_does_not_hold(self) -> None:
        """Operators sign themselves, accounts are signed by the operator."""
        other = Key(Kind.OPERATOR)
        self.assertRaises(ValueError, Chain, other.token(self.operator, "operator"), [])
        foreign = other.token(self.account, "account")
        self.assertRaises(ValueError, Chain, self.operator_token, [foreign])
        trusted = self.operator.token(self.operator, "operator", signing_keys=[other.text])
        self.assertIsNotNone(Chain(trusted, [foreign]))

    def test_strict_operators(self) -> None:
        """Where only further keys may sign, the first ones do not."""
        other, signer = Key(Kind.OPERATOR), Key(Kind.ACCOUNT)
        strict = self.operator.token(
            self.operator, "operator", signing_keys=[other.text], strict_signing_key_usage=True
        )
        account = self.operator.token(self.account, "account")
        self.assertRaises(ValueError, Chain, strict, [account])
        account = other.token(self.account, "account", signing_keys=[signer.text])
        chain = Chain(strict, [account])
        self.refused(self.account.token(self.user, "user"), "does not know", chain=chain)
        token = signer.token(self.user, "user", issuer_account=self.account.text)
        self.assertIsNotNone(self.admit(token, chain=chain))

    def test_tokens_about_something_else(self) -> None:
        """An account signs other things than users, and newer programs other versions."""
        self.refused(self.account.token(self.user, "activation"), "'activation'")
        self.refused(self.account.token(self.user, "user", version=3), "newer version")
        for kind in ("user", "account"):
            token = self.operator.token(self.operator, kind)
            self.assertRaises(ValueError, Chain, token, [])

    def test_what_is_not_understood(self) -> None:
        """It may be a restriction, so nobody comes in with it; names in capitals are others."""
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"only_on_sundays": True}, "'only_on_sundays' in the token"),
            ({"SRC": ["10.0.0.0/8"]}, "'SRC' in the token"),
            ({"max": 5}, "'max' in the token"),
            ({"pub": {"allow": ["a"], "rate": 1}}, "'rate' in pub"),
            ({"resp": {"max": 1, "bytes": 1}}, "'bytes' in resp"),
            ({"times": [{"start": "01:00:00", "end": "02:00:00", "day": 1}]}, "'day' in times"),
        ]
        for claims, why in wrong:
            self.refused(self.account.token(self.user, "user", **claims), why)

    def test_accounts_that_are_not_understood(self) -> None:
        """An account whose token has more in it than is understood is a fault from the start."""
        key = self.stranger.text
        scope = {"kind": "user_scope", "key": Key(Kind.ACCOUNT).text}
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"curfew": True}, "'curfew' in the token"),
            ({"mappings": {"a": [{"subject": "b"}]}}, "'mappings' in the token"),
            ({"limits": {"conn": -1, "rate": 5}}, "'rate' in the limits"),
            ({"limits": {"conn": -2}}, "conn is -2"),
            ({"limits": {"conn": "x"}}, "conn is no integer"),
            ({"default_permissions": {"pub": {"allow": ["a..b"]}}}, "a..b"),
            ({"default_permissions": {"times": []}}, "'times' in the permissions"),
            ({"revocations": {key: "x"}}, "no integer"),
            ({"signing_keys": [key]}, key),
            ({"signing_keys": [{**scope, "kind": "moon"}]}, "a scope that is not understood"),
            ({"signing_keys": [{**scope, "template": {"moon": 1}}]}, "'moon' in a template"),
            ({"signing_keys": [scope, scope["key"]]}, "stands twice"),
            ({"signing_keys": key}, "no list"),
        ]
        for claims, why in wrong:
            fault = self.assertRaises(ValueError, self.chain, **claims)
            self.assertIn(f"account {self.account.text}: ", str(fault))
            self.assertIn(why, str(fault))

    def test_an_account_that_has_others_decide(self) -> None:
        """A service of an account that lets its users in is not asked; those who run it come in."""
        chain = self.chain(authorization={"auth_users": [self.stranger.text]})
        self.refused(self.account.token(self.user, "user"), "others decide", chain=chain)
        token = self.account.token(self.stranger, "user")
        self.assertIsNotNone(self.admit(token, chain=chain, signer=self.stranger))

    def test_bearers(self) -> None:
        """An account may want everybody to show a key; then no token is for its bearer."""
        limits = {**UNLIMITED_ACCOUNT, "disallow_bearer": True}
        chain = self.chain(limits=limits)
        token = self.account.token(self.user, "user", bearer_token=True)
        self.refused(token, "show a key", chain=chain)
        self.assertIsNotNone(self.admit(self.account.token(self.user, "user"), chain=chain))
