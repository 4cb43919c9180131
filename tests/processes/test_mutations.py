"""
A few defences are taken away, and their tests fail; all by ``make test MUTATE=1``.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.house.repository import ROOT
from tests.security.mutate import changed, places, run, without
from tests.security.mutations import MUTATIONS, Mutation

#: Quick ones, each of another part: handshake, rights, frames.
TRIED = ("certificate_identity", "denied", "oversized_and_malformed")
PATIENCE_SECONDS = 300.0


class MutationTests(SynchronousTestCase):
    """Changes of sources after which a test must fail, each in a copy of the tree."""

    def test_without_their_defences(self) -> None:
        """Tests of attacks fail where the defence is not, and pass where it is."""
        first = {each.test: each for each in reversed(MUTATIONS)}
        chosen = [first[name] for name in TRIED]
        whole = run(ROOT, [places()[name] for name in TRIED], PATIENCE_SECONDS)
        self.assertEqual((whole.passed, whole.why), (True, ""))
        for mutation in chosen:
            outcome = without(mutation)
            self.assertTrue(outcome.shows_something, (mutation, outcome))

    def test_what_shows_nothing(self) -> None:
        """A change that makes no sense shows nothing, nor does one that makes no difference."""
        name = TRIED[1]
        path, old = "rights.py", "if ids is not None and any("
        for new in ("if ids is not None and any_(", "if ids and any("):
            outcome = without(Mutation(name, path, old, new))
            self.assertFalse(outcome.shows_something, (new, outcome))
        for old, path in (("never in it", "rights.py"), ("\n", "rights.py"), ("", "rights.py")):
            self.assertRaises(ValueError, changed, Mutation(name, path, old, ""))
