"""Whose fault it is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.discovery.etcd.faults import Cause, read_fault

#: What servers of several ages say, and what it is about.
REFUSALS = [
    (401, b'{"error":"etcdserver: invalid auth token","code":16}', Cause.TOKEN, 16),
    (400, b'{"error":"etcdserver: user name is empty","code":3}', Cause.TOKEN, 3),
    (400, b'{"error":"etcdserver: revision of auth store is old","code":3}', Cause.TOKEN, 3),
    (
        400,
        b'{"error":"etcdserver: authentication failed, invalid user ID or password","code":3}',
        Cause.DENIED,
        3,
    ),
    (403, b'{"error":"etcdserver: permission denied","code":7}', Cause.DENIED, 7),
    (404, b'{"error":"etcdserver: requested lease not found","code":5}', Cause.LEASE, 5),
    (
        400,
        b'{"error":"etcdserver: mvcc: required revision has been compacted","code":11}',
        Cause.COMPACTED,
        11,
    ),
    (503, b'{"error":"etcdserver: request timed out","code":14}', Cause.UNAVAILABLE, 14),
    (503, b"<html>no</html>", Cause.UNAVAILABLE, 2),
    (500, b'{"message":"etcdserver: corrupt","code":13}', Cause.OTHER, 13),
    (404, b"404 page not found\n", Cause.OTHER, 2),
    (400, b'{"code": true, "error": 5}', Cause.OTHER, 2),
]


class CauseTests(SynchronousTestCase):
    """What a refusal is about."""

    def test_causes_are_told_apart(self) -> None:
        """Each refusal that makes a difference is recognized by its status, code or words."""
        for http_status, body, cause, code in REFUSALS:
            self.assertEqual(read_fault(http_status, body)[:2], (cause, code), body)

    def test_words_are_safe_to_print(self) -> None:
        """What a server says cannot break a line of the log, nor fill it."""
        _, _, words = read_fault(400, b'{"error":"a\\nb\\u001b[2J' + b"x" * 5_000 + b'","code":3}')
        self.assertTrue(words.isprintable())
        self.assertLessEqual(len(words), limits.DETAIL_BYTES * 4)

    @settings(deadline=None)
    @given(st.integers(100, 599), st.binary(max_size=60))
    def test_no_body_is_too_strange(self, http_status: int, body: bytes) -> None:
        """Any body can be the body of a refusal."""
        cause, _, words = read_fault(http_status, body)
        self.assertIsInstance(cause, Cause)
        self.assertTrue(words.isprintable())
