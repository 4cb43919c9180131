"""Which channels are made, by whom, on which address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.address import Address, parse_address
from atbus.routing.dial_plan import data_addresses, keep_dialled, notice_address, usable_addresses

EVERYTHING = (
    "ipv4://10.0.0.1:7000",
    "ipv4://127.0.0.1:7001",
    "unix:///run/a.sock",
    "shm://a",
    "mem://a",
    "tls+dns://a.example:7002",
)


def parsed(*texts: str) -> list[Address]:
    return [parse_address(text) for text in texts]


def written(addresses: tuple[Address, ...]) -> list[str]:
    return [str(address) for address in addresses]


class CrossedDialTests(SynchronousTestCase):
    @given(one=st.integers(1, 2**64 - 1), other=st.integers(1, 2**64 - 1))
    def test_one_stays(self, one: int, other: int) -> None:
        """
        Of two crossed streams exactly one stays, and both sides mean the same.
        """
        if one != other:
            self.assertNotEqual(keep_dialled(one, other), keep_dialled(other, one))
            self.assertTrue(keep_dialled(min(one, other), max(one, other)))


class UsableTests(SynchronousTestCase):
    def test_best_first(self) -> None:
        """In one process everything is usable: mem, shm, unix, then tcp as announced."""
        self.assertEqual(
            written(usable_addresses(parsed(*EVERYTHING), same_host=True, same_process=True)),
            [
                "mem://a",
                "shm://a",
                "unix:///run/a.sock",
                "ipv4://10.0.0.1:7000",
                "ipv4://127.0.0.1:7001",
                "tls+dns://a.example:7002",
            ],
        )

    def test_out_of_reach(self) -> None:
        """
        The mem address of another process, and whatever stays on another host, are never dialed.

        Scenario: H23
        """
        announced = parsed(*EVERYTHING)
        neighbor = usable_addresses(announced, same_host=True, same_process=False)
        self.assertEqual(written(neighbor)[0], "shm://a")
        self.assertNotIn("mem://a", written(neighbor))
        self.assertEqual(
            written(usable_addresses(announced, same_host=False, same_process=False)),
            ["ipv4://10.0.0.1:7000", "tls+dns://a.example:7002"],
        )

    def test_all_interfaces(self) -> None:
        """A listener on all interfaces is dialed at the loopback, which is the host's own."""
        announced = parsed("ipv4://0.0.0.0:7000", "ipv6://:::7000", "ipv4://127.0.0.1:7000")
        self.assertEqual(
            written(usable_addresses(announced, same_host=True, same_process=False)),
            ["ipv4://127.0.0.1:7000", "ipv6://[::1]:7000"],
        )
        self.assertEqual(usable_addresses(announced, same_host=False, same_process=False), ())

    def test_no_place(self) -> None:
        """What names no place cannot be dialed."""
        announced = parsed("ipv4://10.0.0.1:0", "shm://auto", "mem://auto")
        self.assertEqual(usable_addresses(announced, same_host=True, same_process=True), ())


class DataTests(SynchronousTestCase):
    def plan(self, control: str, *announced: str, dialled: bool, near: bool) -> list[str]:
        """Plan the data connections of one side, on one host in two processes if *near*."""
        return written(
            data_addresses(
                parse_address(control),
                parsed(*announced),
                dialled=dialled,
                same_host=near,
                same_process=False,
            )
        )

    def test_who_dialed_control_dials_data(self) -> None:
        """
        The side that dialed control dials the data stream at the same address; the other does not.
        """
        control = "ipv4://10.0.0.1:7000"
        self.assertEqual(self.plan(control, control, dialled=True, near=False), [control])
        self.assertEqual(self.plan(control, control, dialled=False, near=False), [])

    def test_better_channels_first(self) -> None:
        """On one host unix comes before tcp, and each side opens the other's shm."""
        control = "ipv4://10.0.0.1:7000"
        self.assertEqual(
            self.plan(control, *EVERYTHING, dialled=True, near=True),
            ["shm://a", "unix:///run/a.sock", control],
        )
        self.assertEqual(
            self.plan("unix:///run/a.sock", *EVERYTHING, dialled=True, near=True),
            ["shm://a", "unix:///run/a.sock"],
        )
        self.assertEqual(self.plan(control, *EVERYTHING, dialled=False, near=True), ["shm://a"])

    def test_nobody_waits_for_the_unreachable(self) -> None:
        """A peer that listens only on a socket of another host is served by who reached us."""
        control = "ipv4://10.0.0.2:7000"
        self.assertEqual(
            self.plan(control, "unix:///run/a.sock", dialled=True, near=False), [control]
        )


class NoticeTests(SynchronousTestCase):
    def notice(self, *announced: str, same_host: bool) -> str:
        """Choose the address that a sibling is told."""
        return str(notice_address(parsed(*announced), same_host=same_host))

    def test_what_a_sibling_is_told(self) -> None:
        """
        A sibling is told a stream address that it can reach: never mem or shm, unix only on the
        same host.
        """
        self.assertEqual(self.notice(*EVERYTHING, same_host=True), "unix:///run/a.sock")
        self.assertEqual(self.notice(*EVERYTHING, same_host=False), "ipv4://10.0.0.1:7000")

    def test_nothing_to_tell(self) -> None:
        """A node that nobody can dial from there is not told of."""
        self.assertEqual(self.notice("mem://a", "shm://a", same_host=True), "None")
        self.assertEqual(self.notice("unix:///a", "ipv4://127.0.0.1:1", same_host=False), "None")
