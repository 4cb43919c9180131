"""nats-py at gateways of real processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from tests.documents import commands
from tests.interop.two_gateways import PAGE, PLACES, SHORT_GRACE, TwoGateways
from tests.processes.harness import UP, NodeProcess

#: Two gateways, and what is between them.
FAR = {
    "root": 'id = "0x10000"\nlisten = ["unix://{folder}/root.sock"]\nsubnets = ["0/16"]',
    "middle": 'id = "0x10100"\nupstream = "unix://{folder}/root.sock"\n'
    'listen = ["unix://{folder}/middle.sock"]\nsubnets = ["0/8"]',
    "one": 'id = "0x10001"\nupstream = "unix://{folder}/root.sock"',
    "other": 'id = "0x10101"\nupstream = "unix://{folder}/middle.sock"',
}
#: Three gateways, and the node between them.
STAR = {
    "root": FAR["root"],
    **{name: f'id = "0x1000{name}"\nupstream = "unix://{{folder}}/root.sock"' for name in "123"},
}
DOOR = '\n[nats]\nlisten = "127.0.0.1:0"\n'
CLIENT = Path(__file__).with_name("nats_py_client.py")


class NatsPyTests(TwoGateways):
    """Programs with nats-py."""

    def run_client(self, scenario: str, urls: list[str]) -> NodeProcess:
        """Start the program with nats-py."""
        return self.run_program("client", sys.executable, str(CLIENT), scenario, *urls)

    def test_everything(self) -> Deferred[None]:
        """Publications, groups, requests, headers, limits and drain, from gateway to gateway."""
        return Deferred.fromCoroutine(self.everything())

    async def everything(self) -> None:
        _, (root, child, _, by_websocket) = await self.begin(doors=("nats", "ws"))
        for there in (child, by_websocket):
            client = self.run_client("basics", [root, there])
            for line in ("nobody answers", "that is too large", "passed"):
                await client.says(line)
            self.assertEqual(await client.ends(), 0)

    def test_three_hops(self) -> Deferred[None]:
        """All of that between two gateways that are three hops apart, in both directions."""
        return Deferred.fromCoroutine(self.three_hops())

    async def three_hops(self) -> None:
        urls = await self.gateways(FAR, ("one", "other"))
        for here, there in (urls, urls[::-1]):
            client = self.run_client("basics", [here, there])
            await client.says("passed")
            self.assertEqual(await client.ends(), 0)

    def test_ways_that_part_further_on(self) -> Deferred[None]:
        """Who asks while all leave who listen, at gateways beyond the next node, is told so."""
        return Deferred.fromCoroutine(self.ways_that_part_further_on())

    async def ways_that_part_further_on(self) -> None:
        urls = await self.gateways(STAR, "123")
        client = self.run_client("parted", [str(self.processes[0].pid), *urls])
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    async def gateways(self, configs: dict[str, str], doors: Collection[str]) -> list[str]:
        """Start nodes, some of them with a door, and give the addresses of the doors."""
        urls = []
        for name, config in configs.items():
            process = self.start(name, config + DOOR * (name in doors))
            told = [Deferred.fromCoroutine(process.says(UP))]
            if name in doors:
                listens = process.says(r"nats listen: (127\.0\.0\.1:\d+)")
                told.append(Deferred.fromCoroutine(listens))
            matches = await gatherResults(told)
            urls += [f"nats://{match[1]}" for match in matches[1:]]
        return urls

    def test_one_command(self) -> Deferred[None]:
        """The command in the how-to is enough, but for the port, and no file is needed."""
        return Deferred.fromCoroutine(self.one_command())

    async def one_command(self) -> None:
        given = commands(PAGE)
        [command] = [each for each in given if each.startswith("twistd -n atbus --id auto ")]
        for place in (PLACES["nats"], "127.0.0.1:8222", "127.0.0.1:7000"):
            command = command.replace(place, "127.0.0.1:0")
        _, *words = command.split()
        match = await self.run_twistd("alone", *words).says(r"nats listen: 127\.0\.0\.1:(\d+)")
        client = self.run_client("basics", [f"nats://127.0.0.1:{match[1]}"] * 2)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    def test_over_websocket_with_tls(self) -> Deferred[None]:
        """Clients that look at certificates do all of that, and go on at another gateway."""
        return Deferred.fromCoroutine(self.over_websocket_with_tls())

    async def over_websocket_with_tls(self) -> None:
        lines, authority = self.certified()
        (_, child), urls = await self.begin(*lines, doors=("wss",))
        client = self.run_client("basics", [*urls, authority])
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)
        client = self.run_client("reconnect", [*urls[::-1], authority])
        await self.goes_on(client, child, signal.SIGKILL)

    def test_a_gateway_dies(self) -> Deferred[None]:
        """A client goes on at the other gateway, which it has never been told of by its user."""
        return Deferred.fromCoroutine(self.a_gateway_dies())

    async def a_gateway_dies(self) -> None:
        (_, child), urls = await self.begin()
        await self.goes_on(self.run_client("reconnect", urls[::-1]), child, signal.SIGKILL)

    def test_a_gateway_is_taken_away(self) -> Deferred[None]:
        """Told to drain, a gateway sends its clients to the other one."""
        return Deferred.fromCoroutine(self.a_gateway_is_taken_away())

    async def a_gateway_is_taken_away(self) -> None:
        (_, child), urls = await self.begin(*SHORT_GRACE)
        await self.goes_on(self.run_client("reconnect", urls[::-1]), child, signal.SIGUSR2)
        self.assertTrue(child.running)
