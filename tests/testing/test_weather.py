"""What becomes of packets in bad weather, without a network."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.weather import PacketPath, Weather


def path(seed: int = 1, **weather: float) -> PacketPath:
    """Make a way with a weather."""
    return PacketPath(Random(seed), Weather(**weather))  # type: ignore[arg-type]


def packets(count: int, size: int = 100) -> list[bytes]:
    """Make packets that can be told from each other."""
    return [b"%08d" % number + bytes(size - 8) for number in range(count)]


class FairTests(SynchronousTestCase):
    """Nothing is bad."""

    def test_everything_arrives_at_once_and_in_order(self) -> None:
        """Without weather a packet is there as soon as it set out."""
        way = path()
        sent = packets(100)
        for packet in sent:
            way.offer(packet, 5.0)
        self.assertEqual(way.deadline, 5.0)
        self.assertEqual(way.due(5.0), sent)
        self.assertIsNone(way.deadline)
        self.assertEqual((way.carried, way.lost), (100, 0))


class LateTests(SynchronousTestCase):
    """Packets that take their time."""

    def test_a_packet_is_not_early(self) -> None:
        """It arrives when the delay is over, and its arrival is known before."""
        way = path(delay_seconds=0.15)
        way.offer(b"packet", 1.0)
        self.assertEqual(way.deadline, 1.15)
        self.assertEqual(way.due(1.149), [])
        self.assertEqual(way.due(1.15), [b"packet"])

    def test_jitter_changes_the_order(self) -> None:
        """Packets overtake each other, none takes longer than delay and jitter."""
        way = path(delay_seconds=0.1, jitter_seconds=0.1)
        sent = packets(100)
        for packet in sent:
            way.offer(packet, 0.0)
        self.assertEqual(way.due(0.0999), [])
        arrived = way.due(0.2)
        self.assertNotEqual(arrived, sent)
        self.assertEqual(sorted(arrived), sent)

    def test_a_narrow_way(self) -> None:
        """Packets leave one after the other; those that find the queue full are lost."""
        way = path(bytes_per_second=8000.0, queue_bytes=1000)
        for packet in packets(30):
            way.offer(packet, 0.0)
        # 1000 bytes wait, the one that is sent off besides; each packet takes 12.5 ms.
        self.assertEqual((len(way.due(60.0)), way.lost), (11, 19))
        way.offer(b"x" * 80, 100.0)
        self.assertEqual(way.deadline, 100.01)


class SpoiledTests(SynchronousTestCase):
    """Packets that are lost, doubled and changed."""

    def test_shares(self) -> None:
        """About as many as was asked for are lost and doubled."""
        way = path(loss=0.2, duplication=0.1)
        for packet in packets(10_000):
            way.offer(packet, 0.0)
        arrived = way.due(0.0)
        self.assertTrue(1_800 < way.lost < 2_200, way.lost)
        doubled = len(arrived) - len(set(arrived))
        self.assertTrue(700 < doubled < 900, doubled)

    def test_one_bit(self) -> None:
        """A spoiled packet differs in exactly one bit, and the one that was offered does not."""
        way = path(corruption=1.0)
        sent = bytes(range(100))
        way.offer(sent, 0.0)
        (arrived,) = way.due(0.0)
        changed = int.from_bytes(sent) ^ int.from_bytes(arrived)
        self.assertEqual(changed.bit_count(), 1)
        self.assertEqual(sent, bytes(range(100)))

    def test_an_empty_packet(self) -> None:
        """There is no bit in it to turn over."""
        way = path(corruption=1.0)
        way.offer(b"", 0.0)
        self.assertEqual(way.due(0.0), [b""])

    def test_a_seed_is_a_weather(self) -> None:
        """The same seed does the same, another one something else."""

        def arrived(seed: int) -> list[bytes]:
            way = path(seed, loss=0.3, duplication=0.3, jitter_seconds=1.0)
            for number, packet in enumerate(packets(200)):
                way.offer(packet, number / 100)
            return way.due(1e9)

        self.assertEqual(arrived(7), arrived(7))
        self.assertNotEqual(arrived(7), arrived(8))

    def test_one_share_leaves_the_others_alone(self) -> None:
        """Which packets are lost does not depend on how many are doubled."""

        def lost(duplication: float) -> set[bytes]:
            way = path(loss=0.3, duplication=duplication)
            sent = packets(200)
            for packet in sent:
                way.offer(packet, 0.0)
            return set(sent) - set(way.due(0.0))

        without = lost(0.0)
        self.assertTrue(40 < len(without) < 80, len(without))
        self.assertTrue(lost(0.5) == without, "others are lost")

    def test_weather_changes(self) -> None:
        """What is on its way arrives by the weather in which it set out."""
        way = path(delay_seconds=1.0)
        way.offer(b"slow", 0.0)
        way.weather = Weather()
        way.offer(b"fast", 0.5)
        self.assertEqual(way.due(0.5), [b"fast"])
        self.assertEqual(way.due(1.0), [b"slow"])


class NonsenseTests(SynchronousTestCase):
    """Weather that cannot be."""

    def test_the_fault_is_named(self) -> None:
        """Shares are between 0 and 1, times not negative, rates positive."""
        for name, value in (
            ("loss", 1.1),
            ("duplication", -0.1),
            ("corruption", 20.0),
            ("delay_seconds", -1.0),
            ("jitter_seconds", float("nan")),
            ("bytes_per_second", 0.0),
            ("queue_bytes", 0),
        ):
            error = self.assertRaises(ValueError, path, **{name: value})
            self.assertIn(f"{name}: must", str(error))
            self.assertIn(repr(value), str(error))
