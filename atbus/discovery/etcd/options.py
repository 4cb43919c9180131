"""
How a cluster is treated and watched, and what it has counted.
"""

from __future__ import annotations

import attrs

from atbus.discovery import bounds


@attrs.frozen(kw_only=True)
class TlsFiles:
    """
    What https needs besides the authorities that the system trusts.

    :param ca_file: PEM file with the only authorities to trust; empty for those of the system.
    :param certificate_file: PEM file with our certificate, and those up to its authority.
    :param key_file: PEM file with its key; empty when the certificate's file has it.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


@attrs.frozen(kw_only=True)
class ClusterOptions:
    """
    Which cluster, and how it is treated.

    :param endpoints: URLs of some of its servers, without paths.
    :param user: In whose name; empty for nobody.
    :param password: Of that user.
    :param tls: For servers whose URLs begin with https.
    :param auto_update: Whether to ask the members that the cluster names as well.
    :param lease_seconds: How long what we have written stays without us; whole seconds.
    :param renewal_seconds: Between two renewals of the lease.
    :param request_seconds: How long one server may take to answer.
    :param members_seconds: Between two looks at the members.
    :param token_seconds: How long a token is used.
    """

    endpoints: tuple[str, ...]
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    tls: TlsFiles = attrs.field(factory=TlsFiles)
    auto_update: bool = True
    lease_seconds: float = bounds.LEASE_SECONDS
    renewal_seconds: float = bounds.LEASE_RENEWAL_SECONDS
    request_seconds: float = bounds.REGISTRY_REQUEST_SECONDS
    members_seconds: float = bounds.ETCD_MEMBERS_SECONDS
    token_seconds: float = bounds.ETCD_TOKEN_SECONDS


@attrs.frozen(kw_only=True)
class WatcherOptions:
    """
    How a prefix is watched.

    :param startup_seconds: The least and the most to wait before the first request, so that many
        that start together do not ask together.
    :param watch_seconds: How long after it has begun a watch is begun anew.
    :param silence_seconds: After what time a silent watch is doubted.
    :param page_keys: Keys in one answer to a snapshot.
    """

    startup_seconds: tuple[float, float] = (0.0, 0.0)
    watch_seconds: float = bounds.ETCD_WATCH_SECONDS
    silence_seconds: float = bounds.ETCD_SILENCE_SECONDS
    page_keys: int = bounds.ETCD_PAGE_KEYS


@attrs.define
class ClusterStatistics:
    """
    What a cluster has counted.

    :param created: Requests begun; one that is tried at three servers counts three times.
    :param succeeded: Those that were answered well.
    :param refused: Those that a server refused.
    :param failed: Those that nobody answered.
    :param failed_in_a_row: The same, since the last answer of any kind.
    :param evicted: How often another server was taken.
    :param streams: Streams begun.
    """

    created: int = 0
    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    failed_in_a_row: int = 0
    evicted: int = 0
    streams: int = 0
