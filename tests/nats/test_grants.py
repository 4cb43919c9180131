"""What tokens and templates give to users, and what they withhold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats import bounds
from atbus.nats.authentication import Limits, Origin, User
from atbus.nats.grants import UNLIMITED as NO_LIMIT
from atbus.nats.grants import Gaps, read_grant
from atbus.nats.nkeys import Kind
from atbus.nats.permissions import read_permissions
from atbus.nats.tokens import Chain
from tests.nats.signing import UNLIMITED_ACCOUNT, Key
from tests.nats.test_tokens import TokenCase

#: 01:30 in the time zone in which tests say what time it is.
MOMENT = datetime(2026, 6, 1, 1, 30, tzinfo=UTC).timestamp()


def may(user: User, subject: str) -> tuple[bool, bool]:
    """Tell whether a user may publish on a subject, and subscribe to it."""
    rights = user.permissions
    return rights.may_publish(subject), rights.may_subscribe(subject)


class UserTests(TokenCase):
    """What stands in a user's own token."""

    def shown(self, **claims: Any) -> User:
        """Let somebody in by a token."""
        return self.user_of(self.account.token(self.user, "user", **claims))

    def test_from_where(self) -> None:
        """Somebody comes from one of the networks, or not at all."""
        cases: list[tuple[object, str, bool]] = [
            (["10.0.0.0/8"], "127.0.0.1", False),
            (["10.0.0.0/8", "127.0.0.0/8"], "127.0.0.1", True),
            ("10.0.0.0/8, 127.0.0.1/32", "127.0.0.1", True),
            ("10.0.0.0/8", "127.0.0.1", False),
            (["10.1.2.3/8"], "10.9.9.9", True),
            (["fe80::/10"], "fe80::1%eth0", True),
            (["fe80::/10"], "10.0.0.1", False),
            (["::ffff:10.0.0.0/104"], "10.0.0.1", True),
            (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
            (["0.0.0.0/0"], "", False),
            ([], "127.0.0.1", True),
            (None, "127.0.0.1", True),
        ]
        for networks, host, good in cases:
            token = self.account.token(self.user, "user", src=networks)
            admitted = self.admit(token, origin=Origin(host=host))
            self.assertEqual(admitted is not None, good, (networks, host))
        token = self.account.token(self.user, "user", src=["10.0.0.0/8"])
        self.refused(token, "127.0.0.1 is not among the addresses")
        unreadable: list[object] = [["127.0.0.1"], ["127.0.0.1/8", "x"], ["127.0.0.0/255.0.0.0"]]
        for wrong in (*unreadable, [5], {}):
            self.refused(self.account.token(self.user, "user", src=wrong), "")

    def test_how_it_is_connected(self) -> None:
        """Of the kinds of connections at least one has to be ours, in any case."""
        for types, kind, good in (
            (["WEBSOCKET"], "nats", False),
            (["WEBSOCKET"], "websocket", True),
            (["standard", "MQTT"], "nats", True),
            (["standard", "MQTT"], "websocket", False),
            (["FUTURE"], "nats", False),
            ([], "nats", True),
        ):
            token = self.account.token(self.user, "user", allowed_connection_types=types)
            admitted = self.admit(token, origin=Origin(host="127.0.0.1", kind=kind))
            self.assertEqual(admitted is not None, good, (types, kind))

    def test_at_what_time(self) -> None:
        """Somebody comes at one of the times of the day, and goes when it ends."""
        hour = 3_600.0
        cases: list[tuple[list[tuple[str, str]], str, float | None]] = [
            ([("01:00:00", "02:00:00")], "UTC", hour / 2),
            ([("1:00:00", "02:00:00")], "UTC", hour / 2),
            ([("02:00:00", "03:00:00")], "UTC", None),
            ([("02:00:00", "03:00:00"), ("01:30:00", "01:30:01")], "UTC", None),
            ([("02:00:00", "03:00:00"), ("00:00:00", "23:00:00")], "UTC", 21.5 * hour),
            # Over midnight: before it, and behind it.
            ([("01:00:00", "00:30:00")], "UTC", 23 * hour),
            ([("22:00:00", "02:00:00")], "UTC", hour / 2),
            ([("22:00:00", "01:00:00")], "UTC", None),
            ([("22:00:00", "02:00:00")], "Etc/GMT+3", 3.5 * hour),
            ([("03:00:00", "04:00:00")], "Europe/Berlin", hour / 2),
            ([("01:00:00", "02:00:00")], "Europe/Berlin", None),
        ]
        for times, zone, left in cases:
            ranges = [{"start": begin, "end": end} for begin, end in times]
            claims: dict[str, Any] = {"times": ranges, "times_location": zone}
            token = self.account.token(self.user, "user", **claims)
            admitted = self.admit(token, now=MOMENT)
            ends = None if admitted is None else admitted[1]
            self.assertEqual(ends, None if left is None else MOMENT + left, (times, zone))
        # The earlier end counts.
        claims = {"times": [{"start": "01:00:00", "end": "02:00:00"}], "times_location": "UTC"}
        token = self.account.token(self.user, "user", exp=MOMENT + 5, **claims)
        admitted = self.admit(token, now=MOMENT)
        assert admitted is not None
        self.assertEqual(admitted[1], MOMENT + 5)

    def test_times_that_are_none(self) -> None:
        """Nobody comes at a time that cannot be read, or in a place that is nowhere."""
        good = {"start": "00:00:00", "end": "23:59:59"}
        unreadable: list[dict[str, Any]] = [
            {"times": [good], "times_location": "Nowhere/At_all"},
            {"times_location": "Nowhere/At_all"},
            {"times_location": "../etc/passwd"},
            {"times": [{"start": "00:00:00"}]},
            {"times": [{"start": "00:00:00", "end": "24:00:00"}]},
            {"times": [{"start": "", "end": "x"}]},
            {"times": good},
            {"times": ["00:00:00"]},
        ]
        for wrong in unreadable:
            self.refused(self.account.token(self.user, "user", **wrong), "")

    def test_answers_alone(self) -> None:
        """Who may answer publishes nothing else, even where nothing is said of that."""
        for resp, most, seconds in (
            ({"max": 2, "ttl": 10**9}, 2, 1.0),
            ({}, 1, 120.0),
            ({"max": 0, "ttl": 0}, 1, 120.0),
            ({"max": -1, "ttl": -1}, -1, 0.0),
        ):
            user = self.shown(resp=resp)
            self.assertEqual(may(user, "a"), (False, True))
            rights = user.permissions
            self.assertEqual((rights.responses, rights.responses_seconds), (most, seconds))
        self.assertEqual(may(self.shown(resp={}, pub={"allow": ["a"]}), "a"), (True, True))
        self.assertEqual(may(self.shown(resp={}, pub={"deny": ["b"]}), "a"), (False, True))

    def test_empty_lists(self) -> None:
        """An empty list of what is allowed allows nothing beside one of what is denied."""
        self.assertEqual(may(self.shown(pub={"allow": [], "deny": ["b"]}), "a"), (False, True))
        self.assertEqual(may(self.shown(sub={"allow": None, "deny": ["b"]}), "a"), (True, True))
        self.assertEqual(may(self.shown(pub={"allow": []}, sub={}), "a"), (True, True))

    def test_limits(self) -> None:
        """What is missing is zero; of the account's and the user's limits the smaller counts."""
        bare = self.account.token(self.user, "user", bare=True)
        self.assertEqual(self.user_of(bare).limits, Limits(subscriptions=0, payload_bytes=0))
        self.assertEqual(self.shown().limits, Limits())
        chain = self.chain(limits={**UNLIMITED_ACCOUNT, "subs": 5, "payload": 10, "conn": 7})
        token = self.account.token(self.user, "user", subs=9, payload=8)
        user = self.user_of(token, chain=chain)
        self.assertEqual(user.limits, Limits(subscriptions=5, payload_bytes=8, connections=7))
        self.assertEqual(user.issuer, self.account.text)
        for wrong in (-2, 1.5, "5", True, None, 2**63):
            for name in ("subs", "payload", "data"):
                claims: dict[str, Any] = {name: wrong}
                self.refused(self.account.token(self.user, "user", **claims), name)

    def test_an_account_without_limits(self) -> None:
        """It has no connections, as at nats-server."""
        token = self.operator.token(self.account, "account", bare=True)
        chain = Chain(self.operator_token, [token])
        user = self.user_of(self.account.token(self.user, "user"), chain=chain)
        self.assertEqual(user.limits.connections, 0)

    def test_permissions_of_the_account(self) -> None:
        """They are for users who have none, and not to be mixed with those of others."""
        chain = self.chain(default_permissions={"pub": {"allow": ["a"]}, "sub": {"deny": ["b"]}})
        cases: list[tuple[dict[str, Any], tuple[bool, bool]]] = [
            ({}, (False, False)),
            ({"pub": {}, "sub": {}}, (False, False)),
            ({"sub": {"allow": ["b"]}}, (True, True)),
            ({"resp": {"max": 1}}, (False, True)),
        ]
        for claims, rights in cases:
            token = self.account.token(self.user, "user", **claims)
            self.assertEqual(may(self.user_of(token, chain=chain), "b"), rights, claims)

    def test_queue_groups(self) -> None:
        """One subscribes in a group, and publishes to none."""
        self.shown(sub={"allow": ["a q"]})
        self.refused(self.account.token(self.user, "user", pub={"allow": ["a q"]}), "queue group")


class TemplateTests(TokenCase):
    """What stands in the template of a signing key."""

    def setUp(self) -> None:
        super().setUp()
        self.signer = Key(Kind.ACCOUNT)

    def scoped(self, template: dict[str, Any] | None, **claims: Any) -> Chain:
        """Make a chain whose account has a key with a template."""
        scope = {"kind": "user_scope", "key": self.signer.text, "role": "r", "template": template}
        return self.chain(name="shop", tags=["site:berlin"], signing_keys=[scope], **claims)

    def token(self, **claims: Any) -> str:
        """Sign a user's token with that key."""
        account = self.account.text
        return self.signer.token(self.user, "user", bare=True, issuer_account=account, **claims)

    def test_it_says_everything(self) -> None:
        """A user has the rights and limits of the template; a number that is missing is none."""
        chain = self.scoped({"pub": {"allow": ["a.>"]}, "sub": {"allow": ["b"]}, "subs": 3})
        user = self.user_of(self.token(), chain=chain)
        self.assertEqual((may(user, "a.b"), may(user, "b")), ((True, False), (False, True)))
        self.assertEqual(user.limits, Limits(subscriptions=3))
        for nothing in (None, dict[str, Any]()):
            user = self.user_of(self.token(), chain=self.scoped(nothing))
            self.assertEqual((may(user, "x"), user.limits), ((True, True), Limits()))

    def test_permissions_of_the_account(self) -> None:
        """They are for a template without any, too."""
        chain = self.scoped({"subs": -1}, default_permissions={"pub": {"allow": ["a"]}})
        self.assertEqual(may(self.user_of(self.token(), chain=chain), "b"), (False, True))

    def test_a_token_that_says_more(self) -> None:
        """What a token says beside its template makes it worthless, whatever it is."""
        chain = self.scoped({"pub": {"allow": ["a.>"]}})
        more: list[dict[str, Any]] = [
            *({"pub": {"allow": [">"]}}, {"sub": {"allow": []}}, {"resp": {}}, {"subs": -1}),
            *({"data": -1}, {"payload": 5}, {"bearer_token": True}, {"src": ["10.0.0.0/8"]}),
            *({"times": [{}]}, {"times_location": "UTC"}),
            {"allowed_connection_types": ["STANDARD"]},
        ]
        for claims in more:
            self.refused(self.token(**claims), "has a template", chain=chain)
        empty: list[dict[str, Any]] = [
            *({"pub": {}}, {"subs": 0}, {"src": []}, {"bearer_token": False}),
        ]
        for nothing in empty:
            self.assertIsNotNone(self.admit(self.token(**nothing), chain=chain), nothing)

    def test_other_restrictions(self) -> None:
        """Networks, times, kinds of connections and who bears the token are the template's."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"src": ["10.0.0.0/8"]}, "127.0.0.1"),
            ({"times": [{"start": "01:00:00", "end": "01:00:00"}]}, "not a time"),
            ({"allowed_connection_types": ["WEBSOCKET"]}, "WEBSOCKET"),
        ]
        for template, why in cases:
            self.refused(self.token(), why, chain=self.scoped(template))
        bearer = self.scoped({"bearer_token": True})
        self.assertIsNotNone(self.admit(self.token(), chain=bearer, signer=self.stranger))
        limits = {**UNLIMITED_ACCOUNT, "disallow_bearer": True}
        chain = self.scoped({"bearer_token": True}, limits=limits)
        self.refused(self.token(), "show a key", chain=chain)

    def test_gaps(self) -> None:
        """They are filled with what is known of the user and of the account."""
        for subject, good in (
            ("{{name()}}.>", "anna.x"),
            ("x.{{subject()}}", f"x.{self.user.text}"),
            ("{{account-name()}}", "shop"),
            ("{{Account-Subject()}}", self.account.text),
            ("{{tag(team)}}.*", "red.x"),
            ("{{tag(team)}}.*", "blue.x"),
            ("{{tag(team)}}.{{account-tag(site)}}", "blue.berlin"),
        ):
            chain = self.scoped({"pub": {"allow": [subject]}, "sub": {"deny": [subject]}})
            token = self.token(name="anna", tags=["team:red", "team:blue", "x:y"])
            user = self.user_of(token, chain=chain)
            self.assertEqual(may(user, good), (True, False), subject)
            self.assertEqual(may(user, "other.one"), (False, True), subject)

    def test_gaps_that_nothing_fills(self) -> None:
        """What would be allowed is not, and where something would be denied nobody comes in."""
        for subject in ("{{tag(none)}}.>", "{{name()}}", "a.{{tag(wild)}}"):
            token = self.token(tags=["wild:*", "wild:>", "wild:a..b", "wild: ", "two:a"], name="*")
            user = self.user_of(token, chain=self.scoped({"pub": {"allow": [subject]}}))
            self.assertEqual(may(user, "a.x"), (False, True), subject)
            chain = self.scoped({"sub": {"deny": [subject]}})
            self.refused(token, "nothing is known that fills", chain=chain)
        grouped = {"allow": ["{{tag(two)}}.x q"]}
        user = self.user_of(self.token(tags=["two:a"]), chain=self.scoped({"sub": grouped}))
        self.assertFalse(user.permissions.may_subscribe("a.x", "q"))
        chain = self.scoped({"pub": {"allow": ["{{moon()}}"]}})
        self.refused(self.token(), "'{{moon()}}' is not understood", chain=chain)
        chain = self.scoped({"pub": {"allow": ["{{name(x)}}"]}})
        self.refused(self.token(), "is not understood", chain=chain)

    def test_too_many_subjects(self) -> None:
        """A template that stands for very many subjects lets nobody in."""
        gaps = Gaps(values={}, tags={"tag": [f"a:{number}" for number in range(100)]})
        table = {"pub": {"allow": ["{{tag(a)}}.{{tag(a)}}"]}}
        self.assertGreater(100 * 100, bounds.TEMPLATE_SUBJECTS_MAX)
        self.assertRaises(ValueError, read_grant, table, missing=NO_LIMIT, fill=gaps.fill)
        table = {"pub": {"allow": ["{{tag(a)}}"] * (bounds.TEMPLATE_SUBJECTS_MAX // 100)}}
        read_grant(table, missing=NO_LIMIT, fill=gaps.fill)
        table["pub"]["allow"].append("one.more")
        self.assertRaises(ValueError, read_grant, table, missing=NO_LIMIT, fill=gaps.fill)


class TableTests(SynchronousTestCase):
    """Users of a configuration."""

    def test_answers_alone(self) -> None:
        """Who may answer publishes only what is allowed besides."""
        rights = read_permissions({"responses": 1, "subscribe": ["a"]})
        self.assertFalse(rights.may_publish("a"))
        self.assertFalse(rights.publishes_freely)
        rights = read_permissions({"responses": -1, "publish": {"deny": ["b"]}})
        self.assertFalse(rights.may_publish("a"))
        rights = read_permissions({"responses": 1, "publish": ["a"]})
        self.assertTrue(rights.may_publish("a"))
        self.assertTrue(read_permissions({"responses": 0}).publishes_freely)
