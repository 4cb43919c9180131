"""Outcomes and exit codes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.outcome import CommandFailed, ExitCode, code_for
from atbus.errors import Status


class CodeTests(SynchronousTestCase):
    """Which exit code stands for what."""

    def test_each_status_has_its_code(self) -> None:
        """A script can tell: nobody there, too late, refused, or simply failed."""
        self.assertIs(code_for(Status.OK), ExitCode.DONE)
        expected = {
            ExitCode.NOBODY: (Status.NO_ROUTE, Status.NOT_CONNECTED, Status.CONNECT_FAILED),
            ExitCode.TIMED_OUT: (Status.TIMEOUT, Status.HANDSHAKE_TIMEOUT),
            ExitCode.REFUSED: (Status.ACCESS_DENIED, Status.UNKNOWN_COMMAND, Status.BACKPRESSURE),
            ExitCode.FAILED: (Status.UNCERTAIN, Status.HANDLER_FAILED, Status.MALFORMED_FRAME),
        }
        for code, statuses in expected.items():
            self.assertEqual({code_for(status) for status in statuses}, {code})

    def test_only_success_is_success(self) -> None:
        """No other outcome ends with 0."""
        done = [status for status in Status if code_for(status) is ExitCode.DONE]
        self.assertEqual(done, [Status.OK])

    def test_every_refused_registration_is_refused(self) -> None:
        """Whatever the reason, a node that does not let us in has refused us."""
        refusals = {status for status in Status if status.is_refusal} - {Status.UNKNOWN_ENDPOINT}
        self.assertEqual({code_for(status) for status in refusals}, {ExitCode.REFUSED})

    def test_a_failure_carries_its_values(self) -> None:
        """A failure has the code for the shell, the name for programs, the sentence for people."""
        failure = CommandFailed.of(Status.NO_ROUTE, "nobody has this id")
        self.assertEqual((failure.code, failure.error), (ExitCode.NOBODY, "NO_ROUTE"))
        self.assertEqual(str(failure), "nobody has this id")
