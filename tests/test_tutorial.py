"""What the documentation tells people to type does what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.documents import captioned_blocks, code_blocks, shown_output

SECONDS_MAX = 600


class DocumentedPrograms(SynchronousTestCase):
    """Programs of the documentation, as processes of their own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-docs-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def program(self, document: str, name: str) -> Path:
        """Write one program to a file; its sockets go where nobody else's are."""
        text = captioned_blocks(document)[name]
        for path in ("/tmp/atbus-tutorial", "/tmp/atbus-howto"):
            text = text.replace(path, str(self.folder))
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return file

    def run_program(self, file: Path) -> str:
        """Run a program to its end; its exit code must be 0."""
        done = subprocess.run(
            [sys.executable, str(file)],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_two_nodes_in_five_minutes(self) -> None:
        """The tutorial's two programs print what the tutorial shows."""
        greeter = subprocess.Popen(
            [sys.executable, str(self.program("tutorial.rst", "greeter.py"))],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(greeter.wait)
        self.addCleanup(greeter.kill)
        assert greeter.stdout is not None
        self.addCleanup(greeter.stdout.close)
        start = ".venv/bin/python greeter.py"
        self.assertEqual([greeter.stdout.readline().strip()], shown_output("tutorial.rst", start))
        printed = self.run_program(self.program("tutorial.rst", "caller.py"))
        expected = shown_output("tutorial.rst", ".venv/bin/python caller.py")
        self.assertEqual(printed.splitlines(), expected)
        heard = [greeter.stdout.readline() for _ in range(2)]
        self.assertEqual("".join(heard), code_blocks("tutorial.rst", "console")[-1])

    def test_readme(self) -> None:
        """The program of the README prints what stands beside its lines."""
        readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
        (text,) = re.findall(r"(?ms)^```python\n(.*?)^```$", readme)
        file = self.folder / "readme.py"
        file.write_text(text.replace("/tmp/atbus-readme", str(self.folder)), encoding="utf-8")
        told = re.findall(r"(?m)^ +print\(.*  # (.*)$", text)
        self.assertEqual(self.run_program(file).splitlines(), told)
        self.assertEqual(told, ["b'hello, worker'", "NO_ROUTE says 0x100"])

    def test_embedded_node(self) -> None:
        """A node inside a service reports to another one in the same process."""
        printed = self.run_program(self.program("howto/embed-a-node.rst", "embedded.py"))
        self.assertEqual(printed, "0x101 kind 7: 21.5 degrees\n")

    def test_receiver(self) -> None:
        """The receiver of the how-to adds, takes its time, and fails by name."""
        printed = self.run_program(self.program("howto/write-a-receiver.rst", "receivers.py"))
        self.assertEqual(printed, "total: 42\nrefused: True\n")

    def test_streams(self) -> None:
        """The how-to's echo answers, a wrong name is refused, and the secret is told over TLS."""
        page = "howto/run-a-protocol-over-the-bus.rst"
        printed = self.run_program(self.program(page, "echo.py"))
        self.assertEqual(printed, captioned_blocks(page)["what echo.py prints"])
        self.assertEqual(self.run_program(self.program(page, "secret.py")), "42\n")

    def test_publish_and_subscribe(self) -> None:
        """The how-to hears news, reads orders, shares jobs and gets its answer."""
        page = "howto/publish-and-subscribe.rst"
        printed = self.run_program(self.program(page, "newsroom.py"))
        self.assertEqual(printed, captioned_blocks(page)["printed"])
