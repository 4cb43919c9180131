"""A gateway and its clients, on a node of a virtual network."""

from __future__ import annotations

import json
from typing import Any

from atbus.errors import ListenFailed
from atbus.nats.faults import Reason
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.transcripts import EOF, QUIET, TRANSCRIPTS

INFORMED = (
    b'CONNECT {"verbose":false,"pedantic":false,"protocol":1,"headers":true,'
    b'"no_responders":true}\r\n'
)


def info_of(line: bytes) -> dict[str, Any]:
    """Read an INFO line."""
    text = line.partition(b" ")[2].partition(b"\r\n")[0]
    return dict(json.loads(text))


class TranscriptTests(HarborTests):
    """The whole way: bytes in, the node's subjects, bytes out."""

    def test_every_answer_is_the_same(self) -> None:
        """To each script a gateway answers with the bytes that nats-server answered with."""
        gateway = self.alone()
        for transcript in TRANSCRIPTS:
            caller = self.caller(gateway)
            caller.says(transcript.says)
            self.network.settle(0.1)
            heard = caller.hears()
            if transcript.name == "a queue of two patterns":
                # Either member may get it.
                heard = heard.replace(b"w.x 2 0", b"w.x 1 0")
            self.assertEqual(heard, transcript.hears, transcript.name)
            caller.hangs_up()


class LifeTests(HarborTests):
    """A gateway begins and ends with its node."""

    def test_clients_wait_until_the_node_is_up(self) -> None:
        """Connections are accepted when the node can carry what they say."""
        node = self.node(nats=DOOR)
        gateway = self.gateway(node)
        port = self.quays[node].ports[0]
        self.assertFalse(port.is_reading)
        self.network.start(node)
        self.assertTrue(port.is_reading)
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB a 1\r\nPUB a 2\r\nhi\r\n")
        self.assertEqual(caller.hears(), b"MSG a 1 2\r\nhi\r\n")

    def test_an_address_that_is_taken(self) -> None:
        """A gateway that cannot listen somewhere listens nowhere, and says where."""
        node = self.node(nats={**DOOR, "monitor": "127.0.0.1:4222"})
        fault = self.assertRaises(ListenFailed, self.gateway, node)
        self.assertIn("nats.monitor = 127.0.0.1:4222", str(fault))
        self.assertEqual(self.quays[node].ports, [])

    def test_the_end_of_a_gateway(self) -> None:
        """Clients see their connection closed, without a word; their subscriptions are gone."""
        gateway = self.alone()
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB a 1\r\n")
        stopping = gateway.stopService()
        self.network.result_of(stopping)
        self.assertEqual(caller.hears(), EOF)
        unheard: list[bool] = []
        gateway.node.publish("a", b"", unheard=lambda: unheard.append(True))
        self.assertEqual(unheard, [True])

    def test_a_client_that_goes(self) -> None:
        """What it had subscribed to is gone with it, and it is remembered among the closed."""
        gateway = self.alone()
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB a 1\r\nPUB a 2\r\nhi\r\n")
        caller.hangs_up()
        self.assertEqual([each.number for each in gateway.closed], [1])
        self.assertEqual(gateway.past.in_bytes, 2)
        other = self.caller(gateway)
        other.says(INFORMED + b"SUB r 1\r\nPUB a r 0\r\n\r\n")
        self.assertIn(b"NATS/1.0 503", other.hears())

    def test_too_many(self) -> None:
        """One client more than allowed is greeted, told so, and closed."""
        gateway = self.alone(connections_max=1)
        self.caller(gateway)
        second = self.caller(gateway, greeted=False)
        self.network.settle(0.1)
        heard = second.hears()
        self.assertTrue(heard.startswith(b"INFO {"))
        self.assertTrue(heard.endswith(b"\r\n-ERR 'maximum connections exceeded'\r\n" + EOF))

    def test_a_lame_duck(self) -> None:
        """Clients are told to go, then closed one by one; nobody new comes in."""
        gateway = self.alone(lame_duck_grace_seconds=10.0, lame_duck_seconds=20.0)
        callers = [self.caller(gateway, greeted=False) for _ in range(2)]
        first = [info_of(caller.hears()) for caller in callers]
        for caller in callers:
            caller.says(INFORMED + b"PING\r\n")
            self.assertEqual(caller.hears(), b"PONG\r\n")
        gateway.lame_duck()
        self.assertEqual(self.quays[gateway.node].ports, [])
        for caller, info in zip(callers, first, strict=True):
            # Where it is no longer is said as well, as servers do.
            self.assertEqual(info_of(caller.hears()), {**info, "ldm": True})
            caller.says(b"PONG\r\n")
        self.network.settle(9.0)
        self.assertFalse(callers[0].is_gone)
        self.network.settle(2.0)
        self.assertTrue(callers[0].is_gone)
        self.assertFalse(callers[1].is_gone)
        self.network.settle(10.0)
        self.assertTrue(callers[1].is_gone)

    def test_silence(self) -> None:
        """A client that does not answer PING is told that it is stale, and closed."""
        gateway = self.alone(ping_seconds=1.0)
        caller = self.caller(gateway)
        caller.says(QUIET + b"PING\r\n")
        self.network.settle(5.0)
        stale = b"PONG\r\nPING\r\nPING\r\n-ERR 'Stale Connection'\r\n" + EOF
        self.assertEqual(caller.hears(), stale)
        self.assertEqual(gateway.closed[0].reason, Reason.STALE)


class SlowTests(HarborTests):
    """Clients that do not take what they are sent."""

    def setUp(self) -> None:
        super().setUp()
        self.slow_gateway = self.alone(pending_bytes_max=100_000, write_seconds=5.0)
        self.slow = self.caller(self.slow_gateway)
        self.slow.says(QUIET + b"SUB a 1\r\n")
        self.publisher = self.caller(self.slow_gateway)
        self.publisher.says(QUIET)
        self.slow.is_deaf = True

    def publishes(self, count: int) -> None:
        """Publish messages of a thousand bytes."""
        self.publisher.says(b"PUB a 1000\r\n%b\r\n" % (b"x" * 1000) * count)

    def test_too_much_waits(self) -> None:
        """A client for whom too much waits is closed without a word; others notice nothing."""
        self.publishes(1)
        self.publishes(50)
        self.assertFalse(self.slow.is_gone)
        self.publishes(60)
        self.network.settle(0.1)
        self.assertTrue(self.slow.is_gone)
        self.assertEqual(self.slow.hears(), EOF)
        self.assertEqual(self.slow_gateway.slow_consumers, 1)
        self.assertEqual(self.slow_gateway.closed[0].reason, Reason.SLOW_CONSUMER_BYTES)
        self.publisher.says(b"PING\r\n")
        self.assertEqual(self.publisher.hears(), b"PONG\r\n")

    def test_nothing_moves(self) -> None:
        """A client that takes nothing for the write deadline is closed."""
        self.publishes(1)
        self.network.settle(4.0)
        self.assertFalse(self.slow.is_gone)
        self.network.settle(2.0)
        self.assertTrue(self.slow.is_gone)
        self.assertEqual(self.slow_gateway.closed[0].reason, Reason.SLOW_CONSUMER_TIME)

    def test_something_moves(self) -> None:
        """A client that takes a byte now and then is served, until it takes none for as long."""
        self.publishes(1)
        for _ in range(20):
            self.network.settle(4.0)
            self.slow.takes(1)
        self.assertFalse(self.slow.is_gone)
        self.network.settle(4.0)
        self.assertFalse(self.slow.is_gone)
        self.network.settle(2.5)
        self.assertTrue(self.slow.is_gone)
        self.assertEqual(self.slow_gateway.closed[0].reason, Reason.SLOW_CONSUMER_TIME)

    def test_it_moves_and_is_closed(self) -> None:
        """When a connection is to end, what waits has to be taken in the time for nothing."""
        self.publishes(1)
        self.slow.says(b"FOO\r\n")
        for _ in range(9):
            self.network.settle(0.5)
            self.slow.takes(1)
        self.assertFalse(self.slow.is_gone)
        self.network.settle(1.0)
        self.assertTrue(self.slow.is_gone)

    def test_a_pause_loses_nothing(self) -> None:
        """Who takes it in time gets everything, in order."""
        self.publishes(1)
        self.publishes(50)
        self.slow.listens()
        self.assertEqual(self.slow.hears().count(b"MSG a 1 1000\r\n"), 51)
        self.network.settle(20.0)
        self.assertFalse(self.slow.is_gone)

    def test_publishers_are_slowed_down(self) -> None:
        """Before a subscriber is too far behind, its publishers are read for a moment less."""
        self.publishes(1)
        self.publishes(60)
        self.assertFalse(self.publisher.is_unread)
        self.publishes(20)
        self.assertTrue(self.publisher.is_unread)
        self.network.settle(0.01)
        self.assertFalse(self.publisher.is_unread)


class RightsTests(HarborTests):
    """What the node behind a gateway may not do."""

    def test_clients_may_not_do_it_either(self) -> None:
        """They are told so, in the words of NATS; everything else is as it was."""
        rights = [
            {"action": "deny", "subscribe": ["secret.>"], "publish": ["hidden"]},
            {"action": "deny", "subscribe": ["$ATBUS.>"]},
        ]
        node = self.node(nats=DOOR, rights=rights)
        gateway = self.gateway(node)
        self.network.start(node)
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB secret.a 1\r\nSUB secret.b g 2\r\nSUB a..b 3\r\nSUB open 4\r\n")
        line = b"-ERR 'Permissions Violation for %b'\r\n"
        self.assertEqual(
            caller.hears(),
            line % b'Subscription to "secret.a"'
            + line % b'Subscription to "secret.b" using queue "g"'
            + b"-ERR 'Invalid Subject'\r\n",
        )
        for said in (b"PUB hidden 1\r\nx\r\n", b"PUB hidden r 1\r\nx\r\n"):
            caller.says(said)
            self.assertEqual(caller.hears(), line % b'Publish to "hidden"')
        caller.says(b"PUB hidden 1\r\nx\r\n" * 2 + b"PUB open 1\r\nx\r\n")
        refused = (line % b'Publish to "hidden"') * 2
        self.assertEqual(caller.hears(), refused + b"MSG open 4 1\r\nx\r\n")


class RowTests(HarborTests):
    """Messages in a row on one subject, which pass together."""

    ROW = b"PUB a 1\r\n1\r\nPUB a 1\r\n2\r\nPUB a 2\r\n33\r\n"

    def begin(self, network: Any) -> None:
        """One gateway."""
        super().begin(network)
        self.gateway_alone = self.alone(
            users=[
                {"user": "a", "password": "a"},
                {"user": "b", "password": "b", "permissions": {"publish": ["b"]}},
                {"user": "c", "password": "c", "permissions": {"subscribe": {"deny": ["a"]}}},
            ],
            no_auth_user="a",
        )

    def enters(self, said: bytes, **options: object) -> Caller:
        """Connect, and say something."""
        caller = self.caller(self.gateway_alone)
        chosen = {"verbose": False, "pedantic": False, **options}
        caller.says(b"CONNECT %b\r\n%b" % (json.dumps(chosen).encode(), said))
        return caller

    def test_each_subscription_gets_its_part(self) -> None:
        """Wildcards, limits, two subscriptions of one client, groups: as if one by one."""
        plain = self.enters(b"SUB a 1\r\nSUB a 2\r\n")
        limited = self.enters(b"SUB a 1\r\nUNSUB 1 2\r\n")
        rest = self.enters(b"SUB > 1\r\n")
        member = self.enters(b"SUB a g 1\r\n")
        row = b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nMSG a 1 2\r\n33\r\n"
        publisher = self.enters(self.ROW)
        heard = plain.hears()
        self.assertEqual(
            sorted(heard.split(b"MSG ")),
            sorted((row + row.replace(b"a 1 ", b"a 2 ")).split(b"MSG ")),
        )
        self.assertEqual(limited.hears(), b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\n")
        self.assertEqual(rest.hears(), row)
        self.assertEqual(member.hears(), row)
        member.hangs_up()
        publisher.says(self.ROW + b"PING\r\n")
        self.assertEqual((limited.hears(), rest.hears()), (b"", row))
        self.assertEqual(publisher.hears(), b"PONG\r\n")
        counts = self.gateway_alone.clients[3].session.counts
        self.assertEqual((counts.out_messages, counts.out_bytes), (6, 8))
        counts = self.gateway_alone.clients[5].session.counts
        self.assertEqual((counts.in_messages, counts.in_bytes), (6, 8))

    def test_what_came_together_is_written_at_once(self) -> None:
        """However many messages one piece of input brings about, each client gets one write."""
        hears = [self.enters(b"SUB > 1\r\n"), self.enters(b"SUB *.b 1\r\nSUB a.* 2\r\n")]
        publisher = self.enters(b"")
        for client in (*hears, publisher):
            client.hears()
        subjects = [b"PUB %b.b 1\r\nx\r\n" % (b"a" * number) for number in range(1, 50)]
        publisher.says(b"PING\r\n".join(subjects) + self.ROW)
        self.assertEqual([client.writes for client in (*hears, publisher)], [1, 1, 1])
        self.assertEqual(hears[0].hears().count(b"MSG "), 49 + 3)
        self.assertEqual(publisher.hears().count(b"PONG"), 48)

    def test_rights_and_wishes_of_clients(self) -> None:
        """Who wants an answer to each, or may not publish, or wants no echo, is heard."""
        own = self.enters(b"SUB a 1\r\n" + self.ROW, echo=False)
        self.assertEqual(own.hears(), b"")
        self.assertEqual(self.enters(self.ROW, verbose=True).hears(), b"+OK\r\n" * 4)
        self.assertEqual(own.hears().count(b"MSG a 1 "), 3)
        denied = self.enters(self.ROW, user="b", **{"pass": "b"})
        line = b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"
        self.assertEqual(denied.hears(), line * 3)
        self.assertEqual(own.hears(), b"")
        through = self.enters(b"SUB > 1\r\n", user="c", **{"pass": "c"})
        self.enters(self.ROW + self.ROW.replace(b"a", b"b"))
        self.assertEqual(through.hears().count(b"MSG b 1 "), 3)

    def test_a_row_that_is_no_subject_of_the_bus(self) -> None:
        """It reaches nobody, and disturbs nobody."""
        other = self.enters(b"SUB > 1\r\n")
        publisher = self.enters(self.ROW.replace(b" a ", b" a..b ") + b"PING\r\n")
        self.assertEqual((publisher.hears(), other.hears()), (b"PONG\r\n", b""))


class InfoTests(HarborTests):
    """What clients are told first."""

    def test_what_is_in_it(self) -> None:
        """Everything that clients read, and nothing that is not so."""
        gateway = self.alone(name="east")
        caller = self.caller(gateway, greeted=False)
        line = caller.hears()
        self.assertTrue(line.endswith(b"} \r\n"))
        info = info_of(line)
        server_id = info.pop("server_id")
        self.assertEqual((len(server_id), server_id[0]), (56, "N"))
        del info["go"]
        self.assertEqual(
            info,
            {
                "server_name": "east",
                "version": "2.10.0",
                "proto": 1,
                "host": "127.0.0.1",
                "port": 4222,
                "headers": True,
                "max_payload": 1_048_576,
                "client_id": 1,
                "client_ip": "10.9.9.9",
            },
        )

    def test_no_larger_than_the_bus(self) -> None:
        """Clients are told of no larger payloads than the node carries."""
        node = self.node(nats=DOOR, message_bytes_max=1000, window_bytes=100_000)
        gateway = self.gateway(node)
        self.network.start(node)
        self.assertEqual(info_of(self.caller(gateway, greeted=False).hears())["max_payload"], 1000)


class NodeTests(HarborTests):
    """Clients and programs on the node are in one space of subjects."""

    def test_a_program_answers_clients(self) -> None:
        """What a client asks a subscriber of the node answers, headers and all."""
        gateway = self.alone()
        gateway.node.subscribe(
            "sum", lambda asked: asked.payload + (asked.header("A") or "").encode()
        )
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB r.* 1\r\nHPUB sum r.1 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nhi\r\n")
        self.network.settle(0.1)
        self.assertEqual(caller.hears(), b"MSG r.1 1 3\r\nhib\r\n")

    def test_a_client_answers_programs(self) -> None:
        """What a program asks a client answers; without one the program knows at once."""
        gateway = self.alone()
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB sum 1\r\n")
        asking = gateway.node.request_subject("sum", b"hi")
        self.network.settle(0.1)
        reply = caller.hears().split()[3]
        caller.says(b"PUB %b 5\r\nhello\r\n" % reply)
        self.assertEqual(self.network.result_of(asking).payload, b"hello")

    def test_queue_groups_are_shared(self) -> None:
        """A client and a program in one group share its work."""
        gateway = self.alone()
        took: list[bytes] = []
        gateway.node.subscribe("w", lambda work: took.append(work.payload), queue="g")
        caller, publisher = self.caller(gateway), self.caller(gateway)
        caller.says(QUIET + b"SUB w g 1\r\n")
        publisher.says(QUIET + b"PUB w 1\r\nx\r\n" * 100)
        by_client = caller.hears().count(b"MSG w 1 1\r\nx\r\n")
        self.assertEqual(by_client + len(took), 100)
        self.assertTrue(20 < by_client < 80, by_client)

    def test_gateways_keep_their_own_to_themselves(self) -> None:
        """A client that listens to everything does not hear gateways talk to each other."""
        gateway = self.alone()
        caller = self.caller(gateway)
        caller.says(QUIET + b"SUB > 1\r\n")
        self.network.settle(30.0)
        caller.says(b"PONG\r\n")
        self.assertEqual(caller.hears(), b"PING\r\n")
