"""What a gateway and a real nats-server tell of the same clients over HTTP."""

from __future__ import annotations

import itertools
import json
import re
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater

from tests.documents import DOCS
from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.interop.test_nats_bridges import BridgeCase
from tests.interop.test_nats_leafs import leaf_port
from tests.nats.sockets import PATIENCE_SECONDS, SocketCase, Talker

ONE = (
    b'CONNECT {"verbose":false,"name":"one","lang":"x","version":"1.0","headers":true}\r\n'
    b"SUB a.* q 1\r\nUNSUB 1 50\r\nSUB b 2\r\nPING\r\n"
)
TWO = b'CONNECT {"verbose":false,"pedantic":false,"name":"two"}\r\nPING\r\n'
SAID = b"PUB a.b 2\r\nhi\r\nPUB b 3\r\nyes\r\nPUB nobody 1\r\nx\r\nPING\r\n"
COUNTS = ("in_msgs", "out_msgs", "in_bytes", "out_bytes", "subscriptions")
CLOSED = "/connz?state=closed"
#: Questions that make no sense or look so, by their page; and whether all answer them.
QUESTIONS = {
    "/connz": (
        *("subs=x", "subs=1", "subs=t", "subs=TRUE", "subs=tRue", "subs=Detail", "subs=", "subs=F"),
        *("limit=-1", "limit=0", "limit=", "limit=x", "limit=1.5", "limit=%201", "limit=1_0"),
        *("limit=0x1", "limit=%2B1", "limit=01", "limit=%D9%A1", f"limit={2**63 - 1}"),
        *(f"limit={2**63}", "offset=-1", "offset=-0", "offset=x", "offset=1", "offset=999"),
        *(f"offset=-{2**63}", f"offset=-{2**63 + 1}", "limit=-1&offset=1", "limit=1&offset=-5"),
        *("cid=", "cid=0", "cid=x", "cid=-1", "state=", "state=x", "state=OPEN", "state=Open"),
        *("sort=", "sort=x", "sort=stop", "sort=reason", "sort=CID", "auth=x", "auth=1", "auth="),
        *("sort=stop&state=closed", "sort=stop&state=any", "state=closed&subs=x"),
        *("user=", "user=x", "user=x&limit=1", "acc=", "acc=x", "acc=$G", "acc=$G&user=x"),
        *("mqtt_client=", "mqtt_client=x", "mqtt_client=x&state=closed", "cid=999"),
        *("cid=999&limit=7", "cid=999&offset=1", "cid=999&state=any", "cid=999&acc=$G"),
        *("cid=999&user=x&acc=x", "user=x&acc=$G&offset=1", "cid=%2B5", f"cid={2**64}"),
        *(f"cid={2**64 - 1}", f"limit={10**30}", f"limit=-{10**30}", "limit=" + "0" * 30 + "1"),
        *("subs=%22%5C", "subs=%C3%A4%00", "sort=%22", "state=%22X", "subs=1&limit=1", "subs=1"),
    ),
    "/subsz": (
        *("subs=x", "subs=detail", "subs=tRue", "subs=0", "limit=x", "limit=-1", "limit=1.5"),
        *("subs=1&limit=-1", "subs=1&limit=0", "subs=1&offset=-1", f"subs=1&limit={2**63 - 1}"),
        *("offset=x", f"limit={2**63}", "test=", "test=foo.%3E", "test=foo.*", "test=*"),
        *("test=%3E", "test=foo.%3E.x", "test=foo.", "test=.foo", "test=a..b", "test=a%20b"),
        *("test=foo*", f"test={'x' * 300}", f"test={'.'.join('x' * 20)}", "test=a%00b"),
    ),
    "/routez": ("subs=x", "subs=detail", "subs=DETAIL", "subs=1", "subs="),
    "/leafz": ("subs=x", "subs=detail", "subs=T", "subs=f", "subs="),
    "/healthz": ("js-enabled=x", "js-enabled-only=x", "js-server-only=x", "js-enabled=1"),
}
#: What is a page, and what is none.
PATHS = (
    *("/", "/?x", "/varz", "/varz?", "/varz/", "/varz/x", "/connz/?cid=1", "/healthz/", "/VARZ"),
    *("/x", "/x/y", "/index.html", "/varz%2F", "/%76arz"),
)
#: What a gateway tells of each client, and a server when it is asked with ``auth``; and what it has
#: not measured yet.
TELLS_MORE = {"account", "authorized_user", "rtt", "nkey", "name_tag"}
#: How somebody may ask, but for who he is.
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO")
#: How a connection may end that is not open to somebody.
ENDINGS = (
    *(b"-ERR x\r\n", b"PUB a x\r\n", b"FOO\r\n", b"PUB a 2000000\r\n", b"INFO x\r\n"),
    *(b"SUB " + b"a" * 5000 + b"\r\n", b'CONNECT {"protocol":7}\r\n', b"HPUB a 0 0\r\n"),
    *(b'CONNECT {"no_responders":true}\r\n', b'CONNECT {"account":"x"}\r\n', b"PUB a 1\r\nxx"),
    *(b"UNSUB 1 2 3\r\n", b"CONNECT {bad\r\n", b"SUB a\r\n"),
)
#: What is not the same by chance.
ORDERS = (
    *(f"sort={each}" for each in ("cid", "start", "subs", "msgs_to", "msgs_from", "bytes_to")),
    *(f"sort={each}" for each in ("bytes_from", "last", "uptime")),
    *(f"state=closed&sort={each}" for each in ("cid", "start", "stop", "reason")),
    *("state=any&sort=cid", "state=any&sort=start", "state=closed", "state=all"),
)
#: What says who it is, and when.
DIFFERENT = {"cid", "port", "start", "last_activity", "uptime", "idle", "rtt", "stop"}
#: What a server counts in that has written its last words or has not.
DIFFERENT |= {"pending_bytes"}
#: Parts of nats-server's that say only where nothing is.
ABSENT = {"system_account", "http_base_path", "https_port", "gomaxprocs"}
#: Tables and lists in pages.
LISTS = {"routes", "leafs", "remotes"}
PARTS = LISTS | {"cluster", "leaf"}
#: There is nothing to sign, nothing is compressed, and the address stands in ``leafnode_urls``.
ABSENT_FOR_LEAFS = {"nonce", "compression", "ip"}
#: How times are written.
_MOMENT, _LASTS, _TAKES = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z",
    r"(?:\d+[ydhm])*\d+s",
    r"0s|\d+(?:\.\d+)?(?:µs|ms|s)",
)
SHAPES = {"start": _MOMENT, "last_activity": _MOMENT, "rtt": _TAKES}
SHAPES |= dict.fromkeys(("uptime", "idle"), _LASTS)
#: What a route has for itself, and a link between nodes has not, or for each message.
ONLY_SERVERS = {"account", "compression"}
WANTED = {"subject": "wanted.*", "qgroup": "some"}
#: A ping now and then, so that it is known how long an answer takes.
QUICK: dict[str, Any] = {"heartbeat_seconds": 0.5}
PAGES = ("/varz", "/connz?subs=1", CLOSED, "/routez", "/subsz?subs=1", "/healthz")


async def asks(reactor: Any, port: int, page: str) -> dict[str, Any]:
    """Ask for a page that is there."""
    status, body = await page_at(reactor, port, page)
    assert status == HTTPStatus.OK, body
    return dict(json.loads(body))


async def page_at(
    reactor: Any, port: int, page: str, method: str = "GET"
) -> tuple[int, bytes]:
    """Ask for a page; give the status and the text of the answer."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    talker: Talker = await connectProtocol(endpoint, Talker(reactor))
    talker.says(f"{method} {page} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await talker.hears(b"<EOF>")).partition(b"\r\n\r\n")
    told = re.match(rb"HTTP/1\.\d (\d+) ", head)
    assert told is not None, head
    return int(told[1]), body.removesuffix(b"<EOF>")


class MonitorTests(SocketCase):
    """The same conversations with both."""

    def test_the_same_is_told(self) -> Deferred[None]:
        """Pages have what a nats-server's have, and counters are right as soon as PONG is there."""
        require_nats_server()
        return Deferred.fromCoroutine(self.the_same_is_told())

    async def the_same_is_told(self) -> None:
        server = NatsServer("-m", "-1")
        server.start()
        self.addCleanup(server.stop)
        gateway = await self.gateway(monitor="127.0.0.1:0")
        ours, monitor = gateway.address(), gateway.address("monitor")
        assert ours is not None
        assert monitor is not None
        theirs = await self.tells(server.port, server.monitor_port)
        told = await self.tells(ours[1], monitor[1])
        page = (DOCS / "reference/nats.rst").read_text()
        for name in PAGES:
            missing = theirs[name].keys() - told[name].keys()
            unsaid = {each for each in missing if f"``{each}``" not in page}
            self.assertEqual(unsaid - ABSENT, set(), name)
        for name in PAGES[1:3]:
            for left, right in zip(
                theirs[name]["connections"], told[name]["connections"], strict=True
            ):
                self.assertEqual(left.keys() - right.keys(), set())
                for each in (left, right):
                    # Who has said CONNECT has been measured by that.
                    self.assertEqual(each["rtt"] == "0s", "name" not in each, name)
                    # A server has no order in them.
                    each["subscriptions_list"] = sorted(each.get("subscriptions_list", []))
                same = left.keys() - DIFFERENT
                self.assertEqual({n: right[n] for n in same}, {n: left[n] for n in same})

    def test_bad_questions(self) -> Deferred[None]:
        """Both servers and a gateway refuse the same ones, and show the same part of a list."""
        for binary in (BINARY, NEWER_BINARY):
            require_nats_server(binary)
        return Deferred.fromCoroutine(self.bad_questions())

    async def bad_questions(self) -> None:
        gateway = await self.gateway(monitor="127.0.0.1:0")
        places = [(gateway.address(), gateway.address("monitor"))]
        for binary in (BINARY, NEWER_BINARY):
            server = NatsServer("-m", "-1", binary=binary)
            server.start()
            self.addCleanup(server.stop)
            places.append((("", server.port), ("", server.monitor_port)))
        for place, _ in places:
            assert place is not None
            for _ in range(3):
                talker = await self.talker(place[1])
                talker.says(TWO)
                await talker.hears(b"PONG\r\n")
        for page, questions in QUESTIONS.items():
            for each in questions:
                answers = []
                for _, monitor in places:
                    assert monitor is not None
                    answers.append(await self.answer(monitor[1], f"{page}?{each}"))
                self.assertEqual(answers[1:], answers[:1] * 2, f"{page}?{each}")
        for each in ("/varz", "/connz?limit=x", "/none"):
            for method in METHODS:
                statuses = []
                for _, monitor in places:
                    assert monitor is not None
                    asked = (monitor[1], each, method)
                    statuses.append((await page_at(self.reactor, *asked))[0])
                self.assertEqual(statuses[1:], statuses[:1] * 2, (method, each))
        for each in PATHS:
            answers = []
            for _, monitor in places:
                assert monitor is not None
                status, body = await page_at(self.reactor, monitor[1], each)
                answers.append((status, [] if status == HTTPStatus.OK else [body]))
            self.assertEqual(answers[1:], answers[:1] * 2, each)

    def test_orders_and_reasons(self) -> Deferred[None]:
        """Lists have the same order, and connections that ended the same reasons, at all three."""
        for binary in (BINARY, NEWER_BINARY):
            require_nats_server(binary)
        return Deferred.fromCoroutine(self.orders_and_reasons())

    async def orders_and_reasons(self) -> None:
        gateway = await self.gateway(monitor="127.0.0.1:0")
        ours, monitor = gateway.address(), gateway.address("monitor")
        assert ours is not None
        assert monitor is not None
        told = [await self.orders(ours[1], monitor[1])]
        for binary in (BINARY, NEWER_BINARY):
            server = NatsServer("-m", "-1", binary=binary)
            server.start()
            self.addCleanup(server.stop)
            told.append(await self.orders(server.port, server.monitor_port))
        for question, answer in told[0].items():
            self.assertEqual([each[question] for each in told[1:]], [answer] * 2, question)

    async def orders(self, port: int, monitor: int) -> dict[str, list[Any]]:
        """Let clients come, do more or less, and go; give the lists of them, by the question."""
        for number, ending in enumerate(ENDINGS):
            talker = await self.talker(port)
            await talker.hears(b" \r\n")
            talker.says(b'CONNECT {"verbose":false,"name":"%d"}\r\n' % number + ending)
            await talker.hears(b"<EOF>")
            while len((await asks(self.reactor, monitor, CLOSED))["connections"]) <= number:
                await deferLater(self.reactor, 0.02, lambda: None)
        talkers = []
        for name in b"xyz":
            talkers.append(await self.talker(port))
            await talkers[-1].hears(b" \r\n")
            talkers[-1].says(b'CONNECT {"verbose":false,"name":"%c"}\r\nPING\r\n' % name)
            await talkers[-1].hears(b"PONG\r\n")
        x, y, z = talkers
        for talker, said in (
            (x, b"SUB a 1\r\nSUB b 2\r\n"), (z, b"SUB b 1\r\n"),
            (y, 5 * b"PUB none 9\r\n123456789\r\n"), (z, 2 * b"PUB a 1\r\n1\r\n"),
            (y, b"PUB b 1\r\n1\r\n"), (x, b""),
            # The last thing that x gets is later than what y does, but for its PING.
            (y, b"PUB none 1\r\n1\r\n"), (z, b"PUB a 1\r\n1\r\n"),
            (z, b"PUB none 1\r\n1\r\n"), (y, b""),
        ):
            talker.says(said + b"PING\r\n")
            await talker.hears(b"PONG\r\n")
        found: dict[str, list[Any]] = {}
        for question in ORDERS:
            rows = (await asks(self.reactor, monitor, f"/connz?{question}"))["connections"]
            # Several have one reason.
            shown = "reason" if question.endswith("reason") else "name"
            found[question] = [(row.get(shown), row.get("reason")) for row in rows]
        return found

    async def answer(self, port: int, question: str) -> tuple[int, list[Any]]:
        """Ask; give the status and the text, of a list of clients which part it is and its rows."""
        status, body = await page_at(self.reactor, port, question)
        if status != HTTPStatus.OK:
            return status, [body]
        if question.startswith("/healthz"):
            return status, [body]
        if not question.startswith("/connz"):
            return status, []
        content = json.loads(body)
        rows = [sorted(each.keys() - TELLS_MORE) for each in content["connections"] or []]
        part = [content[each] for each in ("offset", "limit", "num_connections", "total")]
        return status, [*part, rows]

    async def tells(self, port: int, monitor: int) -> dict[str, dict[str, Any]]:
        """Let three clients come, of which one goes; ask for all pages."""
        talkers: list[Talker] = []
        for _ in range(3):
            talkers.append(await self.talker(port))
            # It has its number now, and the next one will have the next.
            await talkers[-1].hears(b" \r\n")
        one, two, three = talkers
        for talker, said in ((one, ONE), (two, TWO)):
            talker.says(said)
            await talker.hears(b"PONG\r\n")
        three.says(b"FOO\r\n")
        await three.hears(b"<EOF>")
        for number in range(1, 11):
            two.says(SAID)
            await two.hears(b"PONG\r\n")
            found = (await asks(self.reactor, monitor, "/connz"))["connections"]
            counts = {each.get("name"): [each[count] for count in COUNTS] for each in found}
            self.assertEqual(counts["two"], [3 * number, 0, 6 * number, 0, 0])
            self.assertEqual(counts["one"], [0, 2 * number, 0, 5 * number, 2])
        # It is among those that ended a moment after its end.
        while not (await asks(self.reactor, monitor, CLOSED))["connections"]:
            await deferLater(self.reactor, 0.02, lambda: None)
        return {page: await asks(self.reactor, monitor, page) for page in PAGES}



class LinksOfDebianTests(BridgeCase):
    """What servers 2.9, and a gateway in the same place, tell of their routes and leafs."""

    def test_the_same_is_told_of_links(self) -> Deferred[None]:
        """Pages and INFO of a member that has a leaf have what those of a server have."""
        return Deferred.fromCoroutine(self.the_same_is_told_of_links())

    async def the_same_is_told_of_links(self) -> None:
        server = self.member("one", more="http: 127.0.0.1:-1\n", takes_leafs=True)
        gateway = await self.gateway(
            cluster=self.joins(server),
            monitor="127.0.0.1:0",
            leaf_listen="127.0.0.1:0",
            # Who is silent is asked, and how long the answer takes is told then.
            ping_seconds=0.2,
        )
        await self.beside_each(gateway, 1)
        leafs = [self.leaf("ours", leaf_port(gateway)), self.leaf("theirs", server.leaf_port)]
        await self.has_leafs(gateway, 1)
        places = [await self.client(each.port) for each in leafs]
        await self.subscribe_all(places)
        await self.each_hears_once(places)
        monitor = gateway.address("monitor")
        assert monitor is not None
        page = (DOCS / "reference/nats.rst").read_text()

        # A server has some of its own always.
        own = await self.client(self.port_of(gateway))
        own.says(b"SUB own 1\r\nPING\r\n")
        await own.hears(b"PONG\r\n")

        def unsaid(theirs: dict[str, Any], ours: dict[str, Any]) -> set[str]:
            missing = {each for each in theirs.keys() - ours.keys() if f"``{each}``" not in page}
            return missing - ABSENT

        for name in (*PAGES, "/leafz?subs=1", "/routez?subs=detail"):
            theirs, ours = await self.both(server.monitor_port, monitor[1], name)
            self.assertEqual(unsaid(theirs, ours), set(), name)
            # In another page a list may be the number of those in it.
            for part in [each for each in PARTS if isinstance(theirs.get(each), list | dict)]:
                self.assertEqual(unsaid(*self.alike(part, theirs, ours)), set(), (name, part))
        [theirs, ours] = [await self.info(self.port_of(each)) for each in (server, gateway)]
        self.assertEqual(unsaid(theirs, ours), set())
        self.assertEqual(ours["cluster"], theirs["cluster"])
        self.assertEqual({*ours["connect_urls"]}, {*theirs["connect_urls"]})
        [theirs, ours] = [
            await self.info(each) for each in (server.leaf_port, leaf_port(gateway))
        ]
        self.assertEqual(unsaid(theirs, ours) - ABSENT_FOR_LEAFS, set())
        self.assertEqual(ours["cluster"], theirs["cluster"])

    def test_a_peer_is_told_of_as_a_server_is(self) -> Deferred[None]:
        """A link between nodes has the fields of a route between servers, of the same kinds."""
        return Deferred.fromCoroutine(self.a_peer_is_told_of_as_a_server_is())

    async def a_peer_is_told_of_as_a_server_is(self) -> None:
        one = self.member("one", more="http: 127.0.0.1:-1\n")
        two = self.member("two", one.route_port)
        nats = {"listen": "127.0.0.1:0", "monitor": "127.0.0.1:0"}
        node, gateway = await self.node(0x10001, listen=["ipv4://127.0.0.1:0"], nats=nats, **QUICK)
        peer, _ = await self.node(0x20001, **QUICK)
        await peer.connect(node.addresses[0])
        assert gateway is not None
        monitor = gateway.address("monitor")
        assert monitor is not None
        peer.subscribe("wanted.*", lambda _: None, queue="some")
        hears, says = await self.client(two.port), await self.client(one.port)
        hears.says(b"SUB wanted.* some 1\r\n")
        await self.says_until_heard(says, hears, b"wanted.a")
        await self.met(lambda: node.wanted_by(0x20001))
        for name in ("/routez", "/routez?subs=1", "/routez?subs=detail"):
            pages = await self.both(one.monitor_port, monitor[1], name)
            theirs, ours = self.alike("routes", *pages)
            self.assertEqual(theirs.keys() - ours.keys() - ONLY_SERVERS, set(), name)
            # An older server has no name to tell.
            self.assertEqual(ours.keys() - theirs.keys() - {"remote_name"}, set(), name)
            for row in (theirs, ours):
                for field, shape in SHAPES.items():
                    self.assertRegex(row[field], f"^(?:{shape})$", field)
        theirs, ours = [self.wanted(page) for page in pages]
        self.assertEqual(theirs.keys() - ours.keys() - {"account"}, {"sid", "msgs"})
        self.assertEqual({name: ours[name] for name in WANTED}, WANTED)
        self.assertEqual({name: theirs[name] for name in WANTED}, WANTED)
        self.assertEqual([type(each["cid"]) for each in (theirs, ours)], [int, int])

    @staticmethod
    def wanted(page: dict[str, Any]) -> dict[str, Any]:
        """Take what is told of the one subscription, on whichever route it is."""
        # A server has several routes to another one, on some of which nothing is wanted.
        lists = [row.get("subscriptions_list_detail", []) for row in page["routes"]]
        details = itertools.chain(*lists)
        [found] = [each for each in details if each["subject"] == WANTED["subject"]]
        return dict(found)

    async def both(self, theirs: int, ours: int, name: str) -> tuple[dict[str, Any], ...]:
        """Ask both for a page, until both have told how long an answer takes on each link."""
        pages: list[dict[str, Any]] = []

        async def look() -> bool:
            pages[:] = [await asks(self.reactor, each, name) for each in (theirs, ours)]
            lists = [each[part] for each in pages for part in LISTS if part in each]
            rows = [row for each in lists if isinstance(each, list) for row in each]
            return all("rtt" in row for row in rows)

        for _ in range(int(PATIENCE_SECONDS * 10)):
            if await look():
                break
            await deferLater(self.reactor, 0.1, lambda: None)
        else:
            self.fail(f"{name}: {pages}")
        return tuple(pages)

    def alike(self, part: str, *pages: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Take a part of the same page of both, the last one in a list.

        What is in both is of the same kind, unless it is not at all in one of them.
        """
        found = [each[part] for each in pages]
        if part in LISTS:
            # Of several routes between servers the last one is that of the accounts.
            found = [each[-1] for each in found]
        theirs, ours = found
        for name in theirs.keys() & ours.keys():
            kinds = {int if type(each[name]) is float else type(each[name]) for each in found}
            self.assertEqual(len(kinds), 1, (part, name, theirs[name], ours[name]))
        return found

    async def info(self, port: int) -> dict[str, Any]:
        """Read the first line that somebody hears."""
        talker = await self.talker(port)
        line = await talker.hears(b"\r\n")
        return dict(json.loads(line.removeprefix(b"INFO ")))


class LinksOfNewerTests(LinksOfDebianTests):
    """The newest version."""

    binary = NEWER_BINARY
