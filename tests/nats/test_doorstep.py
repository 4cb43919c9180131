"""Who dials the port for routes again as soon as he is refused, and has to wait."""

from __future__ import annotations

from typing import cast

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.nats import bounds
from atbus.nats.doorstep import Doorstep, Waiting
from atbus.nats.gateway import Gateway
from tests.nats.harbor import Caller
from tests.nats.test_routes import CONNECT, PORT, RouteCase, info

HOST = "10.9.9.9"
WRONG = CONNECT.replace(b'"p"', b'"q"')


class HastyTests(RouteCase):
    """Servers that do not know the password of the cluster."""

    def calls(self, gateway: Gateway) -> Caller:
        """Connect somebody, who may have to wait."""
        [port] = [
            each
            for each in self.quays[gateway.node].ports
            if each.getHost().port == PORT  # type: ignore[attr-defined]  # of an address on TCP
        ]
        return Caller(self.network.clock, port)

    def is_refused(self, caller: Caller) -> bool:
        """Let somebody say the wrong thing, if he may say anything."""
        if not caller.hears().startswith(b"INFO {"):
            return False
        caller.says(WRONG + info("B"))
        self.until(lambda: caller.is_gone)
        return True

    def refuse(self, gateway: Gateway) -> int:
        """Dial until nobody answers; tell how often somebody did."""
        count = 0
        while self.is_refused(caller := self.calls(gateway)):
            count += 1
        caller.hangs_up()
        return count

    def test_who_dials_at_once(self) -> None:
        """After eight refusals he is answered once a second, however many connections he makes."""
        gateway = self.open()
        refused = self.refuse(gateway)
        self.assertEqual(refused, bounds.ROUTE_REFUSALS_FREE)
        waiting = [self.calls(gateway) for _ in range(5)]
        for _ in range(60):
            self.network.settle(0.25)
            for caller in list(waiting):
                if self.is_refused(caller):
                    waiting.remove(caller)
                    waiting.append(self.calls(gateway))
                    refused += 1
        self.assertLessEqual(refused, bounds.ROUTE_REFUSALS_FREE + 16)
        self.assertGreaterEqual(refused, bounds.ROUTE_REFUSALS_FREE + 13)

    def test_a_member_from_there(self) -> None:
        """Who comes from the same address with the right words joins when it is his turn."""
        gateway = self.open()
        self.refuse(gateway)
        member = self.calls(gateway)
        # It need not have heard anything before it says who it is.
        member.says(CONNECT + info("A"))
        self.assertTrue(member.is_unread)
        self.until(lambda: self.members(gateway) == {"A"}, 3 * bounds.ROUTE_REFUSED_SECONDS)
        self.assertFalse(member.is_unread)

    def test_it_is_forgotten(self) -> None:
        """An address from which nobody was refused for a while is as any other."""
        gateway = self.open()
        self.refuse(gateway)
        self.network.settle(bounds.ROUTE_REFUSED_FORGOTTEN_SECONDS + 2.0)
        self.assertEqual(self.refuse(gateway), bounds.ROUTE_REFUSALS_FREE)

    def test_who_does_not_wait(self) -> None:
        """He holds up nobody: the next one has his turn."""
        gateway = self.open()
        self.refuse(gateway)
        first, second = self.calls(gateway), self.calls(gateway)
        first.hangs_up()
        self.network.settle(2 * bounds.ROUTE_REFUSED_SECONDS + 0.1)
        self.assertTrue(second.hears().startswith(b"INFO {"))

    def test_it_is_not_our_turn(self) -> None:
        """Where another gateway serves, who dials at once is closed once a second as well."""
        gateway = self.open()
        assert gateway.routes is not None
        gateway.routes._candidacy.stop()
        door = gateway.routes.door
        for _ in range(bounds.ROUTE_REFUSALS_FREE):
            self.assertIsNone(door.buildProtocol(None))
        waiting, transport = door.buildProtocol(None), StringTransport()
        assert isinstance(waiting, Waiting)
        waiting.makeConnection(transport)  # type: ignore[no-untyped-call]  # of Twisted
        self.network.settle(bounds.ROUTE_REFUSED_SECONDS + 0.1)
        self.assertTrue(transport.disconnecting)

    def test_the_gateway_stops(self) -> None:
        """Who waits is closed."""
        gateway = self.open()
        self.refuse(gateway)
        waiting = self.calls(gateway)
        self.network.result_of(gateway.stopService())
        self.until(lambda: waiting.is_gone)


class DoorstepTests(SynchronousTestCase):
    """Addresses, and what is told of them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[LogEvent] = []
        log = Logger(namespace="test", observer=cast(ILogObserver, self.told.append))
        self.doorstep = Doorstep(self.clock, log, lambda _: None)

    def refuse(self, host: str, count: int = bounds.ROUTE_REFUSALS_FREE) -> None:
        """Refuse somebody, and say so."""
        for _ in range(count):
            self.doorstep.log_of(host).warn("closed")
            self.doorstep.refused(host)

    def test_one_line_for_many(self) -> None:
        """A hundred refusals are a line; the next one says how many were left out."""
        self.refuse(HOST, 100)
        self.assertEqual([each["log_format"] for each in self.told], ["closed"])
        for _ in range(2):
            self.clock.advance(limits.LOG_INTERVAL_SECONDS / 2)
            self.refuse(HOST, 1)
        self.assertEqual([each.get("left_out") for each in self.told], [None, 100])

    def test_one_address_is_not_another(self) -> None:
        """Who comes from elsewhere does not wait."""
        self.refuse(HOST)
        self.assertIsNotNone(self.doorstep.wait(HOST))
        self.assertIsNone(self.doorstep.wait("10.9.9.8"))

    def test_so_many_addresses(self) -> None:
        """Of too many addresses those are forgotten from where somebody was refused longest ago."""
        self.patch(bounds, "ROUTE_REFUSED_MAX", 3)
        for number in range(5):
            self.refuse(str(number))
        known = [number for number in range(5) if self.doorstep.wait(str(number)) is not None]
        self.assertEqual(known, [2, 3, 4])

    def test_they_are_let_in_in_order(self) -> None:
        """One a second, the first one first; where there is nothing for him he is closed."""
        self.refuse(HOST)
        transports = []
        for _ in range(3):
            waiting, transport = self.doorstep.wait(HOST), StringTransport()
            assert waiting is not None
            waiting.makeConnection(transport)  # type: ignore[no-untyped-call]  # of Twisted
            transports.append(transport)
        self.assertEqual(len(self.doorstep), 3)
        for count in (1, 2, 3):
            self.clock.advance(bounds.ROUTE_REFUSED_SECONDS)
            closed = [each.disconnecting for each in transports]
            self.assertEqual(closed, [True] * count + [False] * (3 - count))
        self.assertEqual(len(self.doorstep), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
