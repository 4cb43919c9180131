"""The pages about etcd and ZooKeeper: their files and commands do what they say."""

from __future__ import annotations

import re
import signal
import sys

from atbus.cli.outcome import ExitCode
from tests.documents import captioned_blocks, commands
from tests.interop.etcd_server import require_etcd, start_etcd
from tests.interop.zookeeper_server import require_zookeeper, start_zookeeper
from tests.processes.harness import UP, NodeProcess, ProcessCase

ETCD_PAGE = "howto/run-with-etcd.rst"
ZOOKEEPER_PAGE = "howto/run-with-zookeeper.rst"

_CHOSEN = r"chose 0x1000(\d)"


class PageCase(ProcessCase):
    """A reader with a registry, who has one machine instead of three."""

    #: What stands in the page, and what is here.
    places: dict[str, str]

    def here(self, text: str) -> str:
        """
        Put what there is here in the place of what the page has.

        Of the page's three servers the first one is there, and nobody is where the others should
        be: that is no reason not to run.
        """
        text = text.replace("ipv4://10.0.0.7:7000", "ipv4://127.0.0.1:0")
        for there, here in self.places.items():
            text = text.replace(there, here)
        return text

    def of(self, file: str, **values: str) -> str:
        """Give a file other values; each is there already."""
        for name, value in values.items():
            line = re.compile(rf'^{name} = ".*"$', re.MULTILINE)
            file, count = line.subn(f'{name} = "{value}"', file)
            self.assertEqual(count, 1, name)
        return file

    def chooses(self, count: int) -> str:
        """Say to a node to choose when it knows so many services."""
        code = captioned_blocks(ETCD_PAGE)["choosing.py"]
        path = self.write("chooses.py", code)
        return (
            '\n[application]\ncallable = "tests.processes.chooser:choose"\n'
            f'settings = {{ code = "{path}", count = {count} }}\n'
        )

    async def up(self, name: str, file: str) -> NodeProcess:
        """Start a node, and wait until it runs."""
        process = self.start(name, self.here(file))
        await process.says(UP)
        return process

    async def choose_each_other(self, file: str) -> None:
        """Start two nodes with the page's file; both choose the same one for the same player."""
        battle = file + self.chooses(2)
        one = await self.up("battle-1", battle)
        two = await self.up("battle-2", self.of(battle, id="0x10002", name="battle-2"))
        for process in (one, two):
            # It may have done so before it said that it runs.
            await process.has_said_last("chose 0x", "nothing")
        chosen = {int(id_) for each in (one, two) for id_ in re.findall(_CHOSEN, each.output)}
        (number,) = chosen
        taker = (one, two)[number - 1]
        for name in ("battle-1", "battle-2"):
            await taker.has_said_last(f"received {name}", "nothing")

    def export(self, line: str, beginning: str) -> None:
        """Set what the page tells to set; the line begins so."""
        self.assertTrue(line.startswith(beginning), line)
        name, value = line.removeprefix("export ").split("=", 1)
        self.environment[name] = self.here(value)

    async def gives(self, command: str, *lines: str) -> None:
        """Give a command of the page, which shows lines; one that watches is ended then."""
        atbus, *words = command.split()
        self.assertEqual(atbus, "atbus")
        process = self.run_program(command, sys.executable, "-m", "atbus", *words)
        for line in lines:
            await process.has_said_last(line, "nothing")
        if "watch" in words:
            await process.stops(signal.SIGTERM)
        else:
            self.assertEqual(await process.ends(), 0)


class EtcdPageTests(PageCase):
    """A reader with an etcd."""

    def setUp(self) -> None:
        super().setUp()
        require_etcd()
        (server,) = start_etcd(self.folder / "etcd")
        self.addCleanup(server.stop)
        self.url = server.url
        self.places = {
            "http://10.0.0.1:2379": server.url,
            "http://10.0.0.2:2379": "http://127.0.0.1:9",
            "http://10.0.0.3:2379": "http://127.0.0.2:9",
        }
        files = captioned_blocks(ETCD_PAGE)
        self.battle, self.proxy = files["battle.toml"], files["proxy.toml"]
        self.gateway = files["several.toml"]

    async def test_nodes(self) -> None:
        """
        Nodes with the page's file find and choose each other, one with a taken id does not start,
        and the commands show what the page says that stands there.
        """
        await self.choose_each_other(self.battle)
        other = self.start("other", self.here(self.of(self.battle, name="other")))
        await other.says("ID_CONFLICT.*battle-1")
        self.assertNotEqual(await other.ends(), 0)
        export, *given = commands(ETCD_PAGE)
        self.export(export, "export ATBUS_ETCD=")
        keys = ("/atbus/topology/0x10001", "/atbus/service/battle-1-0x10001")
        shown: dict[str, tuple[str, ...]] = {
            "atbus discovery list": ("battle-1", "battle-2"),
            "atbus discovery watch": ("record 0x10001", "service 0x10002"),
            "atbus etcd members": (re.escape(self.url),),
            "atbus etcd watch /atbus/": keys,
            "atbus etcd lease /atbus/": keys,
        }
        self.assertEqual(given, list(shown))
        for command, lines in shown.items():
            await self.gives(command, *lines)

    async def test_proxies(self) -> None:
        """One more proxy of the page is found by the others; a service chooses one of them."""
        await self.up("eu-1", self.proxy)
        two = await self.up("eu-2", self.of(self.proxy, id="0x20", name="eu-2"))
        await two.has_said_last("knows 0x10 as peer", "nothing")
        leaf = self.of(self.battle, name="leaf").replace(
            "direct_connections = true", 'upstream_labels = { role = "proxy", group = "eu" }'
        )
        service = await self.up("leaf", leaf)
        await service.has_said_last("knows 0x[12]0 as upstream", "nothing")

    async def test_several_places(self) -> None:
        """A node with the page's contexts learns of nodes in both, and those not of each other."""
        head, table = self.battle.split("[discovery.etcd]")
        service = table[table.index("[service]") :]
        (endpoints,) = re.findall("^endpoints = .*$", table, re.MULTILINE)
        players = {}
        for number, game in enumerate(("chess", "go"), 1):
            file = self.of(head, id=f"0x2000{number}", name=game)
            place = f'[discovery.etcd]\n{endpoints}\nprefix = "/{game}/"\n{service}'
            players[game] = await self.up(game, file + place + self.chooses(9))
        gateway = self.of(head, name="gateway") + self.gateway + service + self.chooses(9)
        watching = await self.up("gateway", gateway)
        for name in ("chess", "go", "gateway"):
            await watching.has_said_last(f"hears of {name}", "nothing")
        for name, process in players.items():
            heard = re.findall(r"hears of (\w+)", process.output)
            self.assertEqual(set(heard), {name})


class ZooKeeperPageTests(PageCase):
    """A reader with a ZooKeeper."""

    def setUp(self) -> None:
        super().setUp()
        require_zookeeper()
        (server,) = start_zookeeper(self.folder / "zookeeper")
        self.addCleanup(server.kill)
        self.places = {
            "10.0.0.1:2181": server.address,
            "10.0.0.2:2181": "127.0.0.1:9",
            "10.0.0.3:2181": "127.0.0.2:9",
        }

    async def test_the_page(self) -> None:
        """
        Nodes with the page's file find and choose each other, the commands show them, and what a
        user has written where only he may look nobody else can read.
        """
        files = captioned_blocks(ZOOKEEPER_PAGE)
        battle, guarded = files["battle.toml"], files["guarded.toml"]
        await self.choose_each_other(battle)
        export, *given = commands(ZOOKEEPER_PAGE)
        self.export(export, "export ATBUS_ZOOKEEPER=")
        shown: dict[str, tuple[str, ...]] = {
            "atbus discovery list": ("battle-1", "battle-2"),
            "atbus discovery watch": ("record 0x10001", "service 0x10002"),
        }
        self.assertEqual(given, list(shown))
        for command, lines in shown.items():
            await self.gives(command, *lines)
        head, _ = battle.split("[discovery.zookeeper]")
        secret = f'{guarded}prefix = "/guarded/"\n[service]\n'
        await self.up("secret", self.of(head, name="secret") + secret)
        look = ("-m", "atbus", "discovery", "list", "--prefix", "/guarded/")
        denied = self.run_program("a stranger", sys.executable, *look)
        self.assertEqual(await denied.ends(), ExitCode.REFUSED)
        (user,) = re.findall('^user = "(.*)"$', guarded, re.MULTILINE)
        (password,) = re.findall('^password = "(.*)"$', guarded, re.MULTILINE)
        command = f"atbus discovery list --prefix /guarded/ --user {user} --password {password}"
        await self.gives(command, "secret")
