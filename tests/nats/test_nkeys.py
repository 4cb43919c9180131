"""NATS's keys."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.nkeys import Kind, is_signed, read_base64, read_key, write_key
from tests.nats.signing import Key

# One that NATS's own tool has made.
MADE_ELSEWHERE = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


class KeyTests(SynchronousTestCase):
    @given(st.sampled_from(Kind), st.binary(min_size=32, max_size=32))
    @settings(deadline=None)
    def test_there_and_back(self, kind: Kind, key: bytes) -> None:
        """A key's text is 56 letters, the first of which says what it is for."""
        text = write_key(kind, key)
        self.assertEqual((len(text), text[0]), (56, kind.name[0] if kind != Kind.SERVER else "N"))
        self.assertEqual(read_key(text, kind), key)

    def test_a_key_of_others(self) -> None:
        """What NATS's tool writes is read."""
        self.assertEqual(write_key(Kind.USER, read_key(MADE_ELSEWHERE, Kind.USER)), MADE_ELSEWHERE)

    def test_what_is_no_key(self) -> None:
        """Misspelled texts, other kinds, other lengths."""
        other = "A" + MADE_ELSEWHERE[1:]
        for wrong in ("", "x", MADE_ELSEWHERE[:-1], MADE_ELSEWHERE.lower(), other, "ä"):
            self.assertRaises(ValueError, read_key, wrong, Kind.USER)
        self.assertRaises(ValueError, read_key, MADE_ELSEWHERE, Kind.ACCOUNT)

    def test_signatures(self) -> None:
        """Only the owner's signature of just this text is one."""
        key, other = Key(Kind.USER), Key(Kind.USER)
        public = read_key(key.text, Kind.USER)
        self.assertTrue(is_signed(public, b"nonce", read_base64(key.sign("nonce"))))
        self.assertFalse(is_signed(public, b"nonce", read_base64(other.sign("nonce"))))
        self.assertFalse(is_signed(public, b"nonce2", read_base64(key.sign("nonce"))))
        self.assertFalse(is_signed(public, b"nonce", b""))

    def test_base64(self) -> None:
        """Both alphabets, with padding or without."""
        for text in ("+/8=", "-_8", "-_8=", "+/8"):
            self.assertEqual(read_base64(text), b"\xfb\xff")
        for wrong in ("a", "a b", "ä"):
            self.assertRaises(ValueError, read_base64, wrong)
