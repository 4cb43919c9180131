"""Every bound has a reason."""

from __future__ import annotations

import ast

from twisted.trial.unittest import SynchronousTestCase

from tests.house import repository
from tests.house.repository import ROOT

FILES = (
    "atbus/limits.py",
    "atbus/handshake/bounds.py",
    "atbus/routing/bounds.py",
    "atbus/discovery/bounds.py",
    "atbus/node/bounds.py",
    "atbus/discovery/zookeeper/bounds.py",
    "atbus/nats/bounds.py",
    "atbus/stream/bounds.py",
    "atbus/subjects/bounds.py",
    "atbus/wire/bounds.py",
)


class BoundTests(SynchronousTestCase):
    """The constants of the files that hold bounds."""

    def test_each_bound_says_why(self) -> None:
        """Directly above each constant stands a comment."""
        for name in FILES:
            path = ROOT / name
            lines = path.read_text(encoding="utf-8").splitlines()
            starts = [
                node.lineno - 1
                for node in repository.parse(path).body
                if isinstance(node, ast.Assign | ast.AnnAssign)
            ]
            self.assertNotEqual(starts, [], name)
            bare = [lines[start] for start in starts if not lines[start - 1].startswith("#:")]
            self.assertEqual(bare, [], name)
