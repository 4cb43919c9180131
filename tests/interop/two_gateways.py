"""Two nodes as real processes, each with a gateway for clients of NATS."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import deferLater

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
PLACE = "127.0.0.1:4222"
CHILD = """
id = "0x10001"
upstream = "unix://{folder}/root.sock"
[nats]
listen = "127.0.0.1:0"
"""


class TwoGateways(ProcessCase):
    """A root and a child."""

    async def begin(
        self, *lines: str, child: tuple[str, ...] = ()
    ) -> tuple[list[NodeProcess], list[str]]:
        """
        Start both.

        :param lines: More of the table ``[nats]``,
        :param child: and of the child's alone.
        :returns: The processes, and the URLs of their gateways.
        """
        processes, urls = [], []
        for name, config, more in (("root", ROOT, lines), ("child", CHILD, lines + child)):
            process = self.start(name, config + "\n".join(more))
            # In either order.
            wanted = [r"nats listen: 127\.0\.0\.1:(\d+)", UP]
            told = [Deferred.fromCoroutine(process.says(line)) for line in wanted]
            matches = await gatherResults(told)
            urls.append(f"nats://127.0.0.1:{matches[0][1]}")
            processes.append(process)
        return processes, urls

    def from_page(self, name: str, url: str) -> str:
        """
        Write a program of the how-to as it stands there, but for where the gateway is.

        :returns: Where the file is.
        """
        text = captioned_blocks(PAGE)[name]
        assert PLACE in text
        return str(self.write(name, text.replace(PLACE, url.removeprefix("nats://"))))

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
