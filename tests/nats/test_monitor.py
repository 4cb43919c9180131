"""What a gateway tells over HTTP."""

from __future__ import annotations

import gc
import json
import re
import weakref
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from atbus.nats import bounds, monitor, pages
from atbus.nats.gateway import Gateway
from atbus.nats.times import duration, uptime
from tests.nats.harbor import HarborTests
from tests.nats.transcripts import QUIET

CONNECT = b'CONNECT {"verbose":false}\r\n'


class MonitorTests(HarborTests):
    """Questions to a gateway with two clients."""

    def setUp(self) -> None:
        super().setUp()
        self.guests: list[Any] = []
        self.one = self.alone(monitor="127.0.0.1:8222", name="east")
        self.first, self.second = self.caller(self.one), self.caller(self.one)
        self.first.says(QUIET + b"SUB a.* q 1\r\nUNSUB 1 5\r\nPING\r\n")
        self.second.says(b'CONNECT {"verbose":false,"name":"two","lang":"py","version":"1"}\r\n')
        self.second.says(b"PUB a.b 2\r\nhi\r\nPING\r\n")

    def end(self) -> None:
        """Let all leave before the gateway does."""
        for guest in [*self.guests]:
            self.leaves(guest)
        super().end()

    def asks(self, path: str, gateway: Gateway | None = None) -> tuple[int, str]:
        """Ask; give the status and the text of the answer."""
        port = self.quays[(gateway or self.one).node].ports[1]
        protocol = port.factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        self.network.settle(0.0)
        protocol.connectionLost(Failure(ConnectionDone()))
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    def connects(self) -> tuple[Any, StringTransport]:
        """Give a connection that stays, and what is written to it."""
        protocol = self.quays[self.one.node].ports[1].factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.guests.append(protocol)
        return protocol, transport

    def leaves(self, protocol: Any) -> None:
        """Let a connection end."""
        self.guests.remove(protocol)
        protocol.connectionLost(Failure(ConnectionDone()))

    def test_many_questions_at_once(self) -> None:
        """Of many questions one is answered in a turn, in their order, whoever has asked them."""
        (one, to_one), (other, to_other) = self.connects(), self.connects()
        one.dataReceived(b"GET /healthz HTTP/1.1\r\n\r\n" * 3)
        other.dataReceived(b"GET /healthz HTTP/1.1\r\n\r\n")

        def answers() -> tuple[int, int]:
            return to_one.value().count(b"200 OK"), to_other.value().count(b"200 OK")

        seen = [answers()]
        for number in range(2, 5):
            self.until(lambda total=number: sum(answers()) >= total)  # type: ignore[misc]
            seen.append(answers())
        # The second question of the one was there before the other's.
        self.assertEqual(seen, [(1, 0), (2, 0), (2, 1), (3, 1)])

    def test_who_leaves_before_an_answer(self) -> None:
        """Nobody is answered who has gone meanwhile; the next one is."""
        (one, _), (gone, to_gone), (last, to_last) = (self.connects() for _ in range(3))
        for protocol in (one, gone, last):
            protocol.dataReceived(b"GET /varz HTTP/1.1\r\n\r\n")
        self.leaves(gone)
        self.network.settle(0.0)
        self.assertEqual((to_gone.value(), b"200 OK" in to_last.value()), (b"", True))
        self.assertEqual(self.facts("/varz")["http_req_stats"], {"/varz": 3})

    def test_a_long_list(self) -> None:
        """Of many clients a portion is described and sent in each turn; all are in the answer."""
        (one, to_one), (gone, _) = self.connects(), self.connects()
        described = self.notes_descriptions()
        one.dataReceived(b"GET /connz HTTP/1.0\r\n\r\n")
        # Those who are told of were chosen and sorted, which is enough for one turn.
        self.assertEqual(described, [])
        for number in (1, 2):
            self.until(lambda total=number: len(described) >= total)  # type: ignore[misc]
            self.assertEqual(described, [1, 2][:number])
            self.assertEqual(to_one.value().count(b'"cid"'), number)
        self.until(lambda: to_one.disconnecting)
        head, _, body = to_one.value().partition(b"\r\n\r\n")
        self.assertEqual([each["cid"] for each in json.loads(body)["connections"]], [1, 2])
        self.assertNotIn(b"content-length", head.lower())
        gone.dataReceived(b"GET /connz HTTP/1.1\r\n\r\n")
        self.until(lambda: len(described) == 3)
        self.leaves(gone)
        self.network.settle(0.0)
        self.assertEqual(described, [1, 2, 1])

    def test_a_long_list_goes_in_chunks(self) -> None:
        """What follows a long answer on the same connection is an answer as well."""
        one, to_one = self.connects()
        self.notes_descriptions()
        one.dataReceived(b"GET /connz?callback=f HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n")
        self.until(lambda: b"content-length" in to_one.value().lower())
        head, _, rest = to_one.value().partition(b"\r\n\r\n")
        self.assertIn(b"transfer-encoding: chunked", head.lower())
        body = b""
        while size := int((line := rest.partition(b"\r\n"))[0], 16):
            body, rest = body + line[2][:size], line[2][size + 2 :]
        self.assertEqual((body[:4], body[-3:]), (b"f({\n", b"\n})"))
        self.assertEqual(len(json.loads(body[2:-1])["connections"]), 2)
        self.assertEqual(json.loads(to_one.value().rpartition(b"\r\n\r\n")[2]), {"status": "ok"})

    def test_many_subscriptions(self) -> None:
        """Those of one client are written, and looked through, in as many turns as it takes."""
        self.first.says(b"".join(b"SUB b.%d %d\r\n" % (n, n + 10) for n in range(5)) + b"PING\r\n")
        self.patch(bounds, "LISTED_PER_TURN", 2)
        self.patch(bounds, "LOOKED_AT_PER_TURN", 2)
        names = ["a.*", *(f"b.{n}" for n in range(5))]

        def written(question: bytes) -> list[int]:
            """Ask; give how many of the new ones are in the answer, after each of its turns."""
            one, to_one = self.connects()
            counts: list[int] = []
            go_on = pages._Writing.go_on

            def counted(writing: pages._Writing) -> None:
                go_on(writing)
                counts.append(to_one.value().count(b'"b.'))

            patched = self.patch(pages._Writing, "go_on", counted)
            one.dataReceived(b"GET %b HTTP/1.0\r\n\r\n" % question)
            self.until(lambda: to_one.disconnecting)
            patched.restore()
            return counts

        # The first turn has the client itself as well, and that of "a.*".
        self.assertEqual(written(b"/connz?cid=1&subs=1"), [0, 2, 4, 5])
        found = self.facts("/connz?cid=1&subs=1")["connections"][0]["subscriptions_list"]
        self.assertEqual(found, names)
        found = self.facts("/connz?cid=1&subs=detail")["connections"][0]
        self.assertEqual([each["subject"] for each in found["subscriptions_list_detail"]], names)
        self.assertEqual(written(b"/subsz?subs=1&offset=1&limit=4"), [0, 0, 0, 2, 4])
        self.assertEqual(self.facts("/subsz?subs=1&test=b.3")["total"], 1)

    def test_who_does_not_read_a_long_list(self) -> None:
        """Nothing more is described for whoever does not take what he has; then he is cut off."""
        one, to_one = self.connects()
        described = self.notes_descriptions()
        one.dataReceived(b"GET /connz HTTP/1.1\r\n\r\n")
        for number in (1, 2):
            self.fills(to_one)
            self.network.settle(bounds.PAGE_STALLED_SECONDS - 0.1)
            self.assertEqual((described, to_one.disconnected), ([1, 2][: number - 1], False))
            self.fills(to_one, is_full=False)
            self.until(lambda total=number: len(described) >= total)  # type: ignore[misc]
        one, to_one = self.connects()
        one.dataReceived(b"GET /connz HTTP/1.1\r\n\r\n")
        self.fills(to_one)
        self.until(lambda: to_one.disconnected, bounds.PAGE_STALLED_SECONDS + 0.1)
        self.assertEqual(described, [1, 2])

    def fills(self, transport: StringTransport, *, is_full: bool = True) -> None:
        """Let a connection have no room any more, or room again."""
        producer = transport.producer
        assert producer is not None
        (producer.pauseProducing if is_full else producer.resumeProducing)()

    def notes_descriptions(self) -> list[int]:
        """Let a portion be one client; give the numbers of those that are described."""
        self.patch(bounds, "LISTED_PER_TURN", 1)
        described: list[int] = []
        describe = monitor._connection

        def describes(client: Any, *rest: Any) -> Any:
            described.append(client.number)
            return describe(client, *rest)

        self.patch(monitor, "_connection", describes)
        return described

    def facts(self, path: str) -> dict[str, Any]:
        """Ask for a page that is there."""
        status, text = self.asks(path)
        self.assertEqual(status, 200, text)
        return dict(json.loads(text))

    def test_counters_are_right_with_the_pong(self) -> None:
        """What a client has a PONG for is counted, also when the client is gone."""
        self.assertTrue(self.second.hears().endswith(b"PONG\r\n"))
        for _ in range(2):
            varz = self.facts("/varz")
            self.assertEqual((varz["in_msgs"], varz["in_bytes"]), (1, 2))
            self.assertEqual((varz["out_msgs"], varz["out_bytes"]), (1, 2))
            self.second.hangs_up()
        self.assertEqual((varz["connections"], varz["total_connections"]), (1, 2))
        self.assertEqual((varz["server_name"], varz["port"]), ("east", 4222))
        self.assertEqual(varz["http_req_stats"], {"/varz": 2})
        self.assertEqual(varz["max_payload"], 1_048_576)

    def test_clients(self) -> None:
        """Each with what it has done; sorted, chosen and cut as asked for."""
        connz = self.facts("/connz?subs=1")
        first, second = connz["connections"]
        self.assertEqual((first["cid"], first["ip"], first["type"]), (1, "10.9.9.9", "nats"))
        self.assertEqual((first["subscriptions"], first["subscriptions_list"]), (1, ["a.*"]))
        self.assertEqual((first["out_msgs"], second["in_msgs"]), (1, 1))
        self.assertEqual((second["name"], second["lang"]), ("two", "py"))
        by_messages = self.facts("/connz?sort=msgs_from")["connections"]
        self.assertEqual([each["cid"] for each in by_messages], [2, 1])
        page = self.facts("/connz?offset=1&limit=1")
        self.assertEqual((page["num_connections"], page["total"]), (1, 2))
        self.assertEqual(self.facts("/connz?cid=2")["connections"][0]["name"], "two")
        for account, count in (("$G", 2), ("shop", 0)):
            self.assertEqual(self.facts(f"/connz?acc={account}")["total"], count)
        # Of those in the account and the state who is asked for is chosen.
        for asked, found in (
            ("cid=2", [2]),
            ("cid=9", []),
            ("cid=2&acc=$G&limit=7", [2]),
            ("cid=2&offset=1", []),
            ("cid=2&state=any", [2]),
            ("user=x", []),
            ("mqtt_client=x", []),
        ):
            page = self.facts(f"/connz?{asked}")
            self.assertEqual([each["cid"] for each in page["connections"]], found, asked)
            self.assertEqual(page["total"], 2, asked)
            self.assertEqual(page["limit"], 1 if "cid" in asked else 1024, asked)

    def test_the_way_to_the_pages(self) -> None:
        """``/`` leads to each page; what has more behind it is none of them."""
        status, text = self.asks("/")
        self.assertEqual(status, 200)
        names = re.findall(r'href="\./(\w+)"', text)
        self.assertIn("healthz", names)
        for name in names:
            self.assertEqual(self.asks(f"/{name}")[0], 200)
            for more in ("/", "/x", "/?subs=1"):
                self.assertEqual(self.asks(f"/{name}{more}"), (404, "404 page not found\n"))
        for path, shorter in (
            ("//varz", "/varz"), ("/x/../varz?subs=1", "/varz?subs=1"), ("/./connz", "/connz"),
            ("/varz/../connz/", "/connz/"), ("/..//", "/"), ("//evil.example", "/evil.example"),
        ):
            status, answer = self.whole(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            self.assertEqual(status, 301, path)
            self.assertIn(f"Location: {shorter}\r\n".encode(), answer)

    def whole(self, question: bytes) -> tuple[int, bytes]:
        """Ask with all that belongs to a question; give the status and the whole answer."""
        protocol, to_it = self.connects()
        protocol.dataReceived(question)
        self.network.settle(0.0)
        return int(to_it.value().split()[1]), to_it.value()

    def test_whatever_is_to_be_done(self) -> None:
        """Each method is answered as GET, and nothing is done but that; bodies are not read."""
        for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"FOO"):
            status, text = self.whole(
                method + b" /connz?limit=1 HTTP/1.0\r\nContent-Length: 6\r\n\r\nlimit="
            )
            self.assertEqual(status, 200, method)
            self.assertIn(b'"limit": 1,', text)
            self.assertEqual(self.whole(method + b" /jsz HTTP/1.0\r\n\r\n")[0], 404, method)
            foreign = b" /varz HTTP/1.0\r\nSec-Fetch-Site: cross-site\r\n\r\n"
            self.assertEqual(self.whole(method + foreign)[0], 403, method)
        status, text = self.whole(b"HEAD /varz HTTP/1.0\r\n\r\n")
        self.assertEqual((status, text.partition(b"\r\n\r\n")[2]), (200, b""))

    def test_the_host_in_an_address(self) -> None:
        """It is the one that was asked for, whatever the header says."""
        for host, status in ((b"localhost:8222", 200), (b"bus.example", 403)):
            for header in (b"", b"Host: localhost\r\n"):
                question = b"GET http://%b/varz HTTP/1.0\r\n%b\r\n" % (host, header)
                self.assertEqual(self.whole(question)[0], status)
        self.assertEqual(self.whole(b"GET HTTP://localhost HTTP/1.0\r\n\r\n")[0], 200)

    def test_what_is_counted(self) -> None:
        """Questions that were answered are counted by their page."""
        self.asks("/")
        self.assertEqual(self.facts("/varz")["http_req_stats"]["/"], 1)

    def test_clients_that_ended(self) -> None:
        """They are remembered, with the reason."""
        self.first.says(b"FOO\r\n")
        self.network.settle(0.1)
        closed = self.facts("/connz?state=closed")["connections"]
        self.assertEqual([each["reason"] for each in closed], ["Protocol Violation"])
        self.assertEqual(len(self.facts("/connz?state=any")["connections"]), 2)
        self.network.settle(2.0)
        self.second.hangs_up()
        third = self.caller(self.one)
        self.network.settle(0.5)
        third.says(b"-ERR x\r\n")
        self.network.settle(0.1)
        reasons = ["Parse Error", "Client Closed", "Protocol Violation"]
        for by, wanted in (
            # The last one first, and by the alphabet; and who was there for the shortest time.
            ("stop", reasons), ("reason", sorted(reasons)),
            ("uptime", ["Protocol Violation", "Parse Error", "Client Closed"]),
        ):
            closed = self.facts(f"/connz?state=closed&sort={by}")["connections"]
            self.assertEqual([each["reason"] for each in closed], wanted, by)

    def test_who_is_active(self) -> None:
        """Who publishes, changes what he wants or gets something; a PING is no activity."""
        for says, are_active in (
            (b"PING\r\n", (False, False)), (b"PONG\r\n", (False, False)),
            (b"PUB none 1\r\nx\r\nPING\r\n", (True, False)),
            (b"PUB a.b 1\r\nx\r\nPING\r\n", (True, True)),
            (b"SUB none 1\r\nPING\r\n", (True, False)),
            (b"UNSUB 1\r\n", (True, False)), (CONNECT, (False, False)),
        ):
            self.network.settle(3.0)
            self.second.says(says)
            self.network.settle(0.1)
            rows = self.facts("/connz")["connections"]
            found = tuple(each["idle"] == "0s" for each in rows)[::-1]
            self.assertEqual(found, are_active, says)

    def test_the_last_ones_are_remembered(self) -> None:
        """Of more clients that ended than are remembered the last ones are told of."""
        self.patch(bounds, "CLOSED_REMEMBERED", 2)
        gateway = self.alone()
        for _ in range(4):
            caller = self.caller(gateway)
            caller.says(b"FOO\r\n")
            self.network.settle(0.1)
        self.assertEqual([each.number for each in gateway.closed], [3, 4])

    def test_connections_are_not_remembered(self) -> None:
        """Of a client that has ended what is told of it is kept, and not its connection."""
        gateway = self.alone()
        for ends in (b"FOO\r\n", b""):
            caller = self.caller(gateway)
            (client,) = gateway.clients.values()
            carried = weakref.ref(client._wire)
            self.assertIsNotNone(carried())
            if ends:
                caller.says(ends)
            else:
                caller.hangs_up()
            self.network.settle(0.1)
            self.assertIs(gateway.closed[-1], client)
            self.assertEqual((client.pending_bytes, client.taken_bytes), (0, 0))
            del caller
            gc.collect()
            self.assertIsNone(carried())

    def test_subscriptions(self) -> None:
        """All of them, or those that a subject would reach."""
        subsz = self.facts("/subsz?subs=1")
        self.assertEqual(
            subsz["subscriptions_list"],
            [
                {
                    "account": "$G",
                    "subject": "a.*",
                    "qgroup": "q",
                    "sid": "1",
                    "msgs": 1,
                    "max": 5,
                    "cid": 1,
                }
            ],
        )
        self.assertEqual(self.facts("/subsz?test=a.x")["total"], 1)
        self.assertEqual(self.facts("/subsz?test=b")["total"], 0)
        self.assertEqual(self.facts("/subsz")["num_subscriptions"], 1)

    def test_routes_are_neighbors(self) -> None:
        """The nodes that are connected with ours."""
        self.assertEqual(self.facts("/routez")["num_routes"], 0)

    def test_a_route(self) -> None:
        """Where a neighbor is, who has dialled, what is wanted there and what went each way."""
        self.network.result_of(self.one.node.listen("ipv4://10.0.0.1:1"))
        peer = self.node(0x20001)
        self.network.start(peer)
        self.network.result_of(peer.connect("ipv4://10.0.0.1:1"))
        peer.subscribe("sums.*", lambda _: None, queue="adders")
        peer.subscribe("a.b", lambda _: None)
        self.network.settle(5.0)
        self.second.says(b"PUB a.b 2\r\nhi\r\nPUB sums.x 2\r\nhi\r\n")
        self.network.settle(5.0)
        peer.publish("a.c", b"there")
        self.network.settle(5.0)
        (route,) = self.facts("/routez?subs=1")["routes"]
        facts = ("remote_id", "did_solicit", "is_configured", "in_msgs", "out_msgs")
        self.assertEqual([route[each] for each in facts], ["0x20001", False, False, 1, 2])
        self.assertEqual((route["rid"], route["subscriptions"]), (0x20001, 2))
        self.assertEqual(sorted(route["subscriptions_list"]), ["a.b", "sums.*"])
        (same,) = peer.describe_peers()
        self.assertEqual((same.dialled, same.configured), (True, False))
        self.assertEqual((same.in_bytes, same.out_bytes), (route["out_bytes"], route["in_bytes"]))
        (route,) = self.facts("/routez?subs=detail")["routes"]
        detail = {"subject": "sums.*", "cid": 0x20001, "qgroup": "adders"}
        self.assertIn(detail, route["subscriptions_list_detail"])

    def test_health(self) -> None:
        """A gateway that is leaving is not for new clients."""
        self.assertEqual(self.asks("/healthz"), (200, '{"status":"ok"}'))
        self.one.is_leaving = True
        unwell = '{"status":"unavailable","error":"%s"}'
        self.assertEqual(self.asks("/healthz"), (503, unwell % "it is a lame duck"))

    def test_questions_that_make_no_sense(self) -> None:
        """They are told what is wrong; other pages are not there."""
        questions = ("sort=x", "limit=x", "state=x", "sort=stop", "sort=reason&state=any")
        pages = ("connz", "subsz", "routez", "leafz")
        for path in [
            *(f"/connz?{each}" for each in (*questions, "cid=-1", "auth=x")),
            *(f"/subsz?{each}" for each in ("test=a..b", "test=a.%3E", "test=*", "offset=x")),
            *(f"/{each}?subs=x" for each in pages),
            *(f"/{each}?subs=detail" for each in ("subsz", "leafz")),
            *(f"/subsz?limit={each}" for each in ("1.5", "%201", "1_0", "0x1", "%D9%A1", 2**63)),
            "/healthz?js-enabled=x",
        ]:
            self.assertEqual(self.asks(path)[0], 400, path)
        self.assertEqual(self.asks("/jsz")[0], 404)

    def test_questions_that_have_a_usual_answer(self) -> None:
        """What is less than nothing, or empty, is as if it had not been asked for."""
        wanted = self.facts("/connz")["connections"]
        for each in ("limit=-1", "limit=0", "limit=", "offset=-1", "cid=0", "cid=", "state=",
            "sort=", "state=OPEN", "subs=F", "subs=", f"limit=%2B{2**63 - 1}"):
            self.assertEqual(self.facts(f"/connz?{each}")["connections"], wanted, each)
        for each in ("test=", "subs=0"):
            self.assertNotIn("subscriptions_list", self.facts(f"/subsz?{each}"))
        self.assertNotIn("subscriptions_list", self.facts("/subsz?test=a%20b"))
        for each in ("1", "detail"):
            rows = self.facts(f"/connz?subs={each}")["connections"]
            self.assertEqual(rows[1].keys(), wanted[1].keys(), each)
        [one, _] = self.facts("/connz?subs=DETAIL")["connections"]
        self.assertEqual(one["subscriptions_list_detail"][0]["subject"], "a.*")

    def test_headers_that_are_no_text(self) -> None:
        """A browser whose host or site are bytes of anything is refused as one of another."""
        for header in (b"Host: l\xffcalhost", b"Sec-Fetch-Site: \xff"):
            protocol, to_it = self.connects()
            protocol.dataReceived(b"GET /varz HTTP/1.1\r\n%b\r\n\r\n" % header)
            self.network.settle(0.0)
            self.assertIn(b" 403 ", to_it.value().partition(b"\r\n")[0])

    def test_a_callback(self) -> None:
        """Pages can be had as JavaScript, for browsers."""
        self.assertTrue(self.asks("/healthz?callback=f")[1].startswith("f({"))
        self.assertTrue(self.asks("/healthz?callback=f(x)")[1].startswith("{"))

    def test_durations(self) -> None:
        """As Go writes them, and how long something lasts as nats-server writes that."""
        lengths = {0: "0s", 0.000_000_9: "0s", 0.000_250_7: "250µs", 0.25: "250ms"}
        lengths |= {0.001_234_567: "1.234567ms", 1.0: "1s", 1.5: "1.5s", 2.000_003: "2.000003s"}
        for seconds, text in lengths.items():
            self.assertEqual(duration(seconds), text)
        ages = {0.9: "0s", 62.9: "1m2s", 3600: "1h0m0s", 86_400: "1d0h0m0s", 90_061: "1d1h1m1s"}
        for seconds, text in (ages | {366 * 86_400: "1y1d0h0m0s"}).items():
            self.assertEqual(uptime(seconds), text)
