"""Attaching one-way channels to endpoints that are registered already."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.address import Locality, parse_address
from atbus.errors import LocalProtocolError, Status
from atbus.handshake.effects import Close, OpenRing, Refused, RingAttached, RingEffect
from atbus.handshake.passive_ring import RingAttachment
from tests.handshake.state_tables import TABLES, states, transitions


def make_ring(
    address: str = "shm://ring",
    endpoint_id: int | None = 7,
    distance: Locality = Locality.HOST,
) -> RingAttachment:
    return RingAttachment(
        address=parse_address(address),
        endpoint_id=endpoint_id,
        distance=distance,
        timeout_seconds=2.0,
    )


class AttachmentTests(SynchronousTestCase):
    def check_refused(self, effects: list[RingEffect], status: Status) -> None:
        refused, close = effects
        assert isinstance(refused, Refused)
        self.assertEqual((refused.status, refused.by_peer), (status, False))
        self.assertEqual(close, Close(status, refused.detail))

    def test_attaches(self) -> None:
        """A ring is opened for its endpoint and used at once: nobody is asked, nobody answers."""
        ring = make_ring()
        address = parse_address("shm://ring")
        self.assertEqual(ring.open(1.0), [OpenRing(address=address, endpoint_id=7)])
        self.assertEqual(ring.deadline, 3.0)
        self.assertFalse(ring.finished)
        self.assertEqual(ring.opened(), [RingAttached(address=address, endpoint_id=7)])
        self.assertIsNone(ring.deadline)
        self.assertTrue(ring.finished)

    def test_only_near_addresses(self) -> None:
        """Memory of another process and shared memory of another host are never opened."""
        for address, distance, fine in (
            ("mem://ring", Locality.PROCESS, True),
            ("mem://ring", Locality.HOST, False),
            ("mem://ring", Locality.NETWORK, False),
            ("shm://ring", Locality.PROCESS, True),
            ("shm://ring", Locality.HOST, True),
            ("shm://ring", Locality.NETWORK, False),
        ):
            ring = make_ring(address, distance=distance)
            effects = ring.open(0.0)
            if fine:
                self.assertIsInstance(effects[0], OpenRing)
            else:
                self.check_refused(effects, Status.POLICY_DENIED)
                self.assertTrue(ring.finished)

    def test_a_stream_is_no_ring(self) -> None:
        """An address that carries both directions has to be registered over, not attached."""
        for address in ("unix:///run/x.sock", "ipv4://127.0.0.1:7000"):
            self.check_refused(make_ring(address).open(0.0), Status.POLICY_DENIED)

    def test_a_ring_of_nobody(self) -> None:
        """Without a registered endpoint there is nobody to read what we would write."""
        self.check_refused(make_ring(endpoint_id=None).open(0.0), Status.UNKNOWN_ENDPOINT)

    def test_cannot_be_opened(self) -> None:
        """What stood in the way is reported."""
        ring = make_ring()
        ring.open(0.0)
        effects = ring.failed(Status.CONNECT_FAILED, "no such ring")
        self.check_refused(effects, Status.CONNECT_FAILED)

    def test_not_open_in_time(self) -> None:
        """A ring that does not open is given up at its deadline; opening later has no effect."""
        ring = make_ring()
        ring.open(1.0)
        self.assertEqual(ring.tick(2.999), [])
        self.check_refused(ring.tick(3.0), Status.HANDSHAKE_TIMEOUT)
        self.assertIsNone(ring.deadline)
        self.assertEqual(ring.opened(), [])
        self.assertEqual(ring.tick(99.0), [])

    def test_the_endpoint_goes(self) -> None:
        """A ring goes with its endpoint, attached or not."""
        ring = make_ring()
        ring.open(0.0)
        effects = ring.endpoint_removed(Status.LINK_LOST, "gone")
        self.check_refused(effects, Status.LINK_LOST)
        self.assertEqual(ring.endpoint_removed(Status.LINK_LOST, "gone"), [])
        ring = make_ring()
        ring.open(0.0)
        ring.opened()
        effects = ring.endpoint_removed(Status.LINK_LOST, "gone")
        self.assertEqual(effects, [Close(Status.LINK_LOST, "gone")])


class TableTests(SynchronousTestCase):
    def give(self, ring: RingAttachment, symbol: str) -> list[RingEffect]:
        match symbol:
            case "begun":
                return ring.open(0.0)
            case "opened":
                return ring.opened()
            case "failed":
                return ring.failed(Status.CONNECT_FAILED, "")
            case _:
                return ring.endpoint_removed(Status.LINK_LOST, "")

    def bring_to(self, state: str) -> RingAttachment:
        ring = make_ring()
        steps = {
            "idle": (),
            "opening": ("begun",),
            "attached": ("begun", "opened"),
            "closed": ("begun", "failed"),
        }
        for symbol in steps[state]:
            self.give(ring, symbol)
        return ring

    def test_every_state_and_input(self) -> None:
        """Each input in each state moves as the table says, or is named as our own bug."""
        machine, inputs = TABLES["passive ring"]
        table = transitions(machine)
        for state in states(machine):
            for symbol in inputs:
                ring = self.bring_to(state)
                if (state, symbol) in table:
                    self.give(ring, symbol)
                    after, _ = table[state, symbol]
                    self.assertEqual(ring.finished, after in ("attached", "closed"))
                else:
                    self.assertRaises(LocalProtocolError, self.give, ring, symbol)
