"""A gateway that not all the bus can know of does not serve: another one might do so as well."""

from __future__ import annotations

from atbus.errors import SubscriptionRefused
from atbus.nats import bounds
from atbus.nats.candidacy import Candidacy
from atbus.node.reload import reconfigure
from atbus.subjects import bounds as subject_bounds
from tests.node.garden import LEFT, RIGHT, TOP, GardenTests


class Noted:
    """Notes what is warned of."""

    def __init__(self, said: list[object]) -> None:
        self._said = said

    def warn(self, _: str, *, why: object) -> None:
        """Note why."""
        self._said.append(why)


class RefusedTests(GardenTests):
    """Two that could serve, and a node between them that keeps nothing of what is wanted."""

    def test_it_waits_until_all_know_of_it(self) -> None:
        """It says so once, tries again, and begins when it is known; what it asks else goes on."""
        self.patch(subject_bounds, "OWN_INTEREST_BYTES", 0)
        [top] = self.plant(TOP, interest_bytes=1)
        left, _ = self.plant(LEFT, RIGHT)
        said: list[object] = []
        changes: list[bool] = []
        candidacy = Candidacy(
            left, self.network.clock, "$ATBUS.test", "it", lambda: changes.append(True)
        )
        self.patch(candidacy, "_log", Noted(said))
        candidacy.start()
        self.settle(10 * bounds.LEAF_RETRY_SECONDS)
        self.assertFalse(candidacy.may_begin)
        [error] = said
        assert isinstance(error, SubscriptionRefused)
        self.assertEqual(error.gave_up_at, TOP)
        # That all have heard what else is wanted here is another question.
        self.network.result_of(candidacy.everywhere())
        reconfigure(top, top.config.replace(interest_bytes=100_000))
        self.settle(2 * bounds.LEAF_RETRY_SECONDS)
        self.assertTrue(candidacy.may_begin)
        candidacy.stop()

    def test_it_is_known_also_to_who_is_full(self) -> None:
        """What is kept for the bus itself is enough for it."""
        [top] = self.plant(TOP, interest_bytes=1)
        left, _ = self.plant(LEFT, RIGHT)
        candidacy = Candidacy(left, self.network.clock, "$ATBUS.test", "it", lambda: None)
        candidacy.start()
        self.settle()
        self.assertTrue(candidacy.may_begin)
        self.assertEqual(len(top._parts.subjects.talk.wanted_by(LEFT)), 1)
        candidacy.stop()
