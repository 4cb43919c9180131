"""Who takes part in a measurement."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.address import parse_address
from atbus.cli.bench.task import CHANNELS, Task, Wishes, tasks


def wishes(work: str = "send", channel: str = "unix", targets: int = 1) -> Wishes:
    """Wish for something."""
    return Wishes(work=work, channel=channel, size=128, count=10, targets=targets)


class TaskTests(SynchronousTestCase):
    """The processes and what they are told."""

    def test_the_sender_listens(self) -> None:
        """Without a relay the sender is above its targets."""
        party = tasks(wishes(targets=3), "/tmp")
        self.assertEqual(
            [(task.name, bool(task.listen)) for task in party],
            [("sender", True), ("target 1", False), ("target 2", False), ("target 3", False)],
        )
        self.assertEqual(party[0].targets, tuple(task.bus_id for task in party[1:]))

    def test_the_relay_listens(self) -> None:
        """A relay is above the sender and the target."""
        party = tasks(wishes("relay"), "/tmp")
        self.assertEqual([task.name for task in party], ["relay", "sender", "target"])
        self.assertEqual([bool(task.listen) for task in party], [True, False, False])

    def test_every_channel_has_an_address(self) -> None:
        """What can be wished for can be listened at."""
        for channel in CHANNELS:
            address = parse_address(tasks(wishes(channel=channel), "/tmp")[0].listen)
            self.assertTrue(address.is_duplex)

    def test_a_task_is_an_argument(self) -> None:
        """A process reads what the command wrote."""
        for task in tasks(wishes("relay", targets=2), "/tmp"):
            self.assertEqual(Task.from_json(task.to_json()), task)
