"""Addresses: reading, writing, and what a scheme says about them."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import Address, Locality, Scheme, parse_address
from atbus.errors import AddressError, AtbusError

DOCUMENT = Path(__file__).parent.parent / "docs" / "reference" / "addresses.rst"

TCP = [scheme for scheme in Scheme if "ip" in scheme.value or "dns" in scheme.value]
LOCAL = [Scheme.MEM, Scheme.SHM, Scheme.UNIX]

ports = st.integers(min_value=0, max_value=65535)
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40)
labels = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
addresses = st.one_of(
    st.builds(Address, st.sampled_from(LOCAL), names),
    st.builds(
        Address,
        st.sampled_from([Scheme.IPV4, Scheme.TLS_IPV4]),
        st.ip_addresses(v=4).map(str),
        ports,
    ),
    st.builds(
        Address,
        st.sampled_from([Scheme.IPV6, Scheme.TLS_IPV6]),
        st.ip_addresses(v=6).map(str),
        ports,
    ),
    st.builds(
        Address,
        st.sampled_from([Scheme.DNS, Scheme.TLS_DNS]),
        st.lists(labels, min_size=1, max_size=5).map(".".join),
        ports,
    ),
)


class ReadingTests(SynchronousTestCase):
    """From text to address."""

    def refusal(self, text: str) -> AddressError:
        """Read a text that is no address, and give the error."""
        error: AddressError = self.assertRaises(AddressError, parse_address, text)
        self.assertTrue(error.fault)
        return error

    def test_refuses_what_has_no_scheme(self) -> None:
        """
        An empty text, and one without ``scheme://``, are refused for just that.

        Scenario: B1
        """
        for text in ("", "127.0.0.1:80", "ipv4:127.0.0.1:80", "/run/x.sock"):
            self.assertEqual(self.refusal(text).fault, "no scheme://")

    def test_parts(self) -> None:
        """
        Scheme, host and port are told apart; the scheme may be written in any case.

        Scenario: B2
        """
        for text in ("ipv4://127.0.0.1:16387", "IPV4://127.0.0.1:16387"):
            address = parse_address(text)
            self.assertEqual(address.scheme, Scheme.IPV4)
            self.assertEqual(address.host, "127.0.0.1")
            self.assertEqual(address.port, 16387)

    def test_no_port_is_any_port(self) -> None:
        """
        Without a port the port is 0: a listener takes any, and nobody can dial it.

        Scenario: B2
        """
        for text in ("ipv4://127.0.0.1", "ipv6://[::1]", "dns://here.example", "tls+dns://here"):
            address = parse_address(text)
            self.assertEqual(address.port, 0)
            self.assertFalse(address.is_dialable)

    def test_ipv6_without_brackets(self) -> None:
        """
        The port follows the last colon, so a literal of version 6 needs no brackets.

        Scenario: B3
        """
        for text, host in (
            ("ipv6://:::16387", "::"),
            ("ipv6://::1:16387", "::1"),
            ("ipv6://2001:db8::7:16387", "2001:db8::7"),
            ("ipv6://[::]:16387", "::"),
            ("tls+ipv6://[2001:DB8:0::7]:16387", "2001:db8::7"),
        ):
            address = parse_address(text)
            self.assertEqual((address.host, address.port), (host, 16387))

    def test_ipv6_without_port(self) -> None:
        """A literal of version 6 that leaves no port over is taken whole."""
        for text in ("ipv6://::1", "ipv6://[::1]", "ipv6://0:0:0:0:0:0:0:1"):
            self.assertEqual(parse_address(text), Address(Scheme.IPV6, "::1", 0))

    def test_refuses_what_is_no_port(self) -> None:
        """
        A port that is not a number within its bounds is refused, however it came.

        Scenario: B4
        """
        for port in ("", "http", "-1", "+1", "1e3", " 80", "65536", "99999", "123456", "\u0668"):
            self.refusal(f"ipv4://127.0.0.1:{port}")
            self.refusal(f"dns://here.example:{port}")
        self.assertRaises(AddressError, Address, Scheme.IPV4, "127.0.0.1", -1)

    def test_refuses_what_is_no_host(self) -> None:
        """A host that the scheme cannot mean is refused, also an empty one."""
        for text in (
            *(f"{scheme.value}://" for scheme in Scheme),
            *("ipv4://:80", "ipv6://:80", "dns://:80"),
            *("ipv4://localhost:80", "ipv4://1.2.3:80", "ipv4://01.2.3.4:80", "ipv4://::1:80"),
            *("ipv6://1.2.3.4:80", "ipv6://[::1:80", "ipv6://::1]:80", "ipv6://[]:80"),
            *("dns://a b:80", "dns://a..b:80", "dns://a/b:80", "dns://::1:80", "dns://[::1]:80"),
            "dns://" + "a" * 64 + ":80",
            "dns://" + "a." * 127 + "a:80",
        ):
            self.refusal(text)

    def test_refuses_unknown_schemes(self) -> None:
        """
        A scheme that we do not have is refused, and the error lists those that we have.

        Scenario: B9
        """
        for text in ("tcp://127.0.0.1:80", "atcp://::1:80", "me://x", "://x", "tls+unix:///x"):
            self.assertIn("ipv4", self.refusal(text).fault)

    def test_refuses_unprintable_text(self) -> None:
        """Nothing that could break a line of a log or cut a path short is an address."""
        for text in ("unix:///run/x\n", "unix:///run/x\0y", "mem://\x1b[2J", "shm://\ud800"):
            self.refusal(text)
        self.assertRaises(AddressError, Address, Scheme.UNIX, "/run/x\0y")

    def test_refuses_endless_text(self) -> None:
        """An address has its longest, counted in bytes; one byte more is refused."""
        longest = "unix://" + "x" * (limits.ADDRESS_BYTES - len("unix://"))
        self.assertEqual(str(parse_address(longest)), longest)
        self.refusal(longest + "x")
        self.refusal(longest[:-1] + "\u00e9")

    def test_refuses_ports_where_there_are_none(self) -> None:
        """Only the tcp family has ports; a colon elsewhere belongs to the name."""
        self.assertRaises(AddressError, Address, Scheme.UNIX, "/run/x", 80)
        self.assertEqual(parse_address("mem://here:80"), Address(Scheme.MEM, "here:80"))

    def test_pipe_is_unix(self) -> None:
        """The other name of unix sockets is read, and written as the first."""
        self.assertEqual(str(parse_address("pipe:///run/x.sock")), "unix:///run/x.sock")

    def test_error_shows_the_whole_text(self) -> None:
        """A refused address is shown as it was written, with its port."""
        for text in ("ipv4://:80", "ipv4://here:80", "ipv4://1.2.3.4:65536", "dns://a b:80"):
            self.assertEqual(self.refusal(text).text, text)

    def test_error_is_of_either_kind(self) -> None:
        """Callers may catch our errors, or plain value errors."""
        error = self.refusal("unix:///run/x\n")
        self.assertIsInstance(error, AtbusError)
        self.assertIsInstance(error, ValueError)
        self.assertNotIn("\n", str(error))

    @settings(deadline=None)
    @given(st.one_of(st.text(), st.text().map("ipv6://".__add__), st.text().map("dns://".__add__)))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """No text does anything but give an address or the one error."""
        try:
            address = parse_address(text)
        except AddressError:
            return
        self.assertEqual(parse_address(str(address)), address)


class WritingTests(SynchronousTestCase):
    """From address to text and back."""

    def test_canonical_text(self) -> None:
        """
        An address is written in one way, with its port if its scheme has ports.

        Scenario: B5
        """
        for text, canonical in (
            ("ipv4://127.0.0.1:80", "ipv4://127.0.0.1:80"),
            ("ipv6://::1:80", "ipv6://[::1]:80"),
            ("TLS+DNS://Here.Example:80", "tls+dns://here.example:80"),
            ("dns://here", "dns://here:0"),
            ("unix:///run/X.sock", "unix:///run/X.sock"),
            ("SHM://Auto", "shm://Auto"),
            ("mem://0x1234", "mem://0x1234"),
        ):
            self.assertEqual(str(parse_address(text)), canonical)

    def test_port_can_be_filled_in(self) -> None:
        """A listener that was given a port by the kernel says so in its address."""
        asked = parse_address("ipv4://127.0.0.1:0")
        self.assertEqual(str(attrs.evolve(asked, port=4711)), "ipv4://127.0.0.1:4711")

    @settings(deadline=None)
    @given(addresses)
    def test_round_trip(self, address: Address) -> None:
        """
        Writing and reading an address gives the address again.

        Scenario: B5
        """
        again = parse_address(str(address))
        self.assertEqual(again, address)
        self.assertEqual(hash(again), hash(address))
        self.assertEqual(str(again), str(address))


class MeaningTests(SynchronousTestCase):
    """What the scheme and the host say."""

    def address(self, scheme: Scheme, *, host: str | None = None) -> Address:
        """Make an address of a scheme, off this host unless told otherwise."""
        if host is None:
            host = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}.get(scheme.value[-4:], "name")
        return Address(scheme, host, 80 if scheme in TCP else None)

    def test_duplex(self) -> None:
        """
        Replies come back over sockets; memory goes one way.

        Scenario: B6
        """
        for scheme in Scheme:
            expected = scheme not in (Scheme.MEM, Scheme.SHM)
            self.assertEqual(self.address(scheme).is_duplex, expected, scheme)
        for text in ("MEM://x", "Shm://x"):
            self.assertFalse(parse_address(text).is_duplex)

    def test_same_host(self) -> None:
        """
        Memory, unix sockets and loopback literals are this host's; names never are.

        Scenario: B7
        """
        for text in (
            *("shm://x", "unix:///x", "pipe:///x"),
            *("ipv4://127.0.0.1:80", "ipv4://127.8.9.10:80", "ipv6://::1:80"),
            *("tls+ipv4://127.0.0.1:80", "tls+ipv6://[::1]:80"),
        ):
            self.assertEqual(parse_address(text).locality, Locality.HOST, text)
        for text in ("ipv4://1.2.3.4:1", "ipv6://2000::1:1", "dns://localhost:1", "ipv4://0.0.0.0"):
            self.assertEqual(parse_address(text).locality, Locality.NETWORK, text)

    def test_same_process(self) -> None:
        """
        Only mem is this process's, and only when written in full.

        Scenario: B8
        """
        for scheme in Scheme:
            near = self.address(scheme).locality is Locality.PROCESS
            self.assertEqual(near, scheme is Scheme.MEM, scheme)
        for text in ("me", "mem", "mem:", "mem:/", "m"):
            self.assertRaises(AddressError, parse_address, text)

    def test_nearness_is_ordered(self) -> None:
        """
        What the process reaches the host reaches too, and the network least of all is near.

        Scenario: B9
        """
        self.assertLess(Locality.PROCESS, Locality.HOST)
        self.assertLess(Locality.HOST, Locality.NETWORK)
        for scheme, locality in (
            (Scheme.MEM, Locality.PROCESS),
            (Scheme.SHM, Locality.HOST),
            (Scheme.UNIX, Locality.HOST),
        ):
            self.assertEqual(self.address(scheme).locality, locality)

    def test_loopback(self) -> None:
        """Only a literal can be known to stay on the host."""
        for text, expected in (
            ("ipv4://127.0.0.1:1", True),
            ("tls+ipv6://[::1]:1", True),
            ("ipv4://0.0.0.0:1", False),
            ("dns://localhost:1", False),
            ("unix:///x", False),
        ):
            self.assertEqual(parse_address(text).is_loopback, expected, text)

    def test_encryption(self) -> None:
        """The schemes with ``tls`` in their name encrypt, no others."""
        for scheme in Scheme:
            self.assertEqual(self.address(scheme).is_tls, scheme.value.startswith("tls+"))

    def test_tcp_family_has_ports(self) -> None:
        """The schemes over TCP, and only those, have a port."""
        for scheme in Scheme:
            address = self.address(scheme)
            self.assertEqual(address.is_tcp, scheme in TCP)
            self.assertEqual(address.port is not None, scheme in TCP)

    def test_preference(self) -> None:
        """The cheaper way is tried first: mem, shm, unix, and then the network."""
        found = [self.address(scheme) for scheme in reversed(Scheme)]
        found.sort(key=lambda address: address.rank)
        self.assertEqual([each.scheme for each in found[:3]], LOCAL)
        self.assertEqual({each.rank for each in found[3:]}, {3})

    def test_dialing_a_listener_on_all_interfaces(self) -> None:
        """A listener on all interfaces is dialed on this host's own."""
        for listening, dialed in (
            ("ipv4://0.0.0.0:80", "ipv4://127.0.0.1:80"),
            ("ipv6://:::80", "ipv6://[::1]:80"),
            ("tls+ipv4://0.0.0.0:80", "tls+ipv4://127.0.0.1:80"),
            ("tls+ipv6://[::]:80", "tls+ipv6://[::1]:80"),
        ):
            address = parse_address(listening)
            self.assertTrue(address.is_unspecified)
            self.assertEqual(str(address.dial_address()), dialed)

    def test_dialing_anything_else(self) -> None:
        """Every other address is dialed as it is."""
        for text in ("ipv4://127.0.0.1:80", "dns://here:80", "unix:///x", "mem://x"):
            address = parse_address(text)
            self.assertFalse(address.is_unspecified)
            self.assertIs(address.dial_address(), address)

    def test_dialable(self) -> None:
        """An address that leaves its port or its name open cannot be dialed."""
        for text in ("mem://auto", "shm://auto", "ipv4://127.0.0.1:0", "dns://here"):
            self.assertFalse(parse_address(text).is_dialable, text)
        for text in ("mem://x", "shm://x", "unix://auto", "ipv4://127.0.0.1:1", "dns://here:1"):
            self.assertTrue(parse_address(text).is_dialable, text)

    @settings(deadline=None)
    @given(st.ip_addresses())
    def test_loopback_agrees_with_the_literal(
        self, literal: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> None:
        """An address literal is near exactly when it is a loopback one."""
        scheme = Scheme.IPV4 if literal.version == 4 else Scheme.IPV6
        address = Address(scheme, str(literal), 80)
        self.assertEqual(address.is_loopback, literal.is_loopback)
        self.assertEqual(address.locality is Locality.HOST, literal.is_loopback)


class DocumentTests(SynchronousTestCase):
    """The reference document says what the code does."""

    def section(self, title: str) -> str:
        """Give the text under a heading, up to the next one."""
        parts = re.split(r"^(.+)\n-{3,}$", DOCUMENT.read_text(), flags=re.MULTILINE)
        return parts[parts.index(title) + 1]

    def test_every_scheme_is_documented(self) -> None:
        """The document has a paragraph for each scheme, and for no other."""
        headings = re.findall(r"^([a-z0-9+, ]+)$", self.section("The schemes"), re.MULTILINE)
        listed = {name for heading in headings for name in heading.split(", ")}
        self.assertEqual(listed, {scheme.value for scheme in Scheme} | {"pipe"})

    def test_examples_are_addresses(self) -> None:
        """Each example is an address, and what it is said to be the same as it is."""
        text = " ".join(self.section("The schemes").split())
        found = re.findall(r"``([a-z0-9+]+://[^`]+)``(?: \(which is ``([^`]+)``\))?", text)
        self.assertGreater(len(found), 10)
        for example, same in found:
            self.assertEqual(str(parse_address(example)), same or example)

    def test_faults_are_told_as_documented(self) -> None:
        """Each text in the table of errors is refused for the fault beside it."""
        rows = re.findall(r"^(.*?``.*``)  +(\S.*)$", self.section("Errors"), re.MULTILINE)
        self.assertGreater(len(rows), 7)
        for texts, fault in rows:
            for text in re.findall(r"``([^`]+)``", texts):
                error: AddressError = self.assertRaises(AddressError, parse_address, text)
                self.assertTrue(error.fault.startswith(fault.removesuffix(" ...")), error)
        self.assertIn(f"longer than {limits.ADDRESS_BYTES} bytes", self.section("Errors"))
