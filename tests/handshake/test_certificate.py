"""What a certificate says about a node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.busid import Subnet
from atbus.handshake.certificate import CertificateIdentity, find_identity, parse_identity


class NameTests(SynchronousTestCase):
    @given(st.integers(0, 2**64 - 1), st.integers(0, 63))
    def test_there_and_back(self, prefix: int, bits: int) -> None:
        """What is written of a range is read as the same range."""
        identity = CertificateIdentity("eu.example", Subnet(prefix, bits))
        self.assertEqual(parse_identity(str(identity)), identity)

    def test_one_way_to_write_it(self) -> None:
        """Whatever differs in a letter is refused: nothing is guessed, nothing stands for more."""
        self.assertEqual(
            parse_identity("atbus://eu/0x12340000/16"),
            CertificateIdentity("eu", Subnet(0x12340000, 16)),
        )
        for name in (
            "atbus://eu/0x12345678/16",
            "atbus://eu/0x012340000/16",
            "atbus://eu/0X12340000/16",
            "atbus://eu/0x1234ABCD/0",
            "atbus://eu/12340000/16",
            "atbus://eu/0x12340000/016",
            "atbus://eu/0x12340000/64",
            "atbus://eu/0x12340000/-1",
            "atbus://eu/0x12340000",
            "atbus://eu/0x12340000/16/",
            "atbus://eu/0x12340000/16\n",
            "atbus://eu/0x12340000/16?x",
            "atbus://*/0x12340000/16",
            "atbus:///0x12340000/16",
            "atbus://EU/0x12340000/16",
            "atbus://-eu/0x12340000/16",
            "ATBUS://eu/0x12340000/16",
            "atbus://eu/0x12345678123456780/0",
            "http://eu/0x1/0",
            "",
        ):
            error = self.assertRaises(ValueError, parse_identity, name)
            self.assertIn(repr(name), str(error))

    def test_one_name(self) -> None:
        """A certificate is of one node or range; others' URIs do not matter, a second one does."""
        ours, other = "atbus://eu/0x5/0", "https://example.org/"
        self.assertEqual(find_identity([other, ours], "eu"), parse_identity(ours))
        for names, fault in (
            ([other], "no name"),
            ([], "no name"),
            ([ours, "atbus://eu/0x6/0"], "2 names"),
            ([ours, ours], "2 names"),
            ([ours, "ATBUS://eu/0x6/0"], "2 names"),
            (["Atbus://eu/0x6/0"], "is not atbus://"),
            (["atbus://us/0x5/0"], "of the realm us, not eu"),
        ):
            error = self.assertRaises(ValueError, find_identity, names, "eu")
            self.assertIn(fault, str(error))


class RightTests(SynchronousTestCase):
    def test_what_may_be_registered(self) -> None:
        """Only ids and ranges that the certificate names; a temporary node claims nothing."""
        identity = parse_identity("atbus://eu/0x12340000/16")
        for bus_id, subnets, allowed in (
            (0x12345678, (), True),
            (0x12345678, (Subnet(0x12345600, 8),), True),
            (0x12345678, (Subnet(0x12340000, 16),), True),
            (0, (), True),
            (0x12350000, (), False),
            (0x12345678, (Subnet(0x12340000, 17),), False),
            (0x12345678, (Subnet(0x12345600, 8), Subnet(0x22340000, 8)), False),
        ):
            self.assertEqual(identity.allows(bus_id, subnets), allowed, hex(bus_id))
