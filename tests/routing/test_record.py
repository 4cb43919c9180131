"""Records of nodes: what is one, what is not, and how old it is."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import AtbusError, RecordError
from atbus.routing.record import UNSTAMPED, Record, Stamp
from atbus.testing.strategies import route_records
from atbus.wire.messages import NodeFlag, RouteOperation, RouteRecord

FULL = Record(
    bus_id=0x12346789,
    stamp=Stamp(3, 1),
    upstream_id=0x12345678,
    subnets=(Subnet(0x12346700, 8),),
    labels={"zone": "b", "region": "eu"},
    addresses=("ipv4://10.0.0.2:7001", "telepathy://x"),
    node_flags=NodeFlag.PROXY | 0x8000,
    host="h1",
    process="h1/42/7",
)


class StampTests(SynchronousTestCase):
    def test_order(self) -> None:
        """A later incarnation is news whatever it counts; within one the larger count is."""
        stamps = [UNSTAMPED, Stamp(1, 0), Stamp(1, 2**64 - 1), Stamp(2, 0), Stamp(2, 1)]
        self.assertEqual(sorted([*stamps[2:], *stamps[:2]]), stamps)

    def test_printed(self) -> None:
        """A stamp is printed as epoch and count."""
        self.assertEqual(str(Stamp(3, 17)), "3.17")


class RecordTests(SynchronousTestCase):
    def refusal(self, **parts: object) -> RecordError:
        """Ask for a record that cannot be."""
        error: RecordError = self.assertRaises(RecordError, Record, **{"bus_id": 0x5, **parts})
        return error

    def test_least(self) -> None:
        """A record needs nothing but an id; it is older than all that the node says itself."""
        record = Record(bus_id=0x5)
        self.assertEqual((record.upstream_id, record.stamp), (0, UNSTAMPED))
        self.assertLess(record.stamp, Stamp(1, 0))

    def test_labels_have_one_form(self) -> None:
        """Records that say the same are equal, however the labels were given."""
        pairs = [("zone", "b"), ("region", "eu")]
        self.assertEqual(FULL, attrs.evolve(FULL, labels=pairs))
        self.assertEqual(FULL.labels, (("region", "eu"), ("zone", "b")))
        self.assertEqual(hash(FULL), hash(attrs.evolve(FULL, labels=dict(pairs))))

    def test_label(self) -> None:
        """A label is looked up by its key; one that is not there is None, not empty."""
        self.assertEqual(FULL.label("region"), "eu")
        self.assertIsNone(FULL.label("eu"))

    def test_flags(self) -> None:
        """What a node says of itself can be asked for by name; what is unknown is kept."""
        self.assertEqual((FULL.is_proxy, FULL.is_draining), (True, False))
        leaving = attrs.evolve(FULL, node_flags=FULL.node_flags | NodeFlag.DRAINING)
        self.assertEqual((leaving.is_proxy, leaving.is_draining), (True, True))
        self.assertEqual(leaving.to_entry().node_flags & 0x8000, 0x8000)

    def test_shared_host_and_process(self) -> None:
        """Two nodes share a host or a process when both say the same; what is unknown is shared
        with nobody."""
        one = Record(bus_id=1, host="h", process="h/1/1")
        for other, host, process in (
            (Record(bus_id=2, host="h", process="h/1/1"), True, True),
            (Record(bus_id=2, host="h", process="h/2/1"), True, False),
            (Record(bus_id=2, host="h"), True, False),
            (Record(bus_id=2, host="i", process="h/1/1"), False, False),
            (Record(bus_id=2), False, False),
        ):
            shared = one.shares_host(other), one.shares_process(other)
            self.assertEqual(shared, (host, process), other)
            self.assertEqual((other.shares_host(one), other.shares_process(one)), shared)
        nobody = Record(bus_id=3)
        self.assertFalse(nobody.shares_host(nobody))
        silent = Record(bus_id=3, host="h")
        self.assertFalse(silent.shares_process(silent))

    def test_numbers_out_of_bounds(self) -> None:
        """An id, a stamp or flags that do not fit the wire are refused with their value."""
        for parts, place, value in (
            ({"bus_id": 0}, "bus_id", "0x0"),
            ({"bus_id": 2**64}, "bus_id", hex(2**64)),
            ({"stamp": Stamp(2**32, 0)}, "stamp.epoch", hex(2**32)),
            ({"stamp": Stamp(1, -1)}, "stamp.seq", "-0x1"),
            ({"stamp": Stamp(1, 2**64)}, "stamp.seq", hex(2**64)),
            ({"upstream_id": -1}, "upstream_id", "-0x1"),
            ({"node_flags": 2**16}, "node_flags", hex(2**16)),
        ):
            error = self.refusal(**parts)
            self.assertEqual(error.place, place)
            self.assertIn(value, error.fault)

    def test_nobody_is_its_own_upstream(self) -> None:
        """A record that names its node as its own upstream is refused."""
        error = self.refusal(upstream_id=0x5)
        self.assertEqual(str(error), "record of 0x5: upstream_id: the node itself")

    def test_too_many(self) -> None:
        """More subnets, addresses or labels than may travel are refused with their number."""
        subnets = (Subnet(1, 0),) * (limits.SUBNETS_MAX + 1)
        addresses = ("unix:///x",) * (limits.ADDRESSES_MAX + 1)
        labels = {f"key{place}": "" for place in range(limits.LABELS_MAX + 1)}
        for place, items in (("subnets", subnets), ("addresses", addresses), ("labels", labels)):
            error = self.refusal(**{place: items})
            self.assertEqual(error.place, place)
            self.assertIn(f"{len(items)} of them", error.fault)

    def test_longest_texts(self) -> None:
        """Texts as long as may travel are taken, in bytes and not in letters; one more is not."""
        for place, bytes_max in (("host", limits.HOST_BYTES), ("process", limits.PROCESS_BYTES)):
            for letter in ("x", "\u00e9", "\u20ac"):
                text = letter * (bytes_max // len(letter.encode()))
                parts: dict[str, Any] = {place: text}
                Record(bus_id=0x5, **parts)
                self.assertEqual(self.refusal(**{place: text + letter}).place, place)
        long = "x" * limits.ADDRESS_BYTES
        Record(bus_id=0x5, addresses=(long,))
        self.assertEqual(self.refusal(addresses=("y", long + "x")).place, "addresses[1]")

    def test_labels_together(self) -> None:
        """All labels together have one bound; a key comes once."""
        labels = {"k": "v" * (limits.LABELS_BYTES - 1)}
        Record(bus_id=0x5, labels=labels)
        error = self.refusal(labels={**labels, "l": ""})
        self.assertEqual(error.place, "labels")
        self.assertIn(f"{limits.LABELS_BYTES + 1} bytes", error.fault)
        self.assertIn("'k' twice", self.refusal(labels=[("k", "1"), ("k", "2")]).fault)

    def test_text_that_cannot_travel(self) -> None:
        """A text without a form in UTF-8 is refused where it is, and the refusal can be printed."""
        for parts, place in (
            ({"host": "\ud800"}, "host"),
            ({"addresses": ("x", "\ud800")}, "addresses[1]"),
            ({"labels": {"a": "\ud800"}}, "labels['a']"),
        ):
            error = self.refusal(**parts)
            self.assertEqual(error.place, place)
            self.assertTrue(str(error).isprintable())
            self.assertIsInstance(error, (AtbusError, ValueError))

    def test_long_faults_are_cut(self) -> None:
        """A wrong text of any length makes a sentence of one line."""
        self.assertLess(len(str(self.refusal(host="x" * 100_000))), 200)


class EntryTests(SynchronousTestCase):
    """Records on the wire."""

    @settings(deadline=None)
    @given(route_records)
    def test_round_trip(self, entry: RouteRecord) -> None:
        """What the wire carries is a record, but for nobody's and for those of circles; what it
        says is kept to the last bit."""
        if not entry.bus_id or entry.upstream_id == entry.bus_id:
            self.assertRaises(RecordError, Record.from_entry, entry)
            return
        record = Record.from_entry(entry)
        added = attrs.evolve(entry, operation=RouteOperation.ADD)
        self.assertEqual(record.to_entry(), added)
        self.assertEqual(Record.from_entry(added), record)

    @settings(deadline=None)
    @given(st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1))
    def test_stamp(self, epoch: int, seq: int) -> None:
        """The stamp travels as its two halves."""
        entry = Record(bus_id=0x5, stamp=Stamp(epoch, seq)).to_entry()
        self.assertEqual((entry.epoch, entry.seq), (epoch, seq))
