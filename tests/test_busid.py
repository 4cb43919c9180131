"""Bus ids and single ranges of them: reading, writing, containing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import (
    ID_MAX,
    MASK_BITS_MAX,
    TEMPORARY,
    Subnet,
    format_bus_id,
    format_dotted,
    parse_bus_id,
)
from atbus.errors import AtbusError, BusIdError

NODE = 0x12345678

ids = st.integers(min_value=1, max_value=ID_MAX)
subnets = st.builds(Subnet, ids, st.integers(min_value=0, max_value=MASK_BITS_MAX))


class BusIdTextTests(SynchronousTestCase):
    """Ids as people write them."""

    def test_reads_every_notation(self) -> None:
        """
        One id may be written in hexadecimal, decimal, parts, or given as a number.

        Scenario: A27
        """
        for written in (0x01020304, "0x01020304", "0X1020304", "16909060", "1.2.3.4"):
            self.assertEqual(parse_bus_id(written), 0x01020304)

    def test_reads_parts_of_other_widths(self) -> None:
        """
        The mask says how many bits each part has, most significant first.

        Scenario: A27
        """
        self.assertEqual(parse_bus_id("1.2.3.4", "16.16.16.16"), 0x0001_0002_0003_0004)
        self.assertEqual(parse_bus_id("1.5", "4.4"), 0x15)
        self.assertEqual(parse_bus_id("5.1.0.255", "3.1.4.8"), 0b101_1_0000_11111111)

    def test_writes_lower_case_hexadecimal(self) -> None:
        """Everywhere an id is shown it looks the same."""
        self.assertEqual(format_bus_id(0x12ABCDEF), "0x12abcdef")
        self.assertEqual(format_bus_id(0), "0x0")

    def test_writes_parts(self) -> None:
        """
        An id is written in parts under the mask that reads it.

        Scenario: A27
        """
        self.assertEqual(format_dotted(0x01020304), "1.2.3.4")
        self.assertEqual(format_dotted(0b101_1_0000_11111111, "3.1.4.8"), "5.1.0.255")

    def test_edges_are_ids(self) -> None:
        """Zero and the largest number of 64 bits are read; zero is the temporary node's."""
        self.assertEqual(parse_bus_id("0"), TEMPORARY)
        self.assertEqual(parse_bus_id(str(2**64 - 1)), ID_MAX)
        self.assertEqual(parse_bus_id("0x" + "f" * 16), ID_MAX)
        self.assertEqual(parse_bus_id("0x" + "0" * 20 + "7"), 7)

    def test_refuses_what_is_no_id(self) -> None:
        """Whatever is not an id is refused with the text and the fault, never guessed."""
        wrong: list[int | str] = [
            *("", " ", "abc", "0x", "0xg", "1_000", "+1", "-1", " 1", "1 ", "auto", "\u0661"),
            *(-1, 2**64, str(2**64), "0x1" + "0" * 16, "9" * 5000, True),
            *("1.2.3", "1.2.3.4.5", "1.2.3.256", "1..3.4", "1.2.3.", "1.2.3.x", "0x1.2.3.4"),
        ]
        for value in wrong:
            error = self.assertRaises(BusIdError, parse_bus_id, value)
            self.assertEqual(error.text, str(value))
            self.assertTrue(error.fault)

    def test_refuses_odd_masks(self) -> None:
        """
        A mask that is not a list of bit counts within 64 bits is refused for what it is.

        Scenario: A27
        """
        for mask in ("", "8", "8.8.8", "0.8.8.8", "8.8.8.x", "8..8.8", "32.32.32.32", "-8.8.8.8"):
            self.assertRaises(BusIdError, parse_bus_id, "1.2.3.4", mask)
        for mask in ("", "0", "65", "8. 8", "x"):
            self.assertEqual(self.assertRaises(BusIdError, format_dotted, 1, mask).text, mask)

    def test_refuses_to_cut_an_id(self) -> None:
        """An id with more bits than the mask is not written short."""
        self.assertRaises(BusIdError, format_dotted, 0x1_0000_0000)

    def test_fault_is_an_error_of_either_kind(self) -> None:
        """Callers may catch our errors, or plain value errors."""
        error = self.assertRaises(BusIdError, parse_bus_id, "no\nid")
        self.assertIsInstance(error, AtbusError)
        self.assertIsInstance(error, ValueError)
        self.assertIn(r"'no\nid'", str(error))

    @settings(deadline=None)
    @given(st.integers(min_value=0, max_value=ID_MAX))
    def test_text_round_trip(self, bus_id: int) -> None:
        """
        Writing and reading an id gives the id again, in each notation.

        Scenario: A27
        """
        mask = "16.16.16.16"
        self.assertEqual(parse_bus_id(format_bus_id(bus_id)), bus_id)
        self.assertEqual(parse_bus_id(str(bus_id)), bus_id)
        self.assertEqual(parse_bus_id(format_dotted(bus_id, mask), mask), bus_id)

    @settings(deadline=None)
    @given(st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """No text does anything but give an id or the one error."""
        try:
            bus_id = parse_bus_id(text)
        except BusIdError:
            return
        self.assertTrue(0 <= bus_id <= ID_MAX)


class SubnetTests(SynchronousTestCase):
    """One range of ids."""

    def test_bounds(self) -> None:
        """
        A range goes from its prefix with all free bits clear to all free bits set.

        Scenario: A1
        """
        subnet = Subnet(NODE, 16)
        self.assertEqual((subnet.first, subnet.last), (0x12340000, 0x1234FFFF))

    def test_range_of_nobody(self) -> None:
        """
        The range of id 0 alone contains itself as a range, and no id.

        Scenario: A2
        """
        subnet = Subnet(0, 0)
        self.assertEqual((subnet.first, subnet.last), (0, 0))
        self.assertTrue(subnet.contains_subnet(subnet))
        self.assertFalse(subnet.contains(0))

    def test_contains_its_ids_only(self) -> None:
        """
        The ids of a range are those that share its prefix.

        Scenario: A3
        """
        subnet = Subnet(NODE, 8)
        for inside in (0x12345600, 0x123456FF, 0x12345678):
            self.assertTrue(subnet.contains(inside))
        for outside in (0x12345700, 0x123455FF):
            self.assertFalse(subnet.contains(outside))

    def test_single_id(self) -> None:
        """
        A range without free bits is one id.

        Scenario: A4
        """
        subnet = Subnet(NODE, 0)
        self.assertTrue(subnet.contains(NODE))
        self.assertFalse(subnet.contains(NODE - 1))
        self.assertFalse(subnet.contains(NODE + 1))

    def test_order(self) -> None:
        """
        Ranges sort by their last id, and by width when that is the same.

        Scenario: A5
        """
        self.assertLess(Subnet(0x12345678, 8), Subnet(0x12345789, 8))
        self.assertLess(Subnet(0x12345678, 8), Subnet(0x12345789, 16))
        narrow, wide = Subnet(0x1234FFFF, 8), Subnet(0x12345789, 16)
        self.assertEqual(narrow.last, wide.last)
        self.assertLess(narrow, wide)
        self.assertFalse(wide < narrow)

    def test_equal_however_written(self) -> None:
        """
        Two prefixes of one range make equal values, neither of which is smaller.

        Scenario: A5
        """
        one, other = Subnet(0x1234FFFF, 16), Subnet(0x12340000, 16)
        self.assertEqual(one, other)
        self.assertEqual(hash(one), hash(other))
        self.assertFalse(one < other)
        self.assertFalse(other < one)

    def test_wide_masks(self) -> None:
        """
        Masks of 31 bits and more have the bounds that arithmetic says.

        Scenario: A22
        """
        prefix = 0xFEDC_BA98_7654_3210
        expected = {
            31: (0xFEDC_BA98_0000_0000, 0xFEDC_BA98_7FFF_FFFF),
            32: (0xFEDC_BA98_0000_0000, 0xFEDC_BA98_FFFF_FFFF),
            40: (0xFEDC_BA00_0000_0000, 0xFEDC_BAFF_FFFF_FFFF),
            63: (0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF),
        }
        for bits, bounds in expected.items():
            subnet = Subnet(prefix, bits)
            self.assertEqual((subnet.first, subnet.last), bounds)
            self.assertTrue(subnet.contains(prefix))

    def test_refuses_what_is_no_range(self) -> None:
        """Neither the mask nor the prefix may leave 64 bits."""
        for prefix, bits in ((1, -1), (1, 64), (-1, 0), (2**64, 0)):
            self.assertRaises(BusIdError, Subnet, prefix, bits)

    def test_text(self) -> None:
        """A range is written as prefix and bits, and read from any prefix of it."""
        self.assertEqual(str(Subnet(NODE, 16)), "0x12340000/16")
        self.assertEqual(repr(Subnet(NODE, 16)), "Subnet(0x12340000, 16)")
        for text in ("0x12345678/16", "305419896/16", "18.52.0.0/16"):
            self.assertEqual(Subnet.parse(text), Subnet(NODE, 16))
        self.assertEqual(Subnet.parse("1.2/4", "4.4"), Subnet(0x12, 4))

    def test_refuses_other_text(self) -> None:
        """A text that is not prefix/bits is refused."""
        for text in ("", "/", "0x1234", "0x1234/", "/16", "0x1/0x1", "0x1/64", "x/8", "1/2/3"):
            self.assertRaises(BusIdError, Subnet.parse, text)

    @settings(deadline=None)
    @given(subnets)
    def test_text_round_trip(self, subnet: Subnet) -> None:
        """Writing and reading a range gives the range again."""
        self.assertEqual(Subnet.parse(str(subnet)), subnet)

    @settings(deadline=None)
    @given(subnets, ids)
    def test_containing_is_being_between(self, subnet: Subnet, bus_id: int) -> None:
        """An id is inside when it lies between the ends, and exactly then shares the prefix."""
        inside = subnet.contains(bus_id)
        self.assertEqual(inside, subnet.first <= bus_id <= subnet.last)
        self.assertEqual(inside, Subnet(bus_id, subnet.mask_bits) == subnet)

    @settings(deadline=None)
    @given(subnets, subnets)
    def test_ranges_are_apart_or_nested(self, one: Subnet, other: Subnet) -> None:
        """Two ranges overlap, whichever is asked, exactly when one contains the other."""
        nested = one.contains_subnet(other) or other.contains_subnet(one)
        self.assertEqual(one.overlaps(other), nested)
        self.assertEqual(other.overlaps(one), nested)
