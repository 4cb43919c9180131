"""Proxies that find each other with nothing but ZooKeeper configured."""

from __future__ import annotations

from tests.interop.registry_proxies import ProxiesContract
from tests.interop.test_zookeeper_nodes import NodeCase


class ProxyTests(NodeCase, ProxiesContract):
    """A group of proxies in ZooKeeper."""

    def table(self) -> str:
        return f"""
            [discovery.zookeeper]
            servers = ["{self.addresses[0]}"]
            prefix = "{self.prefix_text}"
            session_seconds = 2
            """
