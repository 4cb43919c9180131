"""A node of whose candidates for upstream some break the protocol."""

from __future__ import annotations

from atbus import limits
from atbus.address import parse_address
from atbus.errors import RegistrationRefused
from atbus.routing.choice import Candidate
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests
from tests.node.stranger import Stranger

SPARE_ADDRESS = "ipv4://10.0.0.9:1"


class FaultTests(BusTests):
    """Who is at fault is left alone, and nobody else."""

    def test_the_next_one_at_once(self) -> None:
        """
        One that breaks the protocol is left alone, for itself: the next has its turn at once, and
        it gets none when that is lost.
        """
        stranger = Stranger(self.network).listen(ROOT_ADDRESS)
        spare = self.root(listen=[SPARE_ADDRESS])
        child = self.node(CHILD, upstreams=[ROOT_ADDRESS, SPARE_ADDRESS])
        self.network.start(spare)
        started = child.start()
        self.network.settle(0.1)
        self.assertEqual(child.state, "starting")
        stranger.say_raw(b"\x08\0\0\0HTTP")
        self.network.result_of(started, 0.1)
        self.assertEqual(self.ids(child), [ROOT])
        self.kill(spare)
        self.network.settle(limits.REFUSED_SECONDS - 5)
        dialled = [str(each) for each in self.network.dials]
        self.assertEqual(dialled.count(ROOT_ADDRESS), 1)
        self.assertGreater(dialled.count(SPARE_ADDRESS), 4)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 5)
        self.assertGreater([str(each) for each in self.network.dials].count(ROOT_ADDRESS), 1)
        self.network.result_of(stranger.listener.stop())

    def test_all_of_them_break_the_protocol(self) -> None:
        """Each is dialled once, and again only after its pause; one that is new at once."""
        strangers = [Stranger(self.network).listen(each) for each in (ROOT_ADDRESS, SPARE_ADDRESS)]
        child = self.node(CHILD, upstreams=[ROOT_ADDRESS, SPARE_ADDRESS])
        started = child.start()
        for stranger in strangers:
            self.network.settle(0.1)
            stranger.say_raw(b"\x08\0\0\0HTTP")
        self.network.settle(limits.REFUSED_SECONDS - 2)
        self.assertFalse(started.called)
        before = [ROOT_ADDRESS, SPARE_ADDRESS]
        self.assertEqual([str(each) for each in self.network.dials], before)
        upstream = child._parts.running.upstream
        assert upstream is not None
        candidates = upstream._candidates()
        third = Candidate(parse_address("ipv4://10.0.0.10:1"))
        upstream._candidates = lambda: (*candidates, third)
        upstream.candidates_changed()
        self.network.settle(0.001)
        before.append(str(third.address))
        self.assertEqual([str(each) for each in self.network.dials], before)
        upstream._candidates = lambda: candidates
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 2)
        self.assertEqual([str(each) for each in self.network.dials[:4]], [*before, ROOT_ADDRESS])
        for stranger in strangers:
            self.network.result_of(stranger.listener.stop())
        self.network.stop(child)
        self.assertRaises(RegistrationRefused, self.network.result_of, started)
