"""Somebody between two nodes, who has a good certificate and no token."""

from __future__ import annotations

from typing import Any

from atbus.channels.interfaces import IChannel
from atbus.errors import RegistrationRefused, Status
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.testing.recording import Reception, RecordingReceiver, error_of
from tests.channels.test_tls import TlsTests

ROOT, CHILD = 0x100, 0x101


class _Half(RecordingReceiver):
    """Passes on what comes in to the other half."""

    def __init__(self) -> None:
        super().__init__()
        self.other: _Half | None = None

    def channel_opened(self, channel: IChannel) -> None:
        super().channel_opened(channel)
        self.pass_on()

    def frames_received(self, frames: list[bytes]) -> None:
        super().frames_received(frames)
        if self.other is not None:
            self.other.pass_on()

    def pass_on(self) -> None:
        """Send what the other half has got, if both are there."""
        if self.other is not None and self.other.frames and "channel_opened" in self.calls:
            frames, self.other.frames = self.other.frames, []
            self.channel.send(frames)


class RelayTests(TlsTests):
    """It passes on every frame, over TLS connections of its own."""

    def node(self, bus_id: int, **how: Any) -> Node:
        """Make a node."""
        options = self.files.options()
        tls: dict[str, Any] = {
            "tls_certificate": options.certificate,
            "tls_key": options.key,
            "tls_authorities": options.authorities,
            "tls_realm": "test",
        }
        node = Node(NodeConfig(id=bus_id, **tls, **how), self.reactor)
        self.addCleanup(node.stop)
        return node

    async def between(self, root: Node) -> str:
        """Put somebody in front of a node; give where that listens."""
        scheme = self.scheme_of(self.files.credentials())
        halves: list[_Half] = []

        def make() -> _Half:
            near, far = _Half(), _Half()
            near.other, far.other = far, near
            halves.extend((near, far))
            dialing = scheme.connect(root.addresses[0], far)
            dialing.addErrback(lambda _: None)
            return near

        listener = await self.listen_at(scheme, Reception(make))

        async def end() -> None:
            for half in halves:
                if "channel_opened" in half.calls and not half.ends:
                    half.channel.abort("seen enough")

        self.addCleanup(end)
        return str(listener.address)

    async def registered(self, **how: Any) -> Node:
        """Register by way of somebody between."""
        root = self.node(ROOT, listen=["tls+ipv4://127.0.0.1:0"], subnets=[(0, 8)], **how)
        await root.start()
        child = self.node(CHILD, upstream=await self.between(root), **how)
        await child.start()
        self.assertEqual(list(root.endpoints), [CHILD])
        return child

    async def test_security_relayed_proof(self) -> None:
        """
        A proof of a token is worth nothing on another TLS connection than the one that it was made
        for; without tokens whoever has a certificate for both ids can be between.
        """
        child = await self.registered()
        await child.stop()
        error = await error_of(self.registered(access_tokens=["geheim"]), RegistrationRefused)
        self.assertIs(error.status, Status.ACCESS_DENIED)
