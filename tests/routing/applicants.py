"""Nodes that want to register, and those that are registered, for the tests of admission."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import BusId, Subnet
from atbus.errors import Status
from atbus.routing.applicant import (
    Admit,
    Applicant,
    Judgement,
    OwnNode,
    Registered,
    Rejected,
)
from atbus.routing.table import Position

ME = BusId(0x12345678)
OWN = OwnNode(bus_id=ME, subnets=(Subnet(ME, 16),), host="here", process="7.1/1")
CHILD = BusId(0x12340100)
PEER = 0x22340001
REGION = 0x12FF0001
UPSTREAM = Registered(bus_id=REGION, subnets=(Subnet(REGION, 24),), position=Position.UPSTREAM)


def applicant(bus_id: int, bits: int = 0, *, host: str = "there", process: str = "1") -> Applicant:
    return Applicant(
        bus_id=bus_id, subnets=(Subnet(bus_id, bits),), host=host, process=f"{process}.1/1"
    )


def as_upstream(who: Applicant) -> Applicant:
    return attrs.evolve(who, dialled=True, to_upstream=True)


def registered(
    who: Applicant, position: Position = Position.DOWNSTREAM, *, dialled: bool = False
) -> Registered:
    return Registered(
        bus_id=who.bus_id,
        subnets=who.subnets,
        position=position,
        host=who.host,
        process=who.process,
        control_dialled=dialled,
    )


class AdmissionCase(SynchronousTestCase):
    def assert_refused(self, verdict: Judgement, status: Status, *values: str) -> None:
        """Assert a refusal with this status whose detail names these values."""
        assert isinstance(verdict, Rejected), verdict
        self.assertEqual(verdict.status, status)
        for value in values:
            self.assertIn(value, verdict.detail)
        self.assertLessEqual(len(verdict.detail.encode()), limits.DETAIL_BYTES)

    def assert_admitted(self, verdict: Judgement, position: Position) -> None:
        """Assert a new neighbor at this position."""
        assert isinstance(verdict, Admit), verdict
        self.assertIs(verdict.position, position)
