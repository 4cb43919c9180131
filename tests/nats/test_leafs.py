"""Who comes in at the port for leafs."""

from __future__ import annotations

import re
from functools import partial
from random import Random
from typing import Any

from atbus.nats import bounds
from atbus.nats.gateway import Gateway
from atbus.nats.monitor import Monitor
from atbus.testing.leaf_fuzz import hostile_leaf
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.leaf_transcripts import LEAF_TRANSCRIPTS, stripped
from tests.nats.told import told
from tests.nats.transcripts import EOF, QUIET

PORT = 7422


def _is_gone(caller: Caller) -> bool:
    return caller.is_gone


class DoorTests(HarborTests):
    """The port for leafs of one node."""

    def open(self, **nats: Any) -> Gateway:
        """Start a node with such a port."""
        return self.alone(leaf_listen=f"127.0.0.1:{PORT}", **nats)

    def leaf(self, gateway: Gateway) -> Caller:
        """Call there."""
        [port] = [
            each
            for each in self.quays[gateway.node].ports
            if each.getHost().port == PORT  # type: ignore[attr-defined]  # of an address on TCP
        ]
        leaf = Caller(self.network.clock, port)
        self.assertTrue(leaf.hears().startswith(b"INFO {"))
        return leaf

    def test_every_answer_is_the_same(self) -> None:
        """To each script a gateway answers with the bytes that nats-server answered with."""
        gateway = self.open()
        for transcript in LEAF_TRANSCRIPTS:
            leaf = self.leaf(gateway)
            leaf.says(transcript.says)
            self.network.settle(0.1)
            self.assertEqual(stripped(leaf.hears()), transcript.hears, transcript.name)
            leaf.hangs_up()

    def test_half_a_letter_is_no_name(self) -> None:
        """Credentials that JSON can write and no text can hold are refused like any others."""
        gateway = self.open(leaf_user="we", leaf_password="geheim")
        for shown in (b'"\\ud800"', b"[]", b"5", b'"w\xc3\xa9"'):
            leaf = self.leaf(gateway)
            leaf.says(b'CONNECT {"user":%s,"pass":"geheim"}\r\n' % shown)
            self.assertEqual(leaf.hears(), b"-ERR 'Authorization Violation'\r\n")
            self.until(partial(_is_gone, leaf))

    def test_there_are_so_many(self) -> None:
        """One that comes when there are enough is closed, and one may come when one has gone."""
        gateway = self.open()
        self.patch(bounds, "LEAFS_MAX", 2)
        first = self.leaf(gateway)
        self.leaf(gateway)
        self.assertIsNone(gateway.leafs.door.buildProtocol(None))
        first.says(b"what\r\n")
        self.until(lambda: first.is_gone)
        self.leaf(gateway)

    def test_who_takes_nothing(self) -> None:
        """A leaf that does not read is closed in time, and so is one that does not let us go."""
        gateway = self.open(write_seconds=5.0)
        for is_told in (False, True):
            leaf = self.leaf(gateway)
            leaf.says(b"CONNECT {}\r\nLS+ a\r\nPING\r\n")
            client = self.caller(gateway)
            leaf.is_deaf = True
            client.says(b"CONNECT {}\r\nPUB a 2\r\nhi\r\n")
            self.network.settle(1.0)
            [link] = gateway.leafs.links
            if is_told:
                link.close("the node stops")
            self.network.settle(3.0)
            self.assertEqual((leaf.is_gone, link.takes_part), (False, not is_told))
            self.network.settle(2.0)
            self.assertEqual((leaf.is_gone, gateway.leafs.links), (True, []))

    def test_who_takes_little(self) -> None:
        """A leaf that takes a byte now and then is served, until it takes none for as long."""
        gateway = self.open(write_seconds=5.0)
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nLS+ a\r\nPING\r\n")
        client = self.caller(gateway)
        leaf.is_deaf = True
        client.says(b"CONNECT {}\r\nPUB a 200\r\n%b\r\n" % bytes(200))
        self.network.settle(0.1)
        for _ in range(20):
            self.network.settle(4.0)
            leaf.says(b"PONG\r\n")
            leaf.takes(1)
        self.assertEqual(len(gateway.leafs.links), 1)
        self.network.settle(6.5)
        self.assertEqual((leaf.is_gone, gateway.leafs.links), (True, []))

    def test_a_slow_leaf_is_told_why_it_is_closed(self) -> None:
        """What waits when a connection is closed in good order is sent first."""
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nLS+ a\r\nPING\r\n")
        self.network.settle()
        leaf.hears()
        leaf.is_deaf = True
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPUB a 2\r\nhi\r\nPING\r\nPUB a 2\r\nho\r\n")
        leaf.says(b"what\r\n")
        self.network.settle()
        leaf.listens()
        self.network.settle()
        wanted = b"LMSG a 2\r\nhi\r\nLMSG a 2\r\nho\r\n-ERR 'Unknown Protocol Operation'\r\n"
        self.assertEqual(leaf.hears(), wanted + EOF)

    def test_too_much_waits(self) -> None:
        """A leaf for which too much waits is closed, and clients are served on."""
        self.patch(bounds, "LEAF_PENDING_BYTES", 100_000)
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nLS+ a\r\nPING\r\n")
        leaf.is_deaf = True
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nSUB a 1\r\n")
        for _ in range(30):
            client.says(b"PUB a 10000\r\n" + bytes(10_000) + b"\r\n")
            self.network.settle(0.01)
        self.assertEqual(gateway.leafs.links, [])
        client.says(b"PUB a 2\r\nok\r\n")
        self.network.settle()
        self.assertIn(b"\r\nok\r\n", client.hears())

    def test_hostile_leafs(self) -> None:
        """Whatever a leaf says, nothing comes of it but its own end, and clients are served on."""
        gateway = self.open()
        said = [hostile_leaf(Random(number)) for number in range(300)]
        said += [
            b"CONNECT {}\r\nLS+ a..b\r\nLS+ a b%d %d\r\n" % (number, 10**number)
            for number in (3, 9, 15, 40)
        ]
        said.append(b"CONNECT {}\r\nLMSG a.* 2\r\nok\r\nLMSG a b..c 2\r\nok\r\n")
        said.append(b"CONNECT {}\r\nLMSG a | " + b"q" * 300 + b" 2\r\nok\r\n")
        said.append(b"CONNECT {}\r\nHMSG a 4 6\r\nnone" + b"ok\r\n")
        for text in said:
            leaf = self.leaf(gateway)
            leaf.says(text)
            self.network.settle(0.1)
            if not leaf.is_gone:
                leaf.protocol.close("seen enough")
            self.until(partial(_is_gone, leaf))
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nSUB a 1\r\nPUB a 2\r\nok\r\n")
        self.network.settle()
        self.assertIn(b"MSG a 1 2\r\nok\r\n", client.hears())

    def test_interest_in_an_answer_goes_before_the_question(self) -> None:
        """A server that answers at once knows who waits for the answer."""
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ ask\r\n")
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPING\r\n")
        self.network.settle()
        leaf.hears()
        client.says(b"SUB box 9\r\nPUB ask box 4\r\nwhat\r\n")
        self.network.settle()
        self.assertEqual(leaf.hears(), b"LS+ box\r\nLMSG ask box 4\r\nwhat\r\n")

    def test_what_stays_here(self) -> None:
        """A server that wants everything gets nothing of the bus, and nothing that finds loops."""
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ >\r\nLS+ $LDS.theirs\r\n")
        self.network.settle()
        leaf.hears()
        for subject in ("$ATBUS.accounts.shop.a", "$LDS.theirs", "a"):
            gateway.node.publish(subject, b"")
        self.network.settle()
        self.assertEqual(leaf.hears(), b"LMSG a 0\r\n\r\n")

    def test_a_question_of_a_node(self) -> None:
        """A server that answers at once knows that a node waits for the answer, whichever it is."""
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ ask\r\n")
        self.network.settle()
        leaf.hears()
        answer = gateway.node.request_subject("ask", b"what")
        self.network.settle()
        asked = re.fullmatch(
            rb"LS\+ (_INBOX\.\w+)\.\*\r\nLMSG ask (\1\.\w+) 4\r\nwhat\r\n", leaf.hears()
        )
        assert asked is not None
        leaf.says(b"LMSG %s 4\r\nthat\r\n" % asked[2])
        self.assertEqual(self.network.result_of(answer).payload, b"that")

    def test_an_answer_is_asked_for_once(self) -> None:
        """Interest that is late is not told again: a server counts it, and tells it for ever."""
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ ask\r\n")
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPUB ask box 0\r\n\r\nSUB box 9\r\nPING\r\n")
        self.network.settle()
        self.assertEqual(leaf.hears().count(b"LS+ box\r\n"), 1)
        client.says(b"UNSUB 9\r\n")
        self.network.settle()
        self.assertEqual(leaf.hears(), b"LS- box\r\n")

    def test_a_question_that_may_not_go_there(self) -> None:
        """When only a leaf wants it that may not have it, the client is told so at once."""
        user = {"user": "u", "password": "p", "permissions": {"subscribe": {"deny": ["secret.>"]}}}
        gateway = self.open(leaf_users=[user])
        leaf = self.leaf(gateway)
        leaf.says(b'CONNECT {"user":"u","pass":"p"}\r\nPING\r\nLS+ >\r\nLS+ > q 1\r\n')
        client = self.caller(gateway)
        client.says(QUIET + b"SUB box 9\r\nPING\r\n")
        self.network.settle()
        leaf.hears()
        client.hears()
        client.says(b"PUB secret.a box 0\r\n\r\n")
        self.assertEqual(client.hears(), b"HMSG box 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
        client.says(b"PUB open box 0\r\n\r\n")
        self.network.settle()
        self.assertEqual(leaf.hears(), b"LMSG open + box q 0\r\n\r\n")

    def test_a_group_whose_member_has_just_left(self) -> None:
        """What a branch of the bus hands back goes to the leaf that has a member."""
        top = self.root(nats={**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"})
        gateway = self.gateway(top)
        child = self.child()
        self.network.start(top, child)
        self.network.settle()
        gone = child.subscribe("a", lambda _: None, queue="q")
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ a q 1\r\n")
        self.network.settle()
        leaf.hears()
        gone.unsubscribe()
        for _ in range(20):
            top.publish("a", b"x")
        self.network.settle()
        self.assertEqual(leaf.hears().count(b"LMSG a | q 1\r\nx\r\n"), 20)

    def test_members_behind_a_server_are_in_no_zone(self) -> None:
        """Who prefers what is near takes one of his zone, and one at the server when none is."""
        door = {**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"}
        labels = {"zone": "z"}
        top = self.root(nats=door, labels=labels, queue_policy="nearest")
        gateway, child = self.gateway(top), self.child(labels=labels)
        self.network.start(top, child)
        self.network.settle()
        heard: list[object] = []
        near = child.subscribe("a", heard.append, queue="q")
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ a q 9\r\n")
        self.network.settle()
        leaf.hears()
        for _ in range(20):
            top.publish("a", b"x")
        self.network.settle()
        self.assertEqual((len(heard), leaf.hears()), (20, b""))
        near.unsubscribe()
        self.network.settle()
        top.publish("a", b"x")
        self.network.settle()
        self.assertEqual(leaf.hears().count(b"LMSG a | q 1\r\nx\r\n"), 1)

    def test_so_many_answers_are_waited_for(self) -> None:
        """Of more questions than that, the answers to the oldest are not asked for any more."""
        self.patch(bounds, "LEAF_INBOXES_MAX", 2)
        gateway = self.open()
        leaf = self.leaf(gateway)
        leaf.says(b"CONNECT {}\r\nPING\r\nLS+ ask\r\n")
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPING\r\n")
        self.network.settle()
        leaf.hears()
        for number in range(3):
            client.says(b"PUB ask r.%d 0\r\n\r\n" % number)
            self.network.settle()
        heard = leaf.hears()
        self.assertEqual(heard.count(b"LS+ r."), 3)
        self.assertEqual(heard.count(b"LS- r.0"), 1)
        self.assertEqual(heard.count(b"LS- "), 1)

    def test_leafs_are_shown(self) -> None:
        """Those that take part are counted, with what crossed and what they want."""
        gateway = self.open(monitor="127.0.0.1:8222")
        monitor = Monitor(gateway)
        leaf = self.leaf(gateway)
        self.assertEqual(monitor.varz({})["leafnodes"], 0)
        leaf.says(b'CONNECT {"name":"far"}\r\nLS+ ask\r\nLMSG a 2\r\nok\r\nPING\r\n')
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPUB ask 4\r\nwhat\r\n")
        self.network.settle()
        self.assertEqual(monitor.varz({})["leafnodes"], 1)
        [shown] = told(monitor.leafz({"subs": "1"}))["leafs"]
        names = (
            "name",
            "is_spoke",
            "in_msgs",
            "in_bytes",
            "out_msgs",
            "out_bytes",
            "subscriptions",
        )
        self.assertEqual([shown[each] for each in names], ["far", False, 1, 2, 1, 4, 1])
        self.assertEqual(shown["subscriptions_list"], ["ask"])
        leaf.protocol.close("seen enough")
        self.assertEqual(monitor.leafz({})["leafnodes"], 0)
