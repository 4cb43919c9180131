"""Proving that both sides know a token."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.handshake.access_token import Side, hash_transcript, prove, verify
from atbus.limits import ACCESS_TOKENS_MAX, PROOF_BYTES

SPECIFICATION = Path(__file__).parents[2] / "docs" / "reference" / "wire-protocol.rst"
# A vector of the document: values, a line of two dashes, bytes.
HELLO_VECTOR = r"^ +HELLO\n(?:.+\n)+? +--\n((?: +(?:[0-9a-f]{2} ?)+\n)+)"
PROOF_VECTOR = (
    r'PROOF\n +token = b"(.+)"\n +exporter = b""\n +--\n'
    r" +D ([0-9a-f]+)\n +L ([0-9a-f]+)\n"
)

TRANSCRIPT = hash_transcript(b"dialler hello", b"listener hello")


def passes(
    mine: tuple[bytes, ...],
    theirs: tuple[bytes, ...],
    *,
    proven_by: Side = Side.DIALLER,
    expected_of: Side = Side.DIALLER,
    proven_over: bytes = TRANSCRIPT,
    proven_in: bytes = b"",
) -> bool:
    proofs = prove(theirs, proven_by, proven_over, proven_in)
    return verify(mine, proofs, expected_of, TRANSCRIPT)


class MatrixTests(SynchronousTestCase):
    def test_nobody_has_a_token(self) -> None:
        """Two nodes without tokens trust each other."""
        self.assertTrue(passes((), ()))

    def test_a_token_on_one_side_only(self) -> None:
        """A token that only one side has is a refusal, whichever side it is."""
        self.assertFalse(passes((b"a",), ()))
        self.assertFalse(passes((), (b"a",)))

    def test_different_tokens(self) -> None:
        """Two nodes that know different tokens refuse each other."""
        self.assertFalse(passes((b"a",), (b"b",)))

    def test_one_token_in_common_in_any_position(self) -> None:
        """One common token is enough, wherever it stands in either list."""
        for mine in ((b"x", b"a", b"b"), (b"a", b"x", b"b"), (b"a", b"b", b"x")):
            for theirs in ((b"x", b"c", b"d"), (b"c", b"x", b"d"), (b"c", b"d", b"x")):
                self.assertTrue(passes(mine, theirs))

    def test_the_time_tells_nothing(self) -> None:
        """Every proof is compared with every token, and the time tells not how far one fits."""
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return one == other

        self.patch(hmac, "compare_digest", compare)
        for theirs in ((b"a", b"x", b"y"), (b"x", b"y", b"z")):
            compared.clear()
            passes((b"a", b"b"), theirs)
            self.assertEqual(len(set(compared)), 6)

    def test_truncates_the_tokens_to_the_limit(self) -> None:
        """
        Of more tokens than may be configured the first ones count.

        Scenario: G8
        """
        tokens = tuple(b"token %d" % number for number in range(ACCESS_TOKENS_MAX + 1))
        self.assertEqual(len(prove(tokens, Side.DIALLER, TRANSCRIPT)), ACCESS_TOKENS_MAX)
        self.assertTrue(passes(tokens, tokens[-2:-1]))
        self.assertFalse(passes(tokens, tokens[-1:]))
        self.assertFalse(passes(tokens[-1:], tokens))

    def test_refuses_more_proofs_than_anybody_may_send(self) -> None:
        """A node that tries many tokens at once is refused, even if one fits."""
        guesses = [bytes(PROOF_BYTES)] * ACCESS_TOKENS_MAX
        right = prove((b"a",), Side.DIALLER, TRANSCRIPT)
        self.assertTrue(verify((b"a",), [*guesses[1:], *right], Side.DIALLER, TRANSCRIPT))
        self.assertFalse(verify((b"a",), [*right, *guesses], Side.DIALLER, TRANSCRIPT))

    @settings(deadline=None)
    @given(
        st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=ACCESS_TOKENS_MAX),
        st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=ACCESS_TOKENS_MAX),
    )
    def test_is_the_same_from_both_sides(self, mine: list[bytes], theirs: list[bytes]) -> None:
        """Either both sides pass or neither: when both have nothing, or something in common."""
        expected = (not mine and not theirs) or bool(set(mine) & set(theirs))
        self.assertEqual(passes(tuple(mine), tuple(theirs)), expected)
        self.assertEqual(passes(tuple(theirs), tuple(mine)), expected)


class BindingTests(SynchronousTestCase):
    def test_is_bound_to_both_hellos(self) -> None:
        """A proof made over other hellos proves nothing."""
        for other in (
            hash_transcript(b"another hello", b"listener hello"),
            hash_transcript(b"dialler hello", b"another hello"),
            hash_transcript(b"listener hello", b"dialler hello"),
        ):
            self.assertFalse(passes((b"a",), (b"a",), proven_over=other))

    def test_cannot_be_reflected(self) -> None:
        """A dialler's proof does not pass as the listener's, nor the other way round."""
        self.assertFalse(passes((b"a",), (b"a",), expected_of=Side.LISTENER))
        self.assertFalse(passes((b"a",), (b"a",), proven_by=Side.LISTENER))

    def test_is_bound_to_the_tls_connection(self) -> None:
        """A proof made over one TLS connection does not pass on another."""
        self.assertFalse(passes((b"a",), (b"a",), proven_in=b"another exporter"))

    def test_does_not_hold_the_token(self) -> None:
        """A proof is a digest of fixed length, also for an odd token."""
        for token in (b"a", b"a" * 1_000):
            (proof,) = prove((token,), Side.DIALLER, TRANSCRIPT)
            self.assertEqual(len(proof), PROOF_BYTES)

    def test_survives_proofs_of_any_length(self) -> None:
        """Proofs of a wrong length are wrong, not an error."""
        for proof in (b"", b"x", bytes(1_000)):
            self.assertFalse(verify((b"a",), (proof,), Side.DIALLER, TRANSCRIPT))

    def test_is_what_the_specification_says(self) -> None:
        """The proofs of both sides that the wire protocol prints come out of its own hellos."""
        text = SPECIFICATION.read_text(encoding="utf-8")
        dialler, listener = (
            bytes.fromhex(match[1]) for match in re.finditer(HELLO_VECTOR, text, re.MULTILINE)
        )
        match = re.search(PROOF_VECTOR, text)
        assert match is not None
        transcript = hash_transcript(dialler, listener)
        for side, proof in zip((Side.DIALLER, Side.LISTENER), match.groups()[1:], strict=True):
            token = match[1].encode()
            self.assertEqual(prove((token,), side, transcript)[0].hex(), proof)

    def test_holds_the_exporter_last(self) -> None:
        """The proof of one token over one TLS connection, computed with openssl, comes out."""
        self.assertEqual(
            prove((b"secret",), Side.LISTENER, TRANSCRIPT, b"exporter")[0].hex(),
            "c6a0e384b4aa3302cbd48c11741a6b419579cc02729280500f9f43935b43ba4c",
        )
