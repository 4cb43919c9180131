"""Processes that are killed in the middle of their work, again and again."""

from __future__ import annotations

import signal

from tests.chaos.case import RESUME_SECONDS, ChaosCase, node_file, speech
from tests.extent import extent
from tests.processes.harness import UP

EAST, WEST = 0xA0000, 0xB0000
RELAY, SENDER, RECEIVER = 0x20100, 0x20101, 0x20002
ONE, TWO = SENDER, SENDER + 1
RATE = 1000
TOPS = {"east": EAST, "west": WEST}


def top(name: str) -> str:
    """Write the file of a top: each answers for the same range, neither knows the other."""
    return node_file(name, TOPS[name], listens=True, more='subnets = ["0x20000/16"]')


class KilledRelayTests(ChaosCase):
    """A bus with two tops: whoever has lost one goes to the other."""

    async def test_a_relay_is_killed_again_and_again(self) -> None:
        """
        A relay is killed under load: each message has one fate, and soon they pass again.

        No more of them are uncertain than were unacknowledged when the links ended, and messages
        pass again, by the other relay, within a second of the socket's end.
        """
        tops = dict(zip(TOPS, await self.bring_up(*((n, top(n)) for n in TOPS)), strict=True))
        speaks = speech(RECEIVER, rate=RATE)
        relay, receiver, sender = await self.bring_up(
            ("relay", node_file("relay", RELAY, ["east", "west"], listens=True)),
            ("receiver", node_file("receiver", RECEIVER, ["east", "west"], program="listen")),
            ("sender", node_file("sender", SENDER, ["relay"], settings=speaks)),
        )
        await receiver.says("received ")
        kills = extent(8, 200)
        for number in range(kills):
            name = list(TOPS)[number % 2]
            self.assertEqual(await tops[name].stops(signal.SIGKILL), -signal.SIGKILL)
            await receiver.says("messages pass again")
            tops[name] = self.start(name)
            await tops[name].says(UP)
        await self.stop_all(sender, receiver, relay, *tops.values())
        verdict = self.check(EAST, WEST)
        self.assertEqual(verdict.orphaned, 0)
        self.check_uncertain(sender=SENDER, relay=RELAY, receiver=RECEIVER)
        self.check_questions("sender", at_least=kills)
        self.check_silences("receiver", RESUME_SECONDS)


class KilledEndTests(ChaosCase):
    """A bus whose senders and receivers are killed."""

    async def test_both_ends_are_killed_in_turn(self) -> None:
        """
        What a killed sender had said arrives or goes with it; the others are told everything.

        Scenario: K21
        """
        files = (
            ("relay", node_file("relay", RELAY, listens=True)),
            ("one", node_file("one", ONE, ["relay"], settings=speech(TWO))),
            ("two", node_file("two", TWO, ["relay"], settings=speech(ONE))),
        )
        relay, one, two = await self.bring_up(*files)
        await two.says("received ")
        await one.says("received ")
        for _ in range(extent(3, 50)):
            self.assertEqual(await one.stops(signal.SIGKILL), -signal.SIGKILL)
            await self.is_refused(two)
            one = self.start("one")
            await one.says("received ")
            await self.is_answered(two)
            self.assertEqual(await two.stops(signal.SIGKILL), -signal.SIGKILL)
            await self.is_refused(one)
            two = self.start("two")
            await two.says("received ")
            await self.is_answered(one)
        await self.stop_all(one, two, relay)
        verdict = self.check(ONE, TWO)
        self.assertTrue(verdict.delivered, str(verdict))
        self.check_uncertain(one=ONE, two=TWO, relay=RELAY)
        self.check_questions("one", "two", at_least=1)


