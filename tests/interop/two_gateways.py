"""Two nodes as real processes, each with a gateway for clients of NATS."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater

from tests.channels.certificates import Files
from tests.documents import captioned_blocks
from tests.nats.sockets import Talker
from tests.nats.transcripts import EOF, QUIET
from tests.processes.harness import UP, NodeProcess, ProcessCase

ROOT = """
id = "0x10000"
listen = ["unix://{folder}/root.sock"]
subnets = ["0/16"]
[nats]
listen = "127.0.0.1:0"
"""
PAGE = "howto/let-nats-clients-join.rst"
NOBODY = b"503\r\n\r\n\r\n"
#: Where the gateway is, on that page.
PLACES = {"nats": "127.0.0.1:4222", "ws": "127.0.0.1:8080"}
#: Where a client comes in whose URL begins so, and under which name of the host.
DOORS = {
    "nats": ("listen", "127.0.0.1"),
    "ws": ("websocket", "127.0.0.1"),
    "wss": ("websocket", "localhost"),
}
CHILD = """
id = "0x10001"
upstream = "unix://{folder}/root.sock"
[nats]
listen = "127.0.0.1:0"
"""

#: How a gateway lets its clients move without much ado.
SHORT_GRACE = ("lame_duck_grace_seconds = 0.1", "lame_duck_seconds = 0.1")


class TwoGateways(ProcessCase):
    """A root and a child."""

    async def begin(
        self, *lines: str, child: tuple[str, ...] = (), doors: tuple[str, ...] = ("nats",)
    ) -> tuple[list[NodeProcess], list[str]]:
        """
        Start both.

        :param lines: More of the table ``[nats]``,
        :param child: and of the child's alone.
        :param doors: How clients come in at each: keys of `DOORS`.
        :returns: The processes, and the URLs of their gateways: of each door in turn, the root's
            before the child's.
        """
        processes, urls = [], []
        if doors != ("nats",):
            text = captioned_blocks(PAGE)["node.toml with a door for browsers"]
            [line] = [line for line in text.splitlines() if line.startswith("websocket = ")]
            lines += (line.replace(PLACES["ws"], "127.0.0.1:0"),)
        for name, config, more in (("root", ROOT, lines), ("child", CHILD, lines + child)):
            process = self.start(name, config + "\n".join(more))
            # In any order.
            wanted = [rf"nats {DOORS[door][0]}: 127\.0\.0\.1:(\d+)" for door in doors]
            told = [Deferred.fromCoroutine(process.says(line)) for line in [*wanted, UP]]
            matches = await gatherResults(told)
            urls += [
                f"{door}://{DOORS[door][1]}:{match[1]}"
                for door, match in zip(doors, matches, strict=False)
            ]
            processes.append(process)
        return processes, [url for door in range(len(doors)) for url in urls[door :: len(doors)]]

    def certified(self) -> tuple[tuple[str, ...], str]:
        """
        Make a certificate for the gateways.

        :returns: What the table says of it and of patience, and the file with its authority.
        """
        ours = Files(self.folder).options()
        lines = (
            f'certificate_file = "{ours.certificate}"',
            f'key_file = "{ours.key}"',
            # The machine may be busy with something else.
            "tls_seconds = 60",
            "authentication_seconds = 60",
        )
        return lines, str(self.folder / "authority.pem")

    async def goes_on(self, client: NodeProcess, gateway: NodeProcess, number: int) -> None:
        """
        Let a client go on at the other gateway.

        :param client: It; it tells when it knows both.
        :param gateway: Where it is,
        :param number: and the signal that sends it away from there.
        """
        await client.says("knows both")
        gateway.kill(number)
        await client.says("passed")
        self.assertEqual(await client.ends(), 0)

    def from_page(self, name: str, url: str) -> str:
        """
        Write a program of the how-to as it stands there, but for where the gateway is.

        :returns: Where the file is.
        """
        scheme, place = url.split("://")
        text = captioned_blocks(PAGE)[name]
        assert PLACES[scheme] in text
        return str(self.write(name, text.replace(PLACES[scheme], place)))

    async def adds(self, url: str, run: Callable[[], NodeProcess]) -> None:
        """
        Ask for a sum at a gateway until the program of the how-to is there, and gives it.

        :param run: Starts the program; again, when the gateway has been too slow for it.
        """
        port = int(url.rpartition(":")[2])
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        talker: Talker = await connectProtocol(endpoint, Talker(self.reactor))
        await talker.hears(b" \r\n")
        talker.says(QUIET + b"SUB box 1\r\n")
        program, heard = run(), b""
        while not heard or heard.endswith(NOBODY):
            if not program.running:
                program = run()
            await deferLater(self.reactor, 0.05, lambda: None)
            talker.says(b"PUB sum box 6\r\n3 4 35\r\n")
            heard = b""
            while not heard.endswith((NOBODY, b"42\r\n")):
                heard += await talker.hears(b"\r\n")
        self.assertEqual(heard, b"MSG box 1 2\r\n42\r\n")
        talker.transport.loseConnection()
        await talker.hears(EOF)
