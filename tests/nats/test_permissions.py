"""Who may publish and subscribe to what."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.permissions import EVERYTHING, Permissions, read_entry, rules


class PermissionTests(SynchronousTestCase):
    def test_everything_is_allowed_unless_said(self) -> None:
        """Without lists nothing is asked."""
        self.assertTrue(EVERYTHING.publishes_freely)
        self.assertTrue(EVERYTHING.receives_freely)
        self.assertTrue(EVERYTHING.may_publish("a.b"))
        self.assertTrue(EVERYTHING.may_subscribe(">", "q"))

    def test_a_list_of_what_is_allowed(self) -> None:
        """Nothing else is."""
        permissions = Permissions(publish=rules(["a.*", "b.>"]))
        self.assertTrue(permissions.may_publish("a.x"))
        self.assertTrue(permissions.may_publish("b.x.y"))
        self.assertFalse(permissions.may_publish("a.x.y"))
        self.assertFalse(permissions.may_publish("c"))

    def test_denial_is_stronger(self) -> None:
        """What is denied is denied, also when it is allowed."""
        permissions = Permissions(publish=rules(["a.>"], ["a.secret"]))
        self.assertTrue(permissions.may_publish("a.x"))
        self.assertFalse(permissions.may_publish("a.secret"))

    def test_empty_tokens(self) -> None:
        """What has one is in no list, whatever wildcards there are, of neither kind."""
        permissions = Permissions(publish=rules(["a.*", "b.>", ">"]))
        for subject in ("a.", "b.", "b..x", ".a", ".", "", "b.x."):
            self.assertFalse(permissions.may_publish(subject), subject)
            denied = Permissions(publish=rules(None, ["a.*", "b.>", ">"]))
            self.assertTrue(denied.may_publish(subject), subject)

    def test_an_empty_list_allows_nothing(self) -> None:
        """A list is a list, also without entries."""
        self.assertFalse(Permissions(publish=rules([])).may_publish("a"))

    def test_a_pattern_must_be_allowed_as_a_whole(self) -> None:
        """Nobody gets more by a wildcard than is allowed."""
        permissions = Permissions(subscribe=rules(["a.*", "b.>"]))
        for allowed in ("a.x", "a.*", "b.x", "b.*", "b.>", "b.*.x"):
            self.assertTrue(permissions.may_subscribe(allowed), allowed)
        for refused in ("a.>", "*.x", ">", "b", "a", "*"):
            self.assertFalse(permissions.may_subscribe(refused), refused)

    def test_only_for_a_queue_group(self) -> None:
        """An entry with a group is about its members; groups may have wildcards as well."""
        permissions = Permissions(subscribe=rules(["a workers.*"]))
        self.assertTrue(permissions.may_subscribe("a", "workers.eu"))
        self.assertFalse(permissions.may_subscribe("a", "idlers"))
        self.assertFalse(permissions.may_subscribe("a"))

    def test_not_for_a_queue_group(self) -> None:
        """A denied group does not keep others from subscribing."""
        permissions = Permissions(subscribe=rules(None, ["a idlers"]))
        self.assertFalse(permissions.may_subscribe("a", "idlers"))
        self.assertTrue(permissions.may_subscribe("a", "workers"))
        self.assertTrue(permissions.may_subscribe("a"))

    def test_what_is_denied_is_not_received(self) -> None:
        """Also through a pattern that is allowed."""
        permissions = Permissions(subscribe=rules(None, ["a.b"]))
        self.assertFalse(permissions.receives_freely)
        self.assertTrue(permissions.may_subscribe("a.*"))
        self.assertFalse(permissions.may_receive("a.b"))
        self.assertTrue(permissions.may_receive("a.c"))

    def test_entries_that_are_none(self) -> None:
        """What is no subject, nor a subject and a group, is refused."""
        for wrong in ("", "a..b", "a b c", "a.>.b"):
            self.assertRaises(ValueError, read_entry, wrong)

    def test_what_is_denied_by_its_letters(self) -> None:
        """As at servers, to what is denied a rest is one more word for which a star stands."""
        permissions = Permissions(subscribe=rules(None, ["a.x.*", "b q"]))
        for pattern in ("a.x.>", "a.x.*", "a.x.y"):
            self.assertFalse(permissions.may_subscribe(pattern), pattern)
        for pattern in ("a.>", "a.*.*", "a.x", "a.x.y.>", "b", ">"):
            self.assertTrue(permissions.may_subscribe(pattern), pattern)
