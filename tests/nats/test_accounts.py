"""Accounts of clients: who hears whom."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import SubjectError
from atbus.nats import bounds
from atbus.nats.accounts import Names
from atbus.nats.gateway import Gateway
from atbus.nats.nkeys import Kind
from atbus.node.publication import Publication
from tests.nats.harbor import Caller, HarborTests
from tests.nats.signing import Key

EAST, WEST = "ipv4://10.0.0.3:1", "ipv4://10.0.0.1:1"
USERS: dict[str, Any] = {
    "users": [
        {"user": "a1", "password": "x", "account": "a"},
        {"user": "a2", "password": "x", "account": "a", "permissions": {"publish": ["news"]}},
        {"user": "b", "password": "x", "account": "b"},
        {"user": "nobody", "password": "x"},
    ],
}


class NameTests(SynchronousTestCase):
    def test_there_and_back(self) -> None:
        """A subject of an account has a name on the bus, and the client its own for that."""
        names = Names("shop")
        self.assertEqual(names.on_bus("a.b"), "$ATBUS.accounts.shop.a.b")
        self.assertEqual(names.for_client("$ATBUS.accounts.shop.a.b"), "a.b")
        self.assertEqual(Names().for_client("a.b"), "a.b")

    def test_inboxes_of_nodes_are_outside(self) -> None:
        """What a node awaits answers on has one name everywhere."""
        inbox = "_INBOX.10001.0123456789abcdef"
        self.assertEqual(Names("shop").on_bus(inbox), inbox)
        self.assertEqual(Names("shop").for_client(inbox), inbox)
        self.assertIn("shop", Names("shop").on_bus("_INBOX.x.1"))

    def test_as_clients_write_them(self) -> None:
        """Bytes are read once, and kept in bounds."""
        names = Names("shop")
        for number in range(bounds.SUBJECTS_REMEMBERED + 1):
            self.assertEqual(names.read(b"%d" % number), f"$ATBUS.accounts.shop.{number}")
            self.assertLessEqual(len(names._known), bounds.SUBJECTS_REMEMBERED)
        self.assertEqual(names.read(b"0"), "$ATBUS.accounts.shop.0")
        self.assertRaises(UnicodeDecodeError, names.read, b"\xff")

    def test_what_belongs_to_others(self) -> None:
        """Without an account nobody gets into one."""
        for subject in ("$ATBUS.accounts.shop.a", "$ATBUS"):
            self.assertRaises(SubjectError, Names().on_bus, subject)
        self.assertEqual(Names().on_bus("$ATBUSES"), "$ATBUSES")


class AccountTests(HarborTests):
    """Two gateways, and users of two accounts and of none."""

    def begin(self, network: Any) -> None:
        """Begin a story."""
        super().begin(network)
        self.here = self.root(nats={"listen": "127.0.0.1:4222", **USERS})
        self.there = self.child(nats={"listen": "127.0.0.1:4223", **USERS})
        self.gateway_here, self.gateway_there = self.gateway(self.here), self.gateway(self.there)
        self.network.start(self.here, self.there)
        self.network.settle(2.0)

    def enters(self, gateway: Gateway, user: str, said: bytes = b"", **more: object) -> Caller:
        """Log in, and say something that all of the bus hears."""
        caller = self.caller(gateway)
        options: dict[str, object] = {"verbose": False, "pedantic": False, "headers": True}
        options |= {"no_responders": True, "user": user, "pass": "x", **more}
        caller.says(b"CONNECT %b\r\n%b" % (json.dumps(options).encode(), said))
        self.network.settle(0.5)
        return caller

    def says(self, caller: Caller, said: bytes) -> None:
        """Say something that all of the bus hears."""
        caller.says(said)
        self.network.settle(0.5)

    def heard(self, caller: Caller) -> bytes:
        """Give what a client has heard, but for questions whether it is there."""
        return caller.hears().replace(b"PING\r\n", b"")

    def test_accounts_do_not_hear_each_other(self) -> None:
        """What users of an account publish they hear, at any gateway, and nobody else does."""
        same = self.enters(self.gateway_there, "a1", b"SUB > 1\r\n")
        others = [
            self.enters(self.gateway_there, name, b"SUB > 1\r\nSUB news 2\r\nSUB *.> 3\r\n")
            for name in ("b", "nobody")
        ]
        self.enters(self.gateway_here, "a2", b"PUB news 1\r\nx\r\nPUB news 1\r\ny\r\n")
        self.assertEqual(self.heard(same), b"MSG news 1 1\r\nx\r\nMSG news 1 1\r\ny\r\n")
        self.assertEqual([self.heard(other) for other in others], [b"", b""])

    def test_nobody_gets_in(self) -> None:
        """A client without an account reaches none of them, whatever names it writes."""
        user = self.enters(self.gateway_here, "a1", b"SUB > 1\r\n")
        spy = self.enters(self.gateway_here, "nobody", b"SUB $ATBUS.> 1\r\nSUB r 2\r\n")
        for name in (b"$ATBUS.accounts.a.news", b"$ATBUS.accounts.b.news"):
            self.says(spy, b"PUB %b 1\r\nx\r\nPUB %b 1\r\nx\r\nPUB %b r 1\r\nx\r\n" % ((name,) * 3))
        self.says(spy, b"PUB r $ATBUS.accounts.a.news 1\r\nx\r\n")
        self.says(user, b"PUB news 1\r\nx\r\n")
        self.assertEqual(self.heard(user), b"MSG news 1 1\r\nx\r\n")
        nobody = b"HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        told = nobody.replace(b"r 2", b"$ATBUS.accounts.a.news 1")
        refused = b"-ERR 'Permissions Violation for Publish %b \"$ATBUS.accounts.%b.news\"'\r\n"
        each = [3 * (refused % (b"to", name)) + nobody for name in (b"a", b"b")]
        wanted = [*each, refused % (b"with Reply of", b"a"), told]
        self.assertEqual(self.heard(spy), b"".join(wanted))

    def test_requests_and_groups_within_an_account(self) -> None:
        """Requests find answers, or nobody; a group's members are those of the account."""
        worker = self.enters(self.gateway_there, "a1", b"SUB work g 1\r\n")
        other = self.enters(self.gateway_there, "b", b"SUB work g 1\r\n")
        asker = self.enters(self.gateway_here, "a1", b"SUB _INBOX.q.* 7\r\n")
        self.says(asker, b"PUB work _INBOX.q.1 2\r\nhi\r\n")
        self.assertEqual(self.heard(worker), b"MSG work 1 _INBOX.q.1 2\r\nhi\r\n")
        self.assertEqual(self.heard(other), b"")
        self.says(worker, b"PUB _INBOX.q.1 5\r\nhello\r\n")
        self.assertEqual(self.heard(asker), b"MSG _INBOX.q.1 7 5\r\nhello\r\n")
        self.says(worker, b"UNSUB 1\r\n")
        self.says(asker, b"PUB work _INBOX.q.2 2\r\nhi\r\n")
        nobody = b"HMSG _INBOX.q.2 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        self.assertEqual(self.heard(asker), nobody)

    def test_a_node_talks_with_an_account(self) -> None:
        """Under the long names a program gets what clients publish, and asks them."""
        got: list[Publication] = []
        self.here.subscribe("$ATBUS.accounts.a.news", got.append)
        self.network.settle(0.5)
        client = self.enters(self.gateway_there, "a1", b"PUB news r 1\r\nx\r\nSUB sum 1\r\n")
        self.assertEqual([each.reply_to for each in got], ["$ATBUS.accounts.a.r"])
        asked = self.here.request_subject("$ATBUS.accounts.a.sum", b"1 2")
        self.network.settle(0.5)
        line, _, rest = self.heard(client).partition(b"\r\n")
        self.assertEqual(rest, b"1 2\r\n")
        client.says(b"PUB %b 1\r\n3\r\n" % line.split()[3])
        self.assertEqual(self.network.result_of(asked).payload, b"3")

    def test_a_client_that_becomes_another(self) -> None:
        """After another CONNECT its subscriptions are those of the other account."""
        client = self.enters(self.gateway_here, "a1", b"SUB news 1\r\n")
        options = {"verbose": False, "user": "b", "pass": "x"}
        client.says(b"CONNECT %b\r\n" % json.dumps(options).encode())
        self.enters(self.gateway_here, "a1", b"PUB news 1\r\na\r\n")
        self.enters(self.gateway_here, "b", b"PUB news 1\r\nb\r\n")
        self.assertEqual(self.heard(client), b"MSG news 1 1\r\nb\r\n")

    def test_which_account_a_client_is_in(self) -> None:
        """The account is that of the user, else that of the table, else none."""
        users = [{"user": "b", "password": "x"}, {"user": "c", "password": "x", "account": "own"}]
        table = {"user": "a", "password": "x", "account": "all", "users": users}
        node = self.node(0x10005, nats={"listen": "127.0.0.1:4224", **table})
        gateway = self.gateway(node)
        self.network.start(node)
        for user in ("a", "b", "c"):
            self.enters(gateway, user)
        names = [each.names.account for each in gateway.clients.values()]
        self.assertEqual(names, ["all", "all", "own"])

    def test_accounts_of_an_operator(self) -> None:
        """If they are to be separate, each is under its public key."""
        operator, one, other = Key(Kind.OPERATOR), Key(Kind.ACCOUNT), Key(Kind.ACCOUNT)
        table = {
            "operator": operator.token(operator, "operator"),
            "accounts": [operator.token(each, "account") for each in (one, other)],
            "separate_accounts": True,
        }
        node = self.node(0x10006, nats={"listen": "127.0.0.1:4225", **table})
        gateway = self.gateway(node)
        self.network.start(node)
        callers = []
        for account in (one, one, other):
            caller, user = self.caller(gateway, greeted=False), Key(Kind.USER)
            sig = user.sign(json.loads(caller.hears().removeprefix(b"INFO "))["nonce"])
            options = {"verbose": False, "jwt": account.token(user, "user"), "sig": sig}
            caller.says(b"CONNECT %b\r\nSUB > 1\r\n" % json.dumps(options).encode())
            callers.append(caller)
        callers[0].says(b"PUB a 1\r\nx\r\n")
        heard = [self.heard(caller) for caller in callers]
        self.assertEqual(heard, [b"MSG a 1 1\r\nx\r\n"] * 2 + [b""])
        self.assertEqual(gateway.clients[3].names.account, other.text)

    def test_too_long_with_its_account(self) -> None:
        """A subject that is too long on the bus is none; the client stays."""
        client = self.enters(self.gateway_here, "a1")
        long = b".".join([b"x"] * 14)
        client.says(b"SUB %b 1\r\nPUB %b 1\r\nx\r\nSUB a 2\r\nPUB a 1\r\nx\r\n" % (long, long))
        told = b"-ERR 'Permissions Violation for %b to \"%b\"'\r\n"
        self.assertEqual(
            self.heard(client),
            told % (b"Subscription", long)
            + told % (b"Publish", long)
            + b"MSG a 2 1\r\nx\r\n",
        )
