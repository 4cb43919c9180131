"""What a node tells of itself, as plain data."""

from __future__ import annotations

import json
from collections import Counter

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.node.report import (
    HopReport,
    LagReport,
    LinkReport,
    NeighborReport,
    NextHopReport,
    NodeReport,
    RefusalReport,
    RouteReport,
    plain,
)
from atbus.node.statistics import Statistics
from atbus.routing.relation import Relation

ID = BusId(0x12340001)


class PlainTests(SynchronousTestCase):
    """Every kind of report, as a program reads it."""

    def check(self, report: object, wanted: dict[str, object]) -> None:
        """Compare after a way through JSON, which is what a program gets."""
        self.assertEqual(json.loads(json.dumps(plain(report))), wanted)

    def test_node(self) -> None:
        """Ids and subnets are texts; counters are numbers, by the names of their reasons."""
        statistics = Statistics(sent_messages=3, refused=Counter({Status.NO_ROUTE: 2}))
        report = NodeReport(
            id=ID,
            name="front",
            version="1",
            epoch=7,
            host="box",
            process="1.2/3",
            subnets=(Subnet(ID, 8),),
            labels={"region": "eu"},
            shared_memory="off",
            lag=LagReport(
                looks=9, p50_seconds=0.001, p99_seconds=0.02, p999_seconds=0.02, worst_seconds=0.02
            ),
            statistics=statistics,
        )
        counts: dict[str, object] = {
            name: {} if isinstance(value, Counter) else value
            for name, value in attrs.asdict(Statistics(), recurse=False).items()
        }
        counts |= {"sent_messages": 3, "refused": {"NO_ROUTE": 2}}
        self.check(
            report,
            {
                "id": "0x12340001",
                "name": "front",
                "version": "1",
                "epoch": 7,
                "host": "box",
                "process": "1.2/3",
                "subnets": ["0x12340000/8"],
                "labels": {"region": "eu"},
                "shared_memory": "off",
                "lag": {
                    "looks": 9,
                    "p50_seconds": 0.001,
                    "p99_seconds": 0.02,
                    "p999_seconds": 0.02,
                    "worst_seconds": 0.02,
                },
                "statistics": counts,
            },
        )

    def test_neighbor(self) -> None:
        """What is not known is null."""
        report = NeighborReport(
            id=ID,
            relation=Relation.IMMEDIATE_DOWNSTREAM,
            state="open",
            hostname="box",
            labels={},
            subnets=(),
            rtt_seconds=None,
            channel=None,
            queued_bytes=0,
            waiting=1,
        )
        wanted: dict[str, object] = {"id": "0x12340001", "state": "open"}
        wanted |= {"relation": "ImmediateDownstream"}
        wanted |= {"hostname": "box", "labels": {}, "subnets": [], "rtt_seconds": None}
        self.check(report, {**wanted, "channel": None, "queued_bytes": 0, "waiting": 1})

    def test_link(self) -> None:
        """An address is written as in a configuration."""
        report = LinkReport(
            id=BusId(0),
            role="control",
            channel="unix",
            address=parse_address("unix:///run/x.sock"),
            dialled=True,
            used=True,
            peer="unix:pid=1,uid=0",
            queued_bytes=2,
            waiting=3,
            paused=1,
            slow=True,
            age_seconds=1.5,
        )
        wanted: dict[str, object] = {"id": "0x0", "role": "control", "channel": "unix"}
        wanted |= {"dialled": True, "used": True, "address": "unix:///run/x.sock"}
        wanted |= {"peer": "unix:pid=1,uid=0"}
        wanted |= {"queued_bytes": 2, "waiting": 3, "paused": 1, "slow": True}
        self.check(report, {**wanted, "age_seconds": 1.5})

    def test_routes(self) -> None:
        """The default route has a star in the place of a subnet."""
        route = {"via": "0x12340001", "rule": "self"}
        for subnet, text in ((Subnet(ID, 0), "0x12340001/0"), (None, "*")):
            report = RouteReport(subnet=subnet, via=ID, rule="self")
            self.check(report, {"subnet": text, **route})
        self.check(
            NextHopReport(id=ID, relation=Relation.SELF, rule="self"),
            {"id": "0x12340001", "relation": "Self", "rule": "self"},
        )
        self.check(
            RefusalReport(refused=Status.LOOP, rule="back"), {"refused": "LOOP", "rule": "back"}
        )

    def test_hops(self) -> None:
        """A list of reports is a list."""
        report = HopReport(hop=1, id=ID, rtt_seconds=0.5, status=Status.HOP_LIMIT)
        wanted = {"hop": 1, "id": "0x12340001", "rtt_seconds": 0.5, "status": "HOP_LIMIT"}
        self.assertEqual(plain([report]), [wanted])

    def test_what_is_plain_already(self) -> None:
        """Plain data stays as it is."""
        self.assertEqual(plain({"lines": ["a"], "n": None}), {"lines": ["a"], "n": None})
