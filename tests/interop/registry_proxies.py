"""Proxies that find each other with nothing but a registry configured: real processes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.task import deferLater

from atbus.cli.foreground import twistd
from atbus.errors import AtbusError
from atbus.node.node import Node
from tests.interop.registry_nodes import Inbox, RegistryNodes
from tests.interop.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parents[2]

_LOOK_SECONDS: Final = 0.1
"""So often one looks at what nobody tells of."""

FIRST, SECOND, THIRD = 0x10, 0x20, 0x30
"""Proxies."""


class ProxiesContract(RegistryNodes):
    """A group of proxies."""

    def table(self) -> str:
        """
        Say to a process where the registry is, and that it forgets a process soon.

        :returns: A table of its configuration.
        :raises NotImplementedError: When the subclass does not say.
        """
        raise NotImplementedError

    def launch(self, bus_id: int) -> subprocess.Popen[bytes]:
        """Start a proxy; all of them are told the same, but for the id and where to listen."""
        config = self.folder / f"{bus_id:x}.toml"
        config.write_text(
            f"""
            id = "{bus_id:#x}"
            name = "proxy-{bus_id:x}"
            listen = ["unix://{self.folder}/{bus_id:x}.sock"]
            proxy = true
            topology = "records"
            labels = {{ role = "proxy", group = "eu", seat = "{bus_id:x}" }}
            peer_labels = {{ role = "proxy", group = "eu" }}
            {self.table()}
            """,
            encoding="utf-8",
        )
        process = subprocess.Popen(
            [*twistd(), "-n", "--pidfile=", "atbus", "--config", str(config)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def leaf(self, bus_id: int, **labels: str) -> tuple[Node, Inbox]:
        """Make a node below a proxy; it knows the registry, and what is said of that proxy."""
        made = self.node(
            bus_id, listen=[], direct_connections=False, upstream_labels=labels, name=f"{bus_id:x}"
        )
        inbox = made.receiver = Inbox(self.changes)
        return made, inbox

    async def until_it_is(self, is_so: Callable[[], Awaitable[bool]], what: str) -> None:
        """Look again and again at something of which nobody tells."""
        for _ in range(round(PATIENCE_SECONDS / _LOOK_SECONDS)):
            if await is_so():
                return
            await deferLater(self.reactor, _LOOK_SECONDS)
        self.fail(what)

    async def neighbors(self, asking: Node, proxy: int) -> set[int]:
        """Ask a proxy to whom it is connected."""
        try:
            lines = await asking.command(proxy, b"atbus.nodes", timeout=5)
        except AtbusError:
            # It is not connected to us either, or not any more.
            return set()
        told: list[dict[str, Any]] = json.loads(lines[0])
        return {int(each["id"], 16) for each in told} - {asking.bus_id}

    async def meshed(self, asking: Node, *proxies: int) -> None:
        """Wait until each proxy is connected to all others, and to nobody else."""

        async def is_mesh() -> bool:
            told = [await self.neighbors(asking, proxy) for proxy in proxies]
            return told == [{*proxies} - {proxy} for proxy in proxies]

        await self.until_it_is(is_mesh, "no mesh")

    async def crosses(self, node: Node, target: int, payload: bytes) -> None:
        """Send a message until it is delivered: the way may not be there yet."""

        async def is_delivered() -> bool:
            try:
                await node.deliver(target, payload)
            except AtbusError:
                return False
            return True

        await self.until_it_is(is_delivered, f"nothing gets from {node.bus_id:x} to {target:x}")

    async def test_a_group_meshes_and_takes_in_another(self) -> None:
        """
        Proxies that are told where the registry is connect each to each; one more needs no change
        of them.

        One that is killed is told of by the registry, and comes back as it left.
        """
        asking = self.node(0x99, peer_labels={"role": "proxy"})
        await asking.start()
        processes = [self.launch(number) for number in (FIRST, SECOND)]
        await self.changes.until(lambda: self.knows(asking, FIRST, SECOND))
        await self.meshed(asking, FIRST, SECOND)
        self.launch(THIRD)
        await self.changes.until(lambda: self.knows(asking, THIRD))
        await self.meshed(asking, FIRST, SECOND, THIRD)
        processes[0].kill()
        processes[0].wait()
        await self.meshed(asking, SECOND, THIRD)
        self.launch(FIRST)
        await self.meshed(asking, FIRST, SECOND, THIRD)

    async def test_what_hangs_below_them_talks(self) -> None:
        """
        Nodes below two proxies that know each other from the registry alone send each other
        messages; when one proxy is killed those of its nodes that may go below the other one, and
        when it is back all is as it was.
        """
        (one, at_one), (two, at_two) = (
            self.leaf(0x1001, seat=f"{FIRST:x}"),
            self.leaf(0x1002, seat=f"{SECOND:x}"),
        )
        free, at_free = self.leaf(0x1003, role="proxy")
        proxy = self.launch(FIRST)
        await free.start()
        await self.changes.until(lambda: list(free.endpoints) == [FIRST])
        self.launch(SECOND)
        await one.start()
        await two.start()
        await self.crosses(one, two.bus_id, b"there")
        await self.crosses(two, one.bus_id, b"back")
        await self.crosses(two, free.bus_id, b"over both")
        # Nobody has found a shorter way.
        self.assertEqual((list(one.endpoints), list(two.endpoints)), ([FIRST], [SECOND]))
        proxy.kill()
        proxy.wait()
        await self.crosses(two, free.bus_id, b"below the other")
        self.assertEqual(list(free.endpoints), [SECOND])
        self.launch(FIRST)
        await self.crosses(two, one.bus_id, b"there again")
        await self.crosses(one, two.bus_id, b"and back")
        self.assertEqual((list(one.endpoints), list(two.endpoints)), ([FIRST], [SECOND]))
        # What nobody knew the fate of was sent again.
        received = [list(dict.fromkeys(inbox.payloads)) for inbox in (at_one, at_two, at_free)]
        expected = [
            [b"back", b"there again"],
            [b"there", b"and back"],
            [b"over both", b"below the other"],
        ]
        self.assertEqual(received, expected)
