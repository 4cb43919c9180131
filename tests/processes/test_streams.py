"""docs/howto/run-a-protocol-over-the-bus.rst: its processes, run as it says."""

from __future__ import annotations

from tests.documents import DOCS, shown_output
from tests.processes.harness import ROOT, UP
from tests.processes.pages import PageCase

PAGE = "howto/run-a-protocol-over-the-bus.rst"


class PageTests(PageCase):
    """A hub, a stock ``twistd web`` without a port, and a client."""

    PAGE = PAGE

    def setUp(self) -> None:
        super().setUp()
        self.places["/tmp/atbus-howto"] = str(self.folder)
        self.make("hub.toml", "web.toml", "fetch.py")
        pages = self.folder / "pages"
        pages.mkdir()
        (pages / "hello.txt").write_text("hello over the bus\n", encoding="utf-8")
        (pages / "large.txt").write_text("0123456789" * 300_000, encoding="utf-8")

    async def test_the_page(self) -> None:
        """Pages come over the bus, short and long; the server's end is told by name."""
        hub = self.types("twistd -n --pidfile= atbus --config hub.toml")
        await hub.says(UP)
        web = self.types("twistd -n --pidfile= web --listen atbus:web:config=web.toml")
        await web.says("Starting factory")
        fetch = "python fetch.py http://web/hello.txt"
        fetched = await self.does(fetch)
        self.assertEqual(fetched.splitlines(), shown_output(PAGE, fetch))
        fetching = self.shell(fetch.replace("hello", "large"))
        self.assertEqual(await fetching.ends(), 0, fetching.output[-2000:])
        self.assertEqual(fetching.output, "200 " + "0123456789" * 300_000)
        self.assertIn('"GET /large.txt HTTP/1.1" 200 3000000', web.output)
        await web.stops()
        fetching = self.types(fetch)
        self.assertEqual(await fetching.ends(), 1)
        self.assertRegex(fetching.output, r"StreamRefused|NO_ROUTE|NOT_CONNECTED")
        await hub.stops()
        for process in (hub, web):
            self.assertNotIn("Traceback", process.output)

    async def test_the_readme(self) -> None:
        """What the README says of ``twistd web`` is enough, but for what is to be served."""
        given = "twistd web --listen atbus:web:config=node.toml"
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        self.assertIn(f"`{given}`", readme)
        self.write("node.toml", self.block("web.toml"))
        hub = self.types("twistd -n --pidfile= atbus --config hub.toml")
        await hub.says(UP)
        # In the foreground, so that it ends with the test.
        command = given.replace("twistd", "twistd -n --pidfile=")
        web = self.shell(f"{command} --path pages")
        await web.says("Starting factory")
        fetched = await self.does("python fetch.py http://web/hello.txt")
        self.assertEqual(fetched, "200 hello over the bus\n")
        for process in (web, hub):
            await process.stops()

    async def test_a_text_that_means_no_node(self) -> None:
        """A program without a node is told what it lacks, and ends."""
        web = self.shell(self.command("twistd -n --pidfile= web").replace(":config=web.toml", ""))
        await web.says("no node runs in this process; config=FILE would start one")
        await web.stops()

    def test_the_strings_are_told(self) -> None:
        """The page names what the texts may have."""
        page = (DOCS / PAGE).read_text(encoding="utf-8")
        for word in ("node=ID", "config=FILE", "timeout=SECONDS"):
            self.assertIn(word, page)
