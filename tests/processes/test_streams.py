"""docs/howto/run-a-protocol-over-the-bus.rst: its processes, run as it says."""

from __future__ import annotations

import re
import sys

from tests.documents import DOCS, captioned_blocks, commands, shown_output
from tests.processes.harness import UP, ProcessCase

PAGE = "howto/run-a-protocol-over-the-bus.rst"


class PageTests(ProcessCase):
    """A hub, a stock ``twistd web`` without a port, and a client."""

    def setUp(self) -> None:
        super().setUp()
        for name, text in captioned_blocks(PAGE).items():
            if name.endswith((".toml", ".py")):
                self.write(name, text.replace("/tmp/atbus-howto", str(self.folder)))
        pages = self.folder / "pages"
        pages.mkdir()
        (pages / "hello.txt").write_text("hello over the bus\n", encoding="utf-8")
        (pages / "large.txt").write_text("0123456789" * 300_000, encoding="utf-8")
        hub, web, self.fetch, *_ = commands(PAGE)
        self.hub, self.web = hub.split()[1:], web.split()[1:]

    async def test_the_page(self) -> None:
        """Pages come over the bus, short and long; the server's end is told by name."""
        hub = self.run_twistd("hub", *self.hub)
        await hub.says(UP)
        web = self.run_twistd("web", *self.web)
        await web.says("Starting factory")
        python, *words = self.fetch.split()
        self.assertEqual(python, "python")
        fetching = self.run_program("fetch", sys.executable, *words)
        self.assertEqual(await fetching.ends(), 0, fetching.output)
        self.assertEqual(fetching.output.splitlines(), shown_output(PAGE, self.fetch))
        url = re.sub("hello", "large", words[1])
        fetching = self.run_program("fetch more", sys.executable, words[0], url)
        self.assertEqual(await fetching.ends(), 0, fetching.output[-2000:])
        self.assertEqual(fetching.output, "200 " + "0123456789" * 300_000)
        self.assertIn('"GET /large.txt HTTP/1.1" 200 3000000', web.output)
        await web.stops()
        fetching = self.run_program("fetch in vain", sys.executable, *words)
        self.assertEqual(await fetching.ends(), 1)
        self.assertRegex(fetching.output, r"StreamRefused|NO_ROUTE|NOT_CONNECTED")
        await hub.stops()
        for process in (hub, web):
            self.assertNotIn("Traceback", process.output)

    async def test_a_text_that_means_no_node(self) -> None:
        """A program without a node is told what it lacks, and ends."""
        web = self.run_twistd("web", *[word.replace(":config=web.toml", "") for word in self.web])
        await web.says("no node runs in this process; config=FILE would start one")
        await web.stops()

    def test_the_strings_are_told(self) -> None:
        """The page names what the texts may have."""
        page = (DOCS / PAGE).read_text(encoding="utf-8")
        for word in ("node=ID", "config=FILE", "timeout=SECONDS"):
            self.assertIn(word, page)
