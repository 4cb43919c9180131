"""What is due when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.routing.schedule import Schedule


class ScheduleTests(SynchronousTestCase):
    """Keys and their times."""

    def test_what_is_due_comes_out_in_order(self) -> None:
        """Keys come out when their time has come, in the order of their times."""
        schedule = Schedule[str]()
        schedule.set("late", 3.0)
        schedule.set("early", 1.0)
        schedule.set("between", 2.0)
        self.assertEqual((schedule.deadline, len(schedule)), (1.0, 3))
        self.assertEqual(schedule.due(0.9), [])
        self.assertEqual(schedule.due(2.0), ["early", "between"])
        self.assertEqual(schedule.due(9.0), ["late"])
        self.assertEqual((schedule.deadline, schedule.due(9.0)), (None, []))

    def test_so_many_at_a_time(self) -> None:
        """Of those that are due as many come out as are wanted; the others stay due, in order."""
        schedule = Schedule[str]()
        for key in "abc":
            schedule.set(key, 1.0)
        self.assertEqual(schedule.due(2.0, 2), ["a", "b"])
        self.assertEqual((schedule.deadline, schedule.due(2.0, 2)), (1.0, ["c"]))

    def test_a_key_has_one_time(self) -> None:
        """Setting again moves a key, hastening only to an earlier time; a cleared one is gone."""
        schedule = Schedule[str]()
        schedule.set("a", 1.0)
        schedule.set("a", 5.0)
        schedule.hasten("a", 7.0)
        schedule.hasten("b", 4.0)
        schedule.hasten("b", 2.0)
        self.assertEqual(schedule.due(4.0), ["b"])
        self.assertTrue("a" in schedule)
        self.assertTrue(schedule.clear("a"))
        self.assertFalse(schedule.clear("a"))
        self.assertEqual(schedule.due(9.0), [])

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100)), max_size=300))
    @settings(deadline=None)
    def test_it_is_a_dictionary_in_order(self, settings_made: list[tuple[int, int]]) -> None:
        """Whatever is set and set again, each key comes out once, at its last time."""
        schedule, expected = Schedule[int](), {}
        for key, at in settings_made:
            schedule.set(key, float(at))
            expected[key] = float(at)
        found = []
        while (deadline := schedule.deadline) is not None:
            found += [(key, deadline) for key in schedule.due(deadline)]
        self.assertEqual(dict(found), expected)
        self.assertEqual(len(found), len(expected))
