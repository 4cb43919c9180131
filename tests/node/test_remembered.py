"""Bounds of what a node remembers, and is told: more than that is forgotten, or refused."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.busid import Subnet
from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig
from atbus.rights import Rights, RightsRule
from atbus.subjects import bounds
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests


class RememberedTests(MailTests):
    """A small bus, and bounds that are smaller."""

    def test_the_epochs_of_nodes_that_were_here(self) -> None:
        """Of more nodes than are remembered the last ones are."""
        self.patch(limits, "EPOCHS_REMEMBERED_MAX", 3)
        root = self.root()
        self.network.start(root)
        leaves = [self.leaf(ROOT + number) for number in range(1, 7)]
        known = list(root._parts.registrar.known_epochs)
        self.assertEqual(known, [leaf.bus_id for leaf in leaves[3:]])
        self.assertEqual(len(root.endpoints), 6)

    def test_the_sources_behind_a_neighbor(self) -> None:
        """More sources than are remembered are believed all the same, each found out anew."""
        self.patch(limits, "VOUCHED_SOURCES_MAX", 2)
        root, _, _ = self.proxies()
        leaves = [self.leaf(NORTH + number) for number in range(1, 6)]
        for turn in range(2):
            for leaf in leaves:
                leaf.send(ROOT, b"%d" % turn)
            self.network.settle()
        self.assertEqual(len(self.mail[root].payloads), 10)
        self.assertLessEqual(len(root.endpoints[NORTH].vouched), 2)

    def test_pairs_that_were_told_of_each_other(self) -> None:
        """With more pairs than are remembered some are told again, and messages travel."""
        self.patch(limits, "NOTICES_REMEMBERED_MAX", 2)
        root = self.root()
        self.network.start(root)
        leaves = [self.leaf(ROOT + number) for number in range(1, 5)]
        for leaf in leaves:
            for other in leaves:
                if leaf is not other:
                    leaf.send(other.bus_id, b"hello")
        self.network.settle()
        self.assertEqual([len(self.mail[leaf].payloads) for leaf in leaves], [3] * 4)
        told = root._parts.notices._told
        self.assertIn(len(told), (1, 2))

    def test_messages_given_up_in_pieces(self) -> None:
        """Of more of them than are remembered each is told once all the same, one after another."""
        self.patch(limits, "FRAGMENTS_GIVEN_UP_MAX", 2)
        _, _, south = self.proxies()
        leaf = self.leaf(NORTH + 1)
        for target in range(SOUTH + 5, SOUTH + 9):
            leaf.send(target, bytes(200_000))
            self.network.settle()
        self.assertEqual(self.mail[leaf].statuses(), ["NO_ROUTE"] * 4)
        self.assertEqual(len(south._parts.traffic._given_up), 2)

    def test_many_subjects(self) -> None:
        """Of more subjects than are remembered each is published on as ever."""
        self.patch(bounds, "WAYS_REMEMBERED_MAX", 2)
        root = self.root()
        self.network.start(root)
        got: list[str] = []
        root.subscribe(">", lambda publication: got.append(publication.subject))
        subjects = ["a", "b", "c", "a", "d", "b"]
        for subject in subjects:
            root.publish(subject, b"")
        self.assertEqual(got, subjects)
        self.assertEqual(list(root._parts.subjects.subscribers._ways), ["d", "b"])


class ToldTests(SynchronousTestCase):
    """What is found out once, and what a configuration may hold."""

    def test_who_may_send_to_whom(self) -> None:
        """Of more pairs than are remembered each is judged as ever."""
        self.patch(limits, "VOUCHED_SOURCES_MAX", 4)
        rights = Rights([RightsRule(allows=False, ids=(Subnet(2, 0),), send=(Subnet(9, 0),))])
        for _ in range(2):
            for source in range(1, 4):
                for target in range(7, 10):
                    expected = (source, target) != (2, 9)
                    self.assertEqual(rights.may_send(source, target), expected)
                    self.assertLessEqual(len(rights._sends), 4)

    def test_tokens(self) -> None:
        """A token that is too long, and one more than there may be, are faults."""
        longest = "x" * limits.ACCESS_TOKEN_BYTES
        NodeConfig(access_tokens=[longest])
        for tokens in ([longest + "x"], ["x"] * (limits.ACCESS_TOKENS_MAX + 1)):
            error = self.assertRaises(ConfigurationError, NodeConfig, access_tokens=tokens)
            self.assertIn("access_tokens", str(error))
