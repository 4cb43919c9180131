"""Other settings for a gateway that runs, and servers of NATS: leafs, remotes, and members."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography import x509

from atbus.nats.gateway import Gateway
from atbus.node.reload import reconfigure
from tests.channels.certificates import DAY, Files
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.test_routes import CLUSTER, CONNECT, info
from tests.nats.transcripts import EOF

LEAF_PORT, ROUTE_PORT = 7422, 6222
NOT_ALLOWED = b"-ERR 'Authorization Violation'\r\n" + EOF
ONE, TWO = (
    {"urls": [f"127.0.0.1:{port}"], "user": "u", "password": "p"} for port in (7001, 7002)
)


class ServersCase(HarborTests):
    """A gateway whose doors others than clients have come in at."""

    def change(self, gateway: Gateway, **nats: Any) -> None:
        """Give its node another table, as SIGHUP does."""
        node = gateway.node
        reconfigure(node, node.config.replace(nats={**DOOR, **nats}))
        self.network.settle(0.1)

    def calls(self, gateway: Gateway, number: int, says: bytes) -> Caller:
        """Come in at a port."""
        [port] = [
            each
            for each in self.quays[gateway.node].ports
            if each.getHost().port == number  # type: ignore[attr-defined]  # of an address on TCP
        ]
        caller = Caller(self.network.clock, port)
        caller.says(says + b"PING\r\n")
        self.network.settle(0.1)
        caller.hears()
        return caller


class LeafTests(ServersCase):
    """Servers that come in."""

    def test_who_may_be_here(self) -> None:
        """Who may not is told so and closed; who has other rights comes again; others stay."""
        door = {"leaf_listen": f"127.0.0.1:{LEAF_PORT}"}
        names = ("one", "two", "six")
        users = [{"user": name, "password": "p"} for name in names]
        gateway = self.alone(**door, leaf_users=users)
        leafs = [
            self.calls(gateway, LEAF_PORT, b'CONNECT {"user":"%s","pass":"p"}\r\n' % name)
            for name in (each.encode() for each in names)
        ]
        leafs[0].says(b"LS+ a\r\n")
        self.network.settle(0.1)
        for leaf in leafs:
            leaf.hears()
        silent = self.calls(gateway, LEAF_PORT, b"")
        silent.hears()
        narrow = {**users[1], "permissions": {"publish": ["x"]}}
        self.change(gateway, **door, leaf_users=[users[0], narrow])
        self.assertEqual([leaf.hears() for leaf in leafs], [b"", EOF, NOT_ALLOWED])
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nPUB a 2\r\nhi\r\n")
        self.network.settle(0.1)
        self.assertEqual(leafs[0].hears(), b"LMSG a 2\r\nhi\r\n")
        leaf = self.calls(gateway, LEAF_PORT, b'CONNECT {"user":"two","pass":"p"}\r\n')
        leaf.says(b"LMSG y 0\r\n\r\n")
        self.network.settle(0.1)
        self.assertIn(b"Permissions Violation for Publish", leaf.hears())


class RemoteTests(ServersCase):
    """Servers that are dialed."""

    def test_others_are_dialed(self) -> None:
        """One that is new is dialed, one that is gone no more; one that stays is not left."""
        gateway = self.alone(leaf_remotes=[ONE])
        quay = self.quays[gateway.node]
        self.until(lambda: ("127.0.0.1", 7001) in quay.dialed)
        [before] = gateway.leafs._solicitors
        self.change(gateway, leaf_remotes=[{**ONE, "password": "q"}, TWO])
        self.until(lambda: ("127.0.0.1", 7002) in quay.dialed)
        self.assertIs(gateway.leafs._solicitors[0], before)
        session = gateway.leafs.dialing(before.outfit)
        session.open(0.0)
        hello = b'INFO {"client_id":1,"leafnode_urls":[]}\r\n'
        self.assertIn('"pass":"q"', repr(list(session.receive(hello, 0.0))))
        self.change(gateway, leaf_remotes=[TWO])
        self.assertNotIn(before, gateway.leafs._solicitors)
        quay.dialed.clear()
        self.network.settle(40.0)
        self.assertEqual(set(quay.dialed), {("127.0.0.1", 7002)})


class RouteTests(ServersCase):
    """Members of a cluster."""

    def open(self, **cluster: Any) -> Gateway:
        """Start a node that is a member."""
        gateway = self.alone(cluster=CLUSTER | cluster)
        self.until(lambda: gateway.routes is not None and gateway.routes.serves)
        return gateway

    def test_what_members_show(self) -> None:
        """A member that shows what is not ours any more is told so, and closed."""
        gateway = self.open()
        member = self.calls(gateway, ROUTE_PORT, CONNECT + info("A"))
        self.change(gateway, cluster=CLUSTER, pings_max=5)
        self.assertFalse(member.is_gone)
        member.hears()
        self.change(gateway, cluster=CLUSTER | {"password": "q"})
        self.assertTrue(member.hears().endswith(NOT_ALLOWED))
        other = self.calls(
            gateway, ROUTE_PORT, CONNECT.replace(b'"p"', b'"q"') + info("B")
        )
        self.assertFalse(other.is_gone)

    def test_others_are_dialed(self) -> None:
        """Members that are new in the configuration are dialed, others no more."""
        gateway = self.open(routes=["127.0.0.1:6001"])
        quay = self.quays[gateway.node]
        self.until(lambda: ("127.0.0.1", 6001) in quay.dialed)
        self.change(gateway, cluster=CLUSTER | {"routes": ["127.0.0.1:6002"]})
        self.until(lambda: ("127.0.0.1", 6002) in quay.dialed)
        quay.dialed.clear()
        self.network.settle(5.0)
        self.assertEqual(set(quay.dialed), {("127.0.0.1", 6002)})


class CertificateTests(ServersCase):
    """What is shown to servers that are dialed, and to members."""

    def test_worse(self) -> None:
        """A reload does not bring one that has expired in the place of a good one."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files = Files(folder)
        own = files.options()
        named = {
            "certificate_file": own.certificate,
            "key_file": own.key,
            "ca_file": own.authorities,
        }
        table = {"leaf_remotes": [ONE | named], "cluster": CLUSTER | named}
        gateway = self.alone(**table)
        assert gateway.routes is not None
        good = x509.load_pem_x509_certificates(Path(own.certificate).read_bytes())
        for path in (own.certificate, own.key):
            Path(path).unlink()
        files.issue(lifetime=-DAY).write(Path(own.certificate), Path(own.key))
        [solicitor] = gateway.leafs._solicitors
        for number in range(2):
            before = solicitor.outfit.contexts, gateway.routes.contexts
            self.change(gateway, **table, pings_max=number + 3)
            for each in (solicitor.outfit.contexts, gateway.routes.contexts):
                assert each is not None
                self.assertNotIn(each, before)
                assert each.own is not None
                assert each.own.shown is not None
                self.assertEqual(each.own.shown.chain(), good)
        self.flushLoggedErrors()
