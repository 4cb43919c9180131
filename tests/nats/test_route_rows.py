"""Links as ``atbus routes --peers`` lists them, and as ``/routez`` of the same node does."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from atbus.cli.inspect import _PEERS
from atbus.nats.monitor import Monitor
from atbus.nats.times import duration, uptime
from tests.nats.harbor import DOOR
from tests.nats.test_routes import CLUSTER, RouteCase
from tests.nats.told import told
from tests.node.bus import ROOT

NODE, PEER = 0x10010, 0x20001
#: What each field of a node's list is called by a server, where it is the same value.
SAME = {
    "id": "remote_id",
    "dialled": "did_solicit",
    "configured": "is_configured",
    "ip": "ip",
    "port": "port",
    "pending_bytes": "pending_size",
    "in_publications": "in_msgs",
    "out_publications": "out_msgs",
    "in_bytes": "in_bytes",
    "out_bytes": "out_bytes",
    "subscriptions": "subscriptions",
}
#: Where it is written in another way: for how long, and since when.
TIMES = {"age_seconds": ("uptime", "start"), "idle_seconds": ("idle", "last_activity")}
#: What only one of both has. A server's name is no name of a host; a node has none but its id.
OWN = ({"hostname"}, {"rid", "remote_name"})
#: What a server has besides, because a server has it.
OF_SERVERS = {"compression"}


class RowTests(RouteCase):
    """A node that has an upstream, a peer, and a server of its cluster."""

    def setUp(self) -> None:
        super().setUp()
        self.top = self.root()
        nats = {**DOOR, "cluster": CLUSTER}
        self.middle = self.child(NODE, listen=["ipv4://10.0.0.2:1"], nats=nats)
        self.peer = self.node(PEER)
        self.door = self.gateway(self.middle)
        self.network.start(self.top, self.middle, self.peer)
        self.until(lambda: self.door.routes is not None and self.door.routes.serves)
        self.network.result_of(self.peer.connect("ipv4://10.0.0.2:1"))
        self.server = self.joins(self.door, "A", server_name="one")
        # Not whole seconds: what is rounded in one list is not in the other.
        self.network.settle(2.3)

    def cross(self) -> None:
        """Let publications cross each link, and no number be that of another field or link."""
        client = self.caller(self.door)
        client.says(b'CONNECT {"verbose":false}\r\nSUB here.* 1\r\n')
        wanted = {"a": self.top, "b": self.peer}
        for count, (name, node) in enumerate(wanted.items(), 3):
            for number in range(count):
                node.subscribe(f"{name}.{number}", lambda _: None)
        self.server.says(b"".join(b"RS+ $G c.%d\r\n" % number for number in range(5)))
        self.network.settle()
        client.says(b"PUB a.0 2\r\nhi\r\n" * 6 + b"PUB b.0 3\r\nyes\r\n" * 7)
        client.says(b"PUB c.0 4\r\nwell\r\n" * 8)
        self.network.settle(1.0)
        for count, node in enumerate(wanted.values(), 9):
            for _ in range(count):
                node.publish("here.a", b"there")
            self.network.settle(0.7)
        self.server.says(b"RMSG $G here.b 6\r\nthings\r\n" * 11)
        self.network.settle(0.4)

    def both(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Ask for both lists, at the same moment."""
        now = self.network.clock.seconds()
        (line,) = self.network.result_of(self.middle.command(NODE, b"atbus.peers"))
        routes = told(Monitor(self.door).routez({}))["routes"]
        self.assertEqual(self.network.clock.seconds(), now)
        # As whoever asks over HTTP reads them.
        return json.loads(line), json.loads(json.dumps(routes))

    def alike(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Compare the rows; give both lists."""
        listed, routes = self.both()
        self.assertEqual(len(listed), len(routes))
        now = self.door.wall_seconds()
        for row, route in zip(listed, routes, strict=True):
            for ours, theirs in SAME.items():
                self.assertEqual(row[ours], route[theirs], (row["id"], ours))
            for ours, (lasts, since) in TIMES.items():
                self.assertEqual(uptime(row[ours]), route[lasts], (row["id"], ours))
                then = datetime.fromisoformat(route[since]).timestamp()
                self.assertAlmostEqual(row[ours], now - then, places=2, msg=(row["id"], ours))
            rtt = row["rtt_seconds"]
            self.assertEqual(None if rtt is None else duration(rtt), route.get("rtt"), row["id"])
        return listed, routes

    def test_the_same_is_told(self) -> None:
        """Each row has the same values in both lists, whatever kind of link it is."""
        self.alike()
        self.cross()
        self.server.hears()
        self.until(lambda: self.server.writes > 0)
        self.assertEqual(self.server.hears(), b"PING\r\n")
        self.network.settle(0.25)
        self.server.says(b"PONG\r\n")
        self.network.settle(2.6)
        listed, _ = self.alike()
        self.assertEqual([row["id"] for row in listed], [f"{ROOT:#x}", f"{PEER:#x}", "A"])
        kinds = [(row["dialled"], row["configured"]) for row in listed]
        self.assertEqual(kinds, [(True, True), (False, False), (False, False)])
        counts = ("subscriptions", "out_publications", "in_publications")
        told = [[row[name] for name in counts] for row in listed]
        self.assertEqual(told, [[3, 6, 9], [4, 7, 10], [5, 8, 11]])
        self.assertTrue(all(row["rtt_seconds"] is not None for row in listed))

    def test_what_waits(self) -> None:
        """What a link does not take is told of in both."""
        self.cross()
        self.server.is_deaf = True
        # One end of each connection to the peer is ours.
        ends = self.network.between(self.middle, self.peer)
        for end in ends:
            end.stall()
        client = self.caller(self.door)
        client.says(b"CONNECT {}\r\n")
        for _ in range(3):
            client.says(b"PUB c.0 200\r\n%b\r\n" % bytes(200))
            client.says(b"PUB b.0 200\r\n%b\r\n" % bytes(200))
            self.network.settle(0.1)
        listed, _ = self.alike()
        waiting = [row["pending_bytes"] > 200 for row in listed]
        self.assertEqual(waiting, [False, True, True], [row["pending_bytes"] for row in listed])
        self.server.listens()
        for end in ends:
            end.resume()

    def test_every_field_is_compared(self) -> None:
        """No list has a field that is not compared, but those that the other cannot have."""
        self.cross()
        self.network.settle(60.0)
        self.server.says(b"PONG\r\n")
        self.network.settle(1.0)
        listed, routes = self.both()
        times = {name for pair in TIMES.values() for name in pair}
        for row, route in zip(listed, routes, strict=True):
            self.assertEqual({*row}, {*SAME, *TIMES, "rtt_seconds"} | OWN[0])
            further = OF_SERVERS if row["id"] == "A" else set()
            self.assertEqual({*route}, {*SAME.values(), "rtt"} | times | OWN[1] | further)
            # The table that people read has all of it.
            self.assertEqual({*row}, {*_PEERS})
