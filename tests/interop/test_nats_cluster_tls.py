"""Nodes as members of clusters of real servers of NATS whose routes are encrypted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from atbus.nats.gateway import Gateway
from tests.channels.certificates import HOSTS, Files
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.interop.test_nats_clusters import ClusterCase, port_of
from tests.nats.transcripts import EOF

SERVER = """
server_name: {name}
cluster {{
  name: C1, listen: "127.0.0.1:-1", routes: [ {routes} ]
  tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{ca}", timeout: 60 }}
}}
"""


class EncryptedByDebianTests(ClusterCase):
    """nats-server 2.9."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="atbus-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.files = Files(self.folder)
        self.stranger = self.files.new_authority("stranger")

    def shown(self, hosts: Iterable[str] = HOSTS, **how: Any) -> dict[str, str]:
        """Make a certificate, and say in which files it is."""
        options = self.files.options(self.files.issue(hosts=hosts, **how))
        return {"certificate_file": options.certificate, "key_file": options.key}

    def encrypted(self, name: str, *routes: str, **shown: str) -> NatsServer:
        """Start a server of the cluster, with routes to these places."""
        return self.server(
            SERVER,
            takes_routes=True,
            name=name,
            routes=", ".join(f'"nats-route://{each}"' for each in routes),
            certificate=shown["certificate_file"],
            key=shown["key_file"],
            ca=self.folder / "authority.pem",
        )

    async def member_of(self, *routes: str, ca: str = "authority", **shown: str) -> Gateway:
        """Start a gateway that joins."""
        cluster = {
            "name": "C1",
            "listen": "127.0.0.1:0",
            "routes": list(routes),
            "ca_file": str(self.folder / f"{ca}.pem"),
            **shown,
        }
        return await self.gateway(cluster=cluster)

    def test_we_dial(self) -> Deferred[None]:
        """Servers in the configuration and those that they tell of are believed by their name."""
        return Deferred.fromCoroutine(self.we_dial())

    async def we_dial(self) -> None:
        one = self.encrypted("one", **self.shown())
        place = f"localhost:{one.route_port}"
        gateway = await self.member_of(place, **self.shown(["localhost"]))
        await self.beside_each(gateway, 1)
        # The first server tells of this one, by its address, which is not in its certificate.
        two = self.encrypted("two", f"127.0.0.1:{one.route_port}", **self.shown(["localhost"]))
        await self.beside_each(gateway, 2)
        ours, theirs = await self.client_of(gateway), await self.client(two.port)
        await self.converse(ours, theirs)
        refused = [
            await self.member_of(place, **self.shown(authority=self.stranger)),
            await self.member_of(place, ca="stranger", **self.shown()),
            # It is not who is meant.
            await self.member_of(f"127.0.0.1:{two.route_port}", **self.shown()),
        ]
        for each in refused:
            assert each.routes is not None
            [dialer] = each.routes._dialers.values()
            await self.met(lambda dialer=dialer: dialer._failures > 1)
            await self.beside_each(each, 0)

    def test_they_dial(self) -> Deferred[None]:
        """A server with a certificate is let in; one with a stranger's, or without TLS, is not."""
        return Deferred.fromCoroutine(self.they_dial())

    async def they_dial(self) -> None:
        ended: list[str] = []

        @provider(ILogObserver)
        def note(event: LogEvent) -> None:
            if event.get("log_format", "").startswith("route {name} is closed"):
                ended.append(event["reason"])

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        gateway = await self.member_of(**self.shown())
        place = f"127.0.0.1:{port_of(gateway)}"
        self.encrypted("wrong", place, **self.shown(authority=self.stranger))
        await self.met(lambda: any("certificate" in each for each in ended))
        plain = await self.talker(port_of(gateway))
        plain.says(b'CONNECT {"cluster":"C1"}\r\n')
        self.assertNotIn(b"INFO", await plain.hears(EOF))
        await self.beside_each(gateway, 0)
        one = self.encrypted("one", place, **self.shown())
        await self.beside_each(gateway, 1)
        ours, theirs = await self.client_of(gateway), await self.client(one.port)
        await self.converse(ours, theirs)


class EncryptedByNewerTests(EncryptedByDebianTests):
    """The newest nats-server."""

    binary = NEWER_BINARY
