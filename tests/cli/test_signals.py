"""What signals do to a process, without one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli import early_signals
from atbus.cli.signals import Signals

OTHERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


class Reactor:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sigTerm(self, number: int, frame: object) -> None:
        self.told.append("SIGTERM")

    def sigInt(self, number: int, frame: object) -> None:
        self.told.append("SIGINT")

    def callFromThread(self, call: Callable[[], object]) -> None:
        call()


class SignalsTests(SynchronousTestCase):
    """Handlers in this process; afterwards it has its own again."""

    def setUp(self) -> None:
        for number in OTHERS:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)
        self.reactor = Reactor()
        self.signals = Signals(self.reactor)
        self.signals.on_second_stop = lambda: self.reactor.told.append("at once")
        self.signals.on_hangup = lambda: self.reactor.told.append("reload")
        self.signals.on_drain = lambda: self.reactor.told.append("drain")

    def test_each_does_its_work(self) -> None:
        """Of those that stop the first and second differ; the others do the same each time."""
        self.signals.install()
        others = (signal.SIGHUP, signal.SIGHUP, signal.SIGUSR2)
        for number in (*others, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.told, ["reload", "reload", "drain", "SIGINT", "at once"])
        left = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        self.assertEqual(left, [signal.SIG_DFL] * 2)

    def test_over_the_reactors_own(self) -> None:
        """The handlers that a reactor sets at its start are covered when they are set again."""
        self.signals.install()
        signal.signal(signal.SIGTERM, self.reactor.sigTerm)
        self.signals.install()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.reactor.told, ["SIGTERM", "at once"])

    def test_what_others_have_set(self) -> None:
        """A debugger's handler stays, and what is ignored stays ignored."""
        heard: list[int] = []

        def listen(number: int, _: Any) -> None:
            heard.append(number)

        signal.signal(signal.SIGINT, listen)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.signals.install()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual(heard, [signal.SIGINT])
        self.assertEqual(self.reactor.told, ["SIGTERM", "at once"])
        self.assertIs(signal.getsignal(signal.SIGINT), listen)

    def test_before_there_is_a_node(self) -> None:
        """What is for the node is done as soon as it can be, once; Ctrl-C ends the process."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        early_signals.end_when_interrupted()
        early_signals.keep_for_the_node()
        self.assertIs(signal.getsignal(signal.SIGINT), signal.SIG_DFL)
        for number in (signal.SIGHUP, signal.SIGHUP):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.told, [])
        for _ in range(2):
            self.signals.install()
        self.assertEqual(self.reactor.told, ["reload"])
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGINT):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.told, ["reload", "drain", "reload", "SIGINT"])

    def test_what_others_have_set_before(self) -> None:
        """What is ignored from the start stays ignored."""
        for number in OTHERS:
            signal.signal(number, signal.SIG_IGN)
        early_signals.end_when_interrupted()
        early_signals.raise_when_interrupted()
        early_signals.keep_for_the_node()
        left = [signal.getsignal(number) for number in OTHERS]
        self.assertEqual(left, [signal.SIG_IGN] * len(OTHERS))

    def test_nobody_wants_to_know(self) -> None:
        """Signals that come before anybody asked for them do no harm."""
        signals = Signals(self.reactor)
        signals.install()
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.told, ["SIGTERM"])
