"""The files that a node proves itself with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from atbus.channels.credentials import Credentials
from atbus.channels.tls_files import TlsOptions
from atbus.errors import ConfigurationError
from tests.channels.test_tls import TlsTests


class CredentialTests(TlsTests):
    def fault(self, **how: Any) -> str:
        """Say what is wrong with options."""
        error = self.assertRaises(ConfigurationError, Credentials, self.files.options(**how))
        return str(error)

    def test_files_that_cannot_be_used(self) -> None:
        """Each fault is told with the option and the file it is in, all at once."""
        empty = self.directory / "empty.pem"
        empty.write_bytes(b"")
        missing = str(self.directory / "missing.pem")
        self.assertIn(f"authorities: {missing}: No such file", self.fault(authorities=missing))
        both = self.fault(key=str(empty), certificate=missing)
        self.assertIn(f"certificate: {missing}: No such file", both)
        self.assertIn(f"key: {empty}:", both)
        self.assertIn(f"revoked: {empty}: no revocation list", self.fault(revoked=str(empty)))
        other = self.files.options()
        self.assertIn(f"key: {other.key}: is not that of", self.fault(key=other.key))
        self.assertIn("of the realm test, not elsewhere", self.fault(realm="elsewhere"))
        nameless = self.files.issue(uris=["https://example.org/"])
        error = self.assertRaises(ConfigurationError, self.files.credentials, nameless)
        self.assertIn("has no name atbus://", str(error))

    def replace(self, options: TlsOptions) -> None:
        """Put a new certificate and key where the old ones are."""
        paths = Path(options.certificate), Path(options.key)
        for path in paths:
            path.unlink()
        self.files.issue().write(*paths)

    async def test_renewed(self) -> None:
        """A renewed certificate is used for the next connection, without a restart."""
        options = self.files.options(self.files.issue(lifetime=timedelta(minutes=-1)))
        ours, dialler = Credentials(options), self.files.credentials()
        self.assertIn("expired", (await self.outcome(dialler, ours))[0])
        self.replace(options)
        self.assertEqual((await self.outcome(dialler, ours))[0], "")

    def test_renewed_while_they_are_read(self) -> None:
        """Whichever step of a renewal falls between two reads of who starts, a pair is found."""
        # The steps are those of old and new key, new certificate, new key.
        for first in range(4):
            for last in range(first, 4):
                options = self.files.options()
                paths = [Path(options.certificate), Path(options.key)]
                old, new = paths[1].read_bytes(), self.files.issue()
                steps = [
                    (paths[1], old + new.key),
                    (paths[0], new.certificate),
                    (paths[1], new.key),
                ]
                read = Path.read_bytes

                def look(
                    path: Path,
                    paths: list[Path] = paths,
                    rest: list[tuple[Path, bytes]] = steps[first:last],
                    read: Callable[[Path], bytes] = read,
                ) -> bytes:
                    text = read(path)
                    while path == paths[0] and rest:
                        self.put(*rest.pop(0))
                    return text

                for step in steps[:first]:
                    self.put(*step)
                with mock.patch.object(Path, "read_bytes", look):
                    self.assertEqual(Credentials(options).faults, [], (first, last))

    def put(self, path: Path, text: bytes) -> None:
        """Replace a file as a whole."""
        beside = path.with_name("beside")
        beside.write_bytes(text)
        beside.replace(path)

    def spoil(self, options: TlsOptions, text: bytes | None = None) -> bytes:
        """Cut a certificate's file in half, or write it; gives what was in it."""
        path = Path(options.certificate)
        before = path.read_bytes()
        path.write_bytes(before[: len(before) // 2] if text is None else text)
        return before

    def test_what_happens_in_the_directory(self) -> None:
        """Without lists of revoked ones a file that appears where the process runs is no news."""
        options = self.files.options()
        self.assertEqual(options.revoked, "")
        with contextlib.chdir(self.directory):
            ours = Credentials(options)
            (self.directory / "new").write_bytes(b"")
            self.assertFalse(ours.refresh())

    async def test_renewed_badly(self) -> None:
        """Files that cannot be used change nothing; they are told once, and looked at again."""
        options = self.files.options()
        ours = Credentials(options)
        good = self.spoil(options)
        self.assertFalse(ours.refresh())
        self.assertIn(f"certificate: {options.certificate}", ours.faults[0])
        self.assertFalse(ours.refresh())
        self.assertEqual((await self.outcome(self.files.credentials(), ours))[0], "")
        self.spoil(options, good)
        self.assertTrue(ours.refresh())
        self.assertEqual(ours.faults, [])

    def test_nothing_secret_is_shown(self) -> None:
        """Neither a key nor a path's contents are in what is printed."""
        issued = self.files.issue()
        self.assertNotIn("PRIVATE", repr(issued))
