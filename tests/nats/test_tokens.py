"""JSON Web Tokens: whom an operator vouches for."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.authentication import User
from atbus.nats.nkeys import Kind
from atbus.nats.tokens import Chain
from tests.nats.signing import Key

NOW = 1_000_000.0


class ChainTests(SynchronousTestCase):
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
        self, token: str, *, chain: Chain | None = None, signer: Key | None = None
    ) -> tuple[User, float | None] | None:
        """Show a token, and sign the nonce."""
        signature = (signer or self.user).sign("nonce")
        return (chain or self.chain()).admit(token, signature, "nonce", NOW)

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
        scoped = [{"kind": "user_scope", "key": signer.text}]
        self.assertIsNotNone(self.admit(token, chain=self.chain(signing_keys=scoped)))

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
