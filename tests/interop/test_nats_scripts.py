"""
Drawn scripts, each in one write, to a real nats-server and to a gateway; the same bytes back.

``ATBUS_SEEDS=7`` says the script of seed 7 only, ``ATBUS_SEEDS=1-5000`` those of many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from tests.interop.nats_beside import ServerCase
from tests.nats.scripts import determined, script
from tests.nats.sockets import Talker
from tests.nats.transcripts import EOF
from tests.simulation.case import seeds

_PONG = b"PONG\r\n"
_OTHER = b'CONNECT {"verbose":false,"user":"o","pass":"p"}\r\n'
_CONFIG = """
max_subscriptions: {most}
authorization {{
  users: [
    {{ user: u, password: p, permissions: {{ {permissions} }} }}
    {{ user: o, password: p }}
  ]
}}
"""


@attrs.frozen(kw_only=True)
class World:
    """
    What holds for the clients of both.

    :param theirs: The permissions of nats-server's user,
    :param ours: and of ours.
    :param most: How many subscriptions one may have; 0 for any number.
    """

    theirs: str = ""
    ours: dict[str, Any] = attrs.field(factory=dict)
    most: int = 0


_FREE = World()
# Somebody with all his subscriptions who says CONNECT again is closed by nats-server some time
# later, so there is one CONNECT.
_FEW = World(most=2)
_NARROW = World(
    theirs='publish: ["a", "a.>", "n.>"], subscribe: ["a", "a.>", "n.>", "r.>"], '
    'allow_responses: { max: 2, expires: "10m" }',
    ours={
        "publish": ["a", "a.>", "n.>"],
        "subscribe": ["a", "a.>", "n.>", "r.>"],
        "responses": 2,
        "responses_seconds": 600.0,
    },
)


@attrs.define
class Side:
    """
    One of the two servers.

    :param other: A client of it that says nothing while a script is said.
    """

    port: int
    other: Talker


class ScriptTests(ServerCase):
    """Everything that a client says in one write is carried out in its order."""

    async def sides(self, world: World) -> tuple[Side, Side]:
        """Start both servers, with somebody at each who listens."""
        server = self.server(_CONFIG, most=world.most, permissions=world.theirs)
        users = [
            {"user": "u", "password": "p", **({"permissions": world.ours} if world.ours else {})},
            {"user": "o", "password": "p"},
        ]
        gateway = await self.gateway(users=users, subscriptions_max=world.most)
        address = gateway.address()
        assert address is not None
        theirs, ours = [await self.side(port) for port in (server.port, address[1])]
        return theirs, ours

    async def side(self, port: int) -> Side:
        other = await self.talker(port)
        await other.hears(b" \r\n")
        other.says(_OTHER + b"SUB a 1\r\nSUB a.> 2\r\nPING\r\n")
        await other.hears(_PONG)
        return Side(port, other)

    async def say(self, side: Side, said: bytes) -> tuple[bytes, bytes, bool]:
        """
        Say a script in one write.

        :returns: What its client heard, what the other one did, and whether the first may lack its
            end: who closes before it has read everything cuts off its own last words.
        """
        talker = await self.talker(side.port)
        await talker.hears(b" \r\n")
        talker.says(said + b"PING\r\n")
        heard = b""
        while not heard.endswith(EOF) and heard.count(_PONG) <= said.count(b"PING\r\n"):
            heard += await talker.hears(_PONG)
        is_cut = talker.ended_well is False
        talker.transport.abortConnection()
        side.other.says(b"PING\r\n")
        return (
            determined(heard.removesuffix(EOF)) + (EOF if heard.endswith(EOF) else b""),
            determined(await side.other.hears(_PONG)),
            is_cut,
        )

    async def compare(self, world: World, which: Iterable[int]) -> None:
        theirs, ours = await self.sides(world)
        for seed in which:
            said = script(seed, connects_again=not world.most)
            wanted, wanted_other, is_short = await self.say(theirs, said)
            heard, heard_other, is_cut = await self.say(ours, said)
            story = f"seed {seed}: {said!r}\nnats-server {wanted!r}\nand we      {heard!r}"
            self.assertEqual(heard_other, wanted_other, story)
            if is_short or is_cut:
                one, two = heard.removesuffix(EOF), wanted.removesuffix(EOF)
                self.assertTrue(one.startswith(two) or two.startswith(one), story)
            else:
                self.assertEqual(heard, wanted, story)

    def test_who_may_do_everything(self) -> Deferred[None]:
        """What a client hears, and what others do, is the same as with nats-server."""
        return Deferred.fromCoroutine(self.compare(_FREE, seeds(0, 40)))

    def test_who_may_not(self) -> Deferred[None]:
        """It is the same where a right to answer is there for a while only."""
        return Deferred.fromCoroutine(self.compare(_NARROW, seeds(1_000, 30)))

    def test_who_may_have_few(self) -> Deferred[None]:
        """It is the same where a subscription may have to end before there is room for another."""
        return Deferred.fromCoroutine(self.compare(_FEW, seeds(2_000, 30)))
