"""Texts in PEM that are not whole, and keys that are encrypted."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.pem import open_to_us, whole

BLOCK = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER = b"-----BEGIN X509 CRL-----\nBBBB\n-----END X509 CRL-----\n"


class WholeTests(SynchronousTestCase):
    """Whether somebody has written all of a file."""

    def test_whole(self) -> None:
        """Blocks, and words between them, are whole; so is a text without any."""
        for text in (BLOCK, BLOCK + OTHER, b"# ours - all\n" + BLOCK + b"subject = x\n", b"", b"x"):
            self.assertEqual(whole(text), text)

    def test_cut_anywhere(self) -> None:
        """Wherever the last block is cut off, but before its beginning, the text is not whole."""
        end = len(OTHER.rstrip())
        for cut in range(1, end):
            self.assertRaises(ValueError, whole, BLOCK + OTHER[:cut])
        for text in (BLOCK + OTHER[:end], BLOCK):
            self.assertEqual(whole(text), text)

    def test_another_end(self) -> None:
        """A block ends with its own name."""
        self.assertRaises(ValueError, whole, BLOCK.replace(b"END CERTIFICATE", b"END X509 CRL"))


class EncryptedTests(SynchronousTestCase):
    """Keys that somebody would have to type a password for."""

    def test_both_forms(self) -> None:
        """The form of PKCS 8 and the older one are told from a key that can be read."""
        key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        self.assertEqual(open_to_us(BLOCK + key), BLOCK + key)
        older = key.replace(b"\nAAAA", b"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,1\n\nAAAA")
        for text in (key.replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), older):
            self.assertRaises(ValueError, open_to_us, BLOCK + text)
