"""A process that looks for work for a while before it sleeps."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from atbus.channels.busy_polling import BusyPoller
from atbus.cli.busy_polling import BUSY_POLL_SECONDS, poll_before_sleep

_PROGRAM = """
from twisted.internet import epollreactor
epollreactor.install()
from twisted.internet import reactor
from atbus.channels.busy_polling import BusyPoller
from atbus.cli.twistd import Options, makeService

options = Options()
options.parseOptions(["--id", "1", "--set", "route_table='off'", *{words}])
makeService(options)
print(isinstance(reactor._poller, BusyPoller))
reactor.callLater(0.01, reactor.callFromThread, reactor.stop)
reactor.run()
print("stopped")
"""


class Epoll:
    """
    An epoll object whose time passes as the test wants; what arrives, arrives at a real socket.

    :param sock: Where something arrives.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._epoll = select.epoll()
        self._socket = sock
        self.now = 0.0
        self.arrival = float("inf")
        self.sleeps: list[float] = []
        self.looks = 0
        #: For how long others use the processor when they may.
        self.others = 10.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """Look, or sleep until something arrives or the time is over."""
        if timeout:
            self.sleeps.append(timeout)
            over = self.now + timeout if timeout > 0 else float("inf")
            self.now = min(self.arrival, over)
        else:
            self.looks += 1
        if self.now >= self.arrival:
            self.arrival = float("inf")
            self._socket.send(b"x")
        return self._epoll.poll(0, maxevents)

    def give_way(self) -> None:
        """Let others use the processor; they do, for a while."""
        self.now += self.others


class Thing:
    """Something that stays awake; counts what is asked of it."""

    def __init__(self) -> None:
        self.looks = 0
        self.slept = 0
        self.works_at = 0
        self.can_sleep = True

    def look_awake(self) -> bool:
        """Look; there is work at one of the looks."""
        self.looks += 1
        return self.looks == self.works_at

    def fall_asleep(self) -> bool:
        """Go to sleep, or not."""
        self.slept += 1
        return self.can_sleep


class BusyPollerTests(SynchronousTestCase):
    """When it looks, and when it lets the process sleep."""

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)
        self.epoll = Epoll(self.far)
        self.addCleanup(self.epoll.close)
        self.poller = BusyPoller(self.epoll, 100.0, lambda: self.epoll.now, self.epoll.give_way)
        self.poller.register(self.near.fileno(), select.EPOLLIN)

    def wait(self, after: float, timeout: float = -1.0) -> tuple[int, int]:
        """
        Wait for what arrives after a while.

        :param after: From now on.
        :param timeout: Of the wait.
        :returns: How often it looked, and how often it slept.
        """
        epoll, before = self.epoll, len(self.epoll.sleeps)
        epoll.looks, epoll.arrival = 0, epoll.now + after
        events = self.poller.poll(timeout, 16)
        self.assertEqual(events, [(self.near.fileno(), select.EPOLLIN)])
        self.near.recv(1)
        return epoll.looks, len(epoll.sleeps) - before

    def test_what_comes_soon_is_found_awake(self) -> None:
        """What comes within the time is found without a sleep, as often as it comes."""
        for _ in range(5):
            self.assertEqual(self.wait(50.0), (6, 0))

    def test_what_is_there_is_found_at_once(self) -> None:
        """One look finds what is there already, and others are not made to wait for it."""
        self.assertEqual(self.wait(0.0), (1, 0))
        self.assertEqual(self.epoll.now, 0.0)

    def test_a_look_ends(self) -> None:
        """It looks for no longer than it may, then it sleeps until something comes."""
        self.assertEqual(self.wait(5000.0), (11, 1))
        self.assertEqual(self.epoll.sleeps, [-1.0])

    def test_looking_in_vain_becomes_rare(self) -> None:
        """After looks in vain it sleeps 1, 3, 7 ... times without one, at most 63 times."""
        looked = [self.wait(5000.0)[0] > 0 for _ in range(400)]
        places = [place for place, has in enumerate(looked) if has]
        gaps = [after - before - 1 for before, after in pairwise(places)]
        self.assertEqual(gaps, [1, 3, 7, 15, 31, 63, 63, 63, 63, 63])

    def test_a_short_sleep_is_worth_looking_again(self) -> None:
        """Who sleeps, and is woken as soon as a look takes, looks the next time."""
        for _ in range(20):
            self.wait(5000.0)
        self.assertEqual(self.wait(150.0), (0, 1))
        self.assertEqual(self.wait(50.0), (6, 0))

    def test_others_want_the_processor(self) -> None:
        """
        Who gives way and does not get the processor back in time goes to sleep at once, and does
        not look the next 63 times, however short the sleeps are.
        """
        self.epoll.others = 300.0
        self.assertEqual(self.wait(5000.0), (1, 1))
        self.assertEqual([self.wait(50.0) for _ in range(63)], [(0, 1)] * 63)
        self.epoll.others = 10.0
        self.assertEqual(self.wait(50.0), (6, 0))
        self.epoll.others = 300.0
        self.assertEqual(self.wait(200.0), (1, 1))
        # A timer that is overdue meanwhile is not slept for.
        for _ in range(63):
            self.wait(50.0)
        self.assertEqual(self.poller.poll(250.0, 16), [])
        self.assertEqual(len(self.epoll.sleeps), 64 + 64)

    def test_no_look_beyond_a_timer(self) -> None:
        """A timer that is due sooner ends the look, and nothing is slept beyond it."""
        self.assertEqual(self.poller.poll(50.0, 16), [])
        self.assertEqual((self.epoll.now, self.epoll.sleeps), (50.0, []))
        self.poller.poll(50.0, 16)
        self.assertEqual(self.poller.poll(5000.0, 16), [])
        self.assertEqual(self.epoll.now, 100.0 + 5000.0)

    def test_watched_things(self) -> None:
        """A few things that stay awake are looked at, each once, and no more than a few."""
        things = [Thing() for _ in range(9)]
        self.assertEqual([self.poller.watch(each) for each in things], [True] * 8 + [False])
        self.assertTrue(self.poller.watch(things[0]))
        self.poller.forget(things[1])
        self.poller.forget(things[8])
        self.poller.poll(0, 16)
        self.assertEqual([each.looks for each in things], [1, 0, *[1] * 6, 0])

    def test_a_watched_thing_that_has_work(self) -> None:
        """Work that is found by a look ends the wait: it may have set timers."""
        thing = Thing()
        self.poller.watch(thing)
        thing.works_at = 4
        self.assertEqual(self.poller.poll(-1, 16), [])
        self.assertEqual((self.epoll.now, self.epoll.sleeps, thing.slept), (20.0, [], 0))

    def test_neither_keeps_the_other_waiting(self) -> None:
        """Sockets are asked in each turn in which lanes have work, and lanes where sockets have."""
        thing = Thing()
        self.poller.watch(thing)
        self.near.send(b"x")
        for _ in range(50):
            self.far.send(b"x")
            thing.works_at = thing.looks + 1
            self.assertEqual(self.poller.poll(-1, 16), [(self.near.fileno(), select.EPOLLIN)])
            self.near.recv(1)
        self.assertEqual((thing.looks, self.epoll.looks, self.epoll.now), (50, 50, 0.0))

    def test_who_had_the_processor_has_brought_something(self) -> None:
        """Lanes are looked at before the sockets are asked again, which the next turn does."""
        thing = Thing()
        self.poller.watch(thing)
        for turn in range(1, 5):
            thing.works_at = thing.looks + 2
            self.assertEqual(self.poller.poll(-1, 16), [])
            self.assertEqual((self.epoll.looks, self.epoll.now), (turn, 10.0 * turn))

    def test_watched_things_sleep(self) -> None:
        """
        Before the process sleeps all must; one that cannot keeps it awake, and who comes later is
        not watched while looks are not worth it.
        """
        things = [Thing(), Thing()]
        for each in things:
            self.poller.watch(each)
        things[0].can_sleep = False
        self.assertEqual(self.poller.poll(5000.0, 16), [])
        self.assertEqual((self.epoll.sleeps, [each.slept for each in things]), ([], [1, 1]))
        self.assertTrue(self.poller.watch(things[1]))
        self.poller.poll(5000.0, 16)
        self.assertEqual((self.epoll.sleeps, [each.slept for each in things]), ([4900.0], [1, 2]))
        self.assertFalse(self.poller.watch(things[1]))

    def test_who_must_not_wait_looks_once(self) -> None:
        """A reactor that has calls to make asks without waiting, and does not wait."""
        self.assertEqual(self.poller.poll(0, 16), [])
        self.assertEqual((self.epoll.looks, self.epoll.now, self.epoll.sleeps), (1, 0.0, []))


class ReactorTests(SynchronousTestCase):
    """What it does to a reactor."""

    def test_only_where_it_can_be_worth_it(self) -> None:
        """Without time, on one processor or without epoll nothing is changed."""
        poller = select.epoll()
        self.addCleanup(poller.close)
        reactor = SimpleNamespace(_poller=poller)
        self.assertFalse(poll_before_sleep(reactor, 0.0))
        self.assertFalse(poll_before_sleep(Clock()))
        usual = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, usual)
        os.sched_setaffinity(0, {min(usual)})
        self.assertFalse(poll_before_sleep(reactor))
        self.assertIs(reactor._poller, poller)

    def test_a_process_of_twistd(self) -> None:
        """A process that twistd makes a node of looks, unless it is told not to, and works."""
        few = len(os.sched_getaffinity(0)) < 2
        self.assertEqual(self._start(), f"{not few}\nstopped\n")
        self.assertEqual(self._start("--busy-poll", "0"), "False\nstopped\n")
        self.assertEqual(BUSY_POLL_SECONDS, 100e-6)

    def _start(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", _PROGRAM.replace("{words}", repr(words))],
            capture_output=True,
            check=True,
            text=True,
            timeout=60,
        ).stdout
