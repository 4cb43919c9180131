"""Nodes that register over TLS: what a certificate allows, and what it does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from atbus.busid import Subnet
from atbus.errors import ConfigurationError, RegistrationRefused, Status
from atbus.handshake.certificate import CertificateIdentity
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from tests.channels.certificates import Files
from tests.channels.sockets import SocketTests

ROOT, CHILD = 0x12340000, 0x12340101


class TlsNodeTests(SocketTests):
    """A root that listens with TLS, and nodes below it."""

    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.files = Files(self.directory)

    def node(self, bus_id: int | str, *, of: int, bits: int = 0, **how: Any) -> Node:
        """Make a node whose certificate names a range."""
        options = self.files.options(
            self.files.issue(CertificateIdentity("test", Subnet(of, bits)))
        )
        node = Node(
            NodeConfig(
                id=bus_id,
                tls_certificate=options.certificate,
                tls_key=options.key,
                tls_authorities=options.authorities,
                tls_realm="test",
                **how,
            ),
            self.reactor,
        )
        self.addCleanup(node.stop)
        return node

    async def root(self, **how: Any) -> Node:
        """Start a root that listens with TLS."""
        root = self.node(
            ROOT, of=ROOT, bits=16, subnets=[(0, 16)], listen=["tls+ipv4://127.0.0.1:0"], **how
        )
        await root.start()
        return root

    async def test_what_is_proven_is_not_left(self) -> None:
        """
        Data between two nodes with certificates stays on the encrypted stream: a unix socket that
        is announced is not dialled, and a stream over it that is registered is used by nobody.
        """
        root = await self.root()
        child = self.node(CHILD, of=CHILD, upstream=str(root.addresses[0]))
        await child.start()
        root.on_request(lambda _source, asked: asked)
        self.assertEqual(await child.request(ROOT, b"first"), b"first")
        unix = await root.listen(f"unix://{self.directory}/root.sock")
        await child._parts.dialer.connect_data(child.endpoints[ROOT], unix)
        while not child.statistics.closed[Status.REPLACED]:
            for node, other in ((root, CHILD), (child, ROOT)):
                address = node.next_hop(other).address
                self.assertTrue(address is not None and address.is_tls)
            turn: Deferred[None] = Deferred()
            self.reactor.callLater(0.005, turn.callback, None)
            await turn
        self.assertEqual(await child.request(ROOT, b"still"), b"still")

    async def test_messages_travel(self) -> None:
        """Two nodes register over TLS, with a token tied to the connection, and talk."""
        root = await self.root(access_tokens=["geheim"])
        child = self.node(
            CHILD, of=CHILD, upstream=str(root.addresses[0]), access_tokens=["geheim"]
        )
        await child.start()
        root.on_request(lambda source, payload: payload + b"!" if source == CHILD else b"")
        self.assertEqual(await child.request(ROOT, b"hello"), b"hello!")
        for connection in child.endpoints[ROOT].connections:
            channel = connection.channel
            assert channel is not None
            self.assertTrue(channel.peer.startswith("tls+ipv4://"), channel.peer)

    def lines(self) -> list[str]:
        """Give what the log says from now on."""
        lines: list[str] = []

        @provider(ILogObserver)
        def note(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        return lines

    def renew(self, node: Node, **how: Any) -> None:
        """Put another certificate and key where those of a root are."""
        assert node.config.tls_certificate is not None
        assert node.config.tls_key is not None
        paths = Path(node.config.tls_certificate), Path(node.config.tls_key)
        for path in paths:
            path.unlink()
        self.files.issue(CertificateIdentity("test", Subnet(ROOT, 16)), **how).write(*paths)

    async def test_a_certificate_that_others_refuse(self) -> None:
        """
        A node that starts with one says so, and when it gets another such one, not each time it
        looks.
        """
        lines = self.lines()
        root = await self.root()
        root._parts.permits.sweep()
        refused = f"other nodes will refuse the certificate {root.config.tls_certificate}: "
        self.assertEqual([each for each in lines if refused in each], [])
        await root.stop()
        self.renew(root, lifetime=timedelta(minutes=-1))
        again = Node(root.config, self.reactor)
        self.addCleanup(again.stop)
        for why, how in (
            ("it has expired", {}),
            ("it is not valid yet", {"begins_in": timedelta(hours=1)}),
        ):
            if how:
                self.renew(again, **how)
            for _ in range(3):
                again._parts.permits._looked_at = -1e9
                again._parts.permits.sweep()
            told = [each for each in lines if refused in each]
            self.assertEqual(told, [f"{refused}{why}"])
            lines.clear()
        self.flushLoggedErrors()

    async def test_a_certificate_that_is_worse(self) -> None:
        """
        One that others would refuse does not take the place of a good one: nodes register as
        before, and the log names the file and why, once. Then a good one is used.
        """
        root = await self.root()
        lines = self.lines()
        self.renew(root, lifetime=timedelta(minutes=-1))
        for number in range(3):
            root._parts.permits._looked_at = -1e9
            root._parts.permits.sweep()
            node = self.node(CHILD + number, of=CHILD + number, upstream=str(root.addresses[0]))
            await node.start()
        told = (
            "files for TLS cannot be used, what was there before stays in use: tls.certificate: "
            f"{root.config.tls_certificate}: worse than the one in use: it has expired"
        )
        self.assertEqual([each for each in lines if "TLS" in each or "refuse" in each], [told])
        self.renew(root)
        root._parts.permits._looked_at = -1e9
        root._parts.permits.sweep()
        self.assertEqual(lines[-1], "new files for TLS are in use")
        self.flushLoggedErrors()

    async def test_another_id(self) -> None:
        """A node that registers an id its certificate does not name is refused, on either side."""
        root = await self.root()
        liar = self.node(CHILD, of=CHILD, upstream=str(root.addresses[0]))
        # A node with such a configuration would not even be made.
        liar._parts.context.bus_id = CHILD + 1
        error = await self.refusal(liar)
        self.assertEqual(error.status, Status.NOT_ADMITTED)
        self.assertIn("its certificate allows 0x12340101/0", error.detail)
        self.assertEqual((error.by_peer, dict(root.endpoints)), (True, {}))
        listener = self.node(CHILD, of=CHILD, listen=["tls+ipv4://127.0.0.1:0"])
        await listener.start()
        listener._parts.context.bus_id = CHILD + 1
        dialler = self.node(CHILD + 2, of=CHILD + 2, upstream=str(listener.addresses[0]))
        error = await self.refusal(dialler)
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertIn("its certificate allows 0x12340101/0", error.detail)
        self.assertEqual(dict(dialler.endpoints), {})

    async def refusal(self, node: Node) -> RegistrationRefused:
        """Start a node that must not come up."""
        try:
            await node.start()
        except RegistrationRefused as error:
            return error
        raise AssertionError("it was admitted")

    async def test_an_automatic_id(self) -> None:
        """The id that is assigned is one that the certificate names."""
        root = await self.root()
        for _ in range(3):
            node = self.node("auto", of=0x12345600, bits=2, upstream=str(root.addresses[0]))
            await node.start()
            self.assertIn(node.bus_id, range(0x12345600, 0x12345604))

    async def test_other_secrets(self) -> None:
        """A good certificate does not replace the token."""
        root = await self.root(access_tokens=["geheim"])
        child = self.node(
            CHILD, of=CHILD, upstream=str(root.addresses[0]), access_tokens=["geraten"]
        )
        self.assertEqual((await self.refusal(child)).status, Status.ACCESS_DENIED)

    async def test_a_policy_that_requires_tls(self) -> None:
        """Peers whose policy asks for TLS, either one's, connect over TLS and not without."""
        listen = ["dns://localhost:0", "tls+dns://localhost:0"]
        rules = [{"action": "require_tls"}]
        for number, (of_listener, of_dialler) in enumerate(((rules, []), ([], rules))):
            listener = self.node(
                ROOT + number,
                of=ROOT,
                bits=16,
                listen=listen,
                policy=of_listener,
                allow_insecure=True,
            )
            dialler = self.node(CHILD, of=CHILD, policy=of_dialler)
            await listener.start()
            await dialler.start()
            plain, encrypted = sorted(map(str, listener.addresses))
            ended = next_end(listener)
            try:
                await dialler.connect(plain)
            except RegistrationRefused as error:
                self.assertIs(error.status, Status.POLICY_DENIED)
                self.assertIn("policy[0] wants TLS, dns://localhost", error.detail)
            else:
                raise AssertionError("it was admitted")
            self.assertIs(await ended, Status.POLICY_DENIED)
            self.assertEqual((dict(listener.endpoints), dict(dialler.endpoints)), ({}, {}))
            await dialler.connect(encrypted)
            listener.on_request(lambda _source, payload: payload + b"!")
            self.assertEqual(await dialler.request(ROOT + number, b"hello"), b"hello!")
            for connection in dialler.endpoints[ROOT + number].connections:
                self.assertTrue(connection.address.is_tls, connection)
            await dialler.stop()

    async def test_revoked_on_change(self) -> None:
        """A node that is revoked is cut off by the file alone, nobody has to tell its neighbor."""
        revoked = self.directory / "revoked.pem"
        revoked.write_bytes(self.files.authority.revoke([], timedelta(days=1)))
        root = await self.root(tls_revoked=str(revoked))
        child = self.node(CHILD, of=CHILD, upstream=str(root.addresses[0]))
        await child.start()
        gone: Deferred[None] = Deferred()
        root.events.on_endpoint_removed.observe(lambda *_: gone.callback(None))
        own = read(child.config.tls_certificate)
        revoked.write_bytes(self.files.authority.revoke([own], timedelta(days=1)))
        await gone
        self.assertEqual(dict(root.endpoints), {})

    async def test_an_authority_that_is_taken_out(self) -> None:
        """A node whose authority is not believed any more is cut off by the file alone."""
        first, other = self.files.authority, self.files.new_authority("other")
        believed = self.directory / "authority.pem"
        believed.write_bytes(first.certificate + other.certificate)
        root = await self.root()
        kept = self.node(CHILD, of=CHILD, upstream=str(root.addresses[0]))
        self.files.authority = other
        child = self.node(CHILD + 1, of=CHILD + 1, upstream=str(root.addresses[0]))
        for node in (kept, child):
            await node.start()
        gone: Deferred[None] = Deferred()
        watch = root.events.on_endpoint_removed.observe(lambda *_: gone.callback(None))
        believed.write_bytes(first.certificate)
        await gone
        watch.cancel()
        self.assertEqual(list(root.endpoints), [CHILD])

    async def test_revoked_on_reload(self) -> None:
        """A node that is revoked is cut off when its neighbor reloads, and does not come back."""
        revoked = self.directory / "revoked.pem"
        revoked.write_bytes(self.files.authority.revoke([], timedelta(days=1)))
        root = await self.root(tls_revoked=str(revoked))
        child = self.node(CHILD, of=CHILD, upstream=str(root.addresses[0]))
        await child.start()
        gone: Deferred[None] = Deferred()
        root.events.on_endpoint_removed.observe(lambda *_: gone.callback(None))
        own = read(child.config.tls_certificate)
        revoked.write_bytes(self.files.authority.revoke([own], timedelta(days=1)))
        reconfigure(root, root.config)
        await gone
        self.assertEqual(dict(root.endpoints), {})

    def test_ones_own_certificate(self) -> None:
        """A node whose certificate does not name its own id and ranges is not made."""
        for bus_id, of, bits, subnets in ((2, 1, 0, []), (ROOT, ROOT, 16, [(0, 17)])):
            error = self.assertRaises(
                ConfigurationError, self.node, bus_id, of=of, bits=bits, subnets=subnets
            )
            self.assertIn("tls.certificate", str(error))
            self.assertIn("allows", str(error))

    def test_files_that_are_missing(self) -> None:
        """Every file that cannot be used is a fault of the configuration, with its option."""
        config = NodeConfig(
            id=1, tls_certificate="/no/cert", tls_key="/no/key", tls_authorities="/no/ca"
        )
        error = self.assertRaises(ConfigurationError, Node, config, self.reactor)
        for name in ("tls.certificate: /no/cert", "tls.key: /no/key", "tls.authorities: /no/ca"):
            self.assertIn(name, str(error))


def next_end(node: Node) -> Deferred[Status]:
    """Fire with the reason when the next connection of a node has ended."""
    ended: Deferred[Status] = Deferred()

    def end(_connection: object, why: Status) -> None:
        watch.cancel()
        ended.callback(why)

    watch = node.events.on_close_connection.observe(end)
    return ended


def read(path: str | None) -> bytes:
    """Read a file that a configuration names."""
    assert path is not None
    return Path(path).read_bytes()
