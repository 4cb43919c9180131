"""A cluster of real NATS servers that gateways of the bus take the place of, step by step."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred

from tests.interop.nats_beside import HELLO
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_leafs import LeafCase
from tests.nats.sockets import Talker

USER = 'authorization {{ user: "shop", password: "geheim" }}\n'
FIRST = (
    USER
    + """
server_name: first
cluster {{ name: old, listen: "127.0.0.1:{routes}" }}
leafnodes {{ listen: "127.0.0.1:-1", authorization: {{ user: "bus", password: "secret" }} }}
"""
)
SECOND = (
    USER
    + """
server_name: second
cluster {{ name: old, listen: "127.0.0.1:-1", routes: [ "nats-route://127.0.0.1:{routes}" ] }}
"""
)
#: What a client of the cluster says; it says the same to a gateway.
LOGIN = HELLO.replace(b"{", b'{"user":"shop","pass":"geheim",')
_ATTEMPTS = 10


class ReplacingDebianTests(LeafCase):
    """What the how-to tells: beside the cluster, then clients one by one, then alone."""

    def cluster(self) -> tuple[NatsServer, NatsServer]:
        """Start two servers; the port of their routes may be taken by somebody else meanwhile."""
        for _ in range(_ATTEMPTS):
            with socket.create_server(("127.0.0.1", 0)) as free:
                routes = free.getsockname()[1]
            try:
                first = self.server(FIRST, routes=routes)
                break
            except AssertionError as error:
                if "address already in use" not in str(error):
                    raise
        else:
            self.fail("each port was taken")
        return first, self.server(SECOND, routes=routes)

    async def enters(self, port: int) -> Talker:
        """Connect as every client does, wherever it is."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        talker.says(LOGIN + b"PING\r\n")
        self.assertEqual(await talker.hears(b"PONG\r\n"), b"PONG\r\n")
        return talker

    def test_clients_move_one_by_one(self) -> Deferred[None]:
        """With the same credentials and in the same groups, while others are at the cluster yet."""
        return Deferred.fromCoroutine(self.clients_move_one_by_one())

    async def clients_move_one_by_one(self) -> None:
        first, second = self.cluster()
        remote: dict[str, Any] = {"urls": [f"127.0.0.1:{first.leaf_port}"]}
        gateway = await self.gateway(
            user="shop",
            password="geheim",
            leaf_remotes=[remote | {"user": "bus", "password": "secret"}],
        )
        await self.met(lambda: any(link.session.peer for link in gateway.leafs.links))
        address = gateway.address()
        assert address is not None
        # The second server has no connection to the bus but through the first one.
        stays, moved = await self.enters(second.port), await self.enters(address[1])
        await self.converse(moved, stays)
        await self.share(moved, stays)
        others = [await self.enters(address[1]) for _ in range(2)]
        stays.transport.abortConnection()
        first.stop()
        second.stop()
        await self.met(lambda: not gateway.leafs.links)
        asks, answers = others
        answers.says(b"SUB alone 1\r\nPING\r\n")
        await answers.hears(b"PONG\r\n")
        await self.question(asks, answers, b"alone")


class ReplacingNewerTests(ReplacingDebianTests):
    """The same with servers of the newest version."""

    binary = NEWER_BINARY
