"""Proxies that find each other with nothing but etcd configured."""

from __future__ import annotations

from tests.interop.registry_proxies import ProxiesContract
from tests.interop.test_etcd_nodes import NodeCase


class ProxyTests(NodeCase, ProxiesContract):
    """A group of proxies in etcd."""

    def table(self) -> str:
        return f"""
            [discovery.etcd]
            endpoints = ["{self.urls[0]}"]
            prefix = "{self.prefix().decode()}"
            lease_seconds = 2
            """
