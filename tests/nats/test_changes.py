"""What a gateway that runs can be told anew."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.changes import faults_in_change
from atbus.nats.settings import GatewaySettings, read_gateway
from atbus.node.config import NodeConfig

BEFORE: dict[str, Any] = {
    "listen": "127.0.0.1:1",
    "cluster": {"name": "c", "listen": "127.0.0.1:6"},
}


def settings(**nats: Any) -> GatewaySettings:
    """Read a table."""
    read = read_gateway(NodeConfig(nats={**BEFORE, **nats}))
    assert read is not None
    return read


class ChangeTests(SynchronousTestCase):
    def faults(self, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
        """Compare two tables."""
        return faults_in_change(settings(**before), settings(**after))

    def test_what_cannot_change(self) -> None:
        """Each option is named, with what it is and what it was to be."""
        cluster = {"name": "d", "listen": "127.0.0.1:7"}
        found = self.faults(
            {"monitor": "127.0.0.1:2", "name": "one"},
            {
                "listen": "127.0.0.1:3", "websocket": "127.0.0.1:4", "name": "two",
                "leaf_listen": "127.0.0.1:5", "cluster": cluster,
            },
        )
        changes = [
            ("listen", "'127.0.0.1:1' to '127.0.0.1:3'"),
            ("monitor", "'127.0.0.1:2' to nothing"),
            ("websocket", "nothing to '127.0.0.1:4'"),
            ("name", "'one' to 'two'"),
            ("leaf_listen", "nothing to '127.0.0.1:5'"),
            ("cluster.name", "'c' to 'd'"),
            ("cluster.listen", "'127.0.0.1:6' to '127.0.0.1:7'"),
        ]
        wanted = [
            f"nats.{option}: cannot change from {change} while the node runs"
            for option, change in changes
        ]
        self.assertEqual(found, wanted)

    def test_a_cluster(self) -> None:
        """Whether a gateway is a member cannot change."""
        [fault] = self.faults({}, {"cluster": None})
        self.assertIn("nats.cluster: ", fault)

    def test_tls_of_websocket(self) -> None:
        """Certificates may come where a client is asked, and not where TLS is around everything."""
        files = {"certificate_file": "a", "key_file": "b"}
        door = {"websocket": "127.0.0.1:4"}
        self.assertEqual(self.faults({}, files), [])
        [fault] = self.faults(door, {**door, **files})
        self.assertIn("nats.certificate_file: ", fault)
        self.assertEqual(self.faults({**door, **files}, {**door, **files, "key_file": "c"}), [])

    def test_a_gateway(self) -> None:
        """It cannot end."""
        [fault] = faults_in_change(settings(), None)
        self.assertIn("nats: ", fault)

    def test_what_can_change(self) -> None:
        """Everything else."""
        after = {
            "user": "a", "password": "b", "advertise": ["h:1"], "payload_bytes_max": 5,
            "leaf_remotes": [{"urls": ["127.0.0.1:9"]}], "lame_duck_seconds": 1,
            "cluster": {**BEFORE["cluster"], "routes": ["127.0.0.1:8"]},
        }
        self.assertEqual(self.faults({}, after), [])
