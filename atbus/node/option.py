"""
Every option of a configuration, described: for the reference, for files, and for the bounds.

`NodeConfig` has one field for each, in this order; a test holds the two together.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import attrs

from atbus import limits
from atbus.node.option_kinds import Option, count, seconds, size, switch

__all__ = ["OPTIONS", "RELOADABLE", "TABLES_WITH_SECRETS", "Option"]

_IDENTITY: Final = {
    "id": Option(
        kind="integer or text",
        meaning='The bus id: a number, "0x12345678", "1.2.3.4", "auto" (the upstream assigns '
        "one), or 0 (a temporary node: it dials and asks, but cannot be sent to).",
    ),
    "mask": Option(
        kind="text", meaning="Bits of each part of a dotted id, the most significant first."
    ),
    "name": Option(kind="text", meaning="A name for people, in logs and tables."),
    "hostname": Option(
        kind="text",
        meaning='Which host this is: "auto" (machine and boot), "mac" (physical MAC addresses) or '
        "any text. Nodes that say the same try the channels of one host.",
    ),
    "labels": Option(kind="table of texts", meaning="What others can choose this node by."),
    "proxy": switch(
        "This node is there to pass on what others send; others see that in its record.",
        reloadable=False,
    ),
}

_CONNECTIONS: Final = {
    "listen": Option(
        kind="list of addresses", meaning="Where other nodes can connect to this one."
    ),
    "upstream": Option(
        kind="address",
        meaning="The next hop towards the rest of the bus. A node without one is a root.",
    ),
    "upstreams": Option(
        kind="list of addresses",
        meaning="Several of them in order of preference, instead of upstream.",
    ),
    "upstream_labels": Option(
        kind="table of texts",
        meaning="Choose the upstream among the known nodes with these labels, each node another "
        "one, so that the load spreads; while none is known, by address. Who is found has to have "
        "the id of its record, and may not say of itself that it has other labels.",
    ),
    "upstream_return_seconds": seconds(
        "How long to stay below a second choice before going back to the best candidate, if "
        "somebody listens there again; left out: until it is lost."
    ),
    "peer_labels": Option(
        kind="table of texts",
        meaning="Stay connected to all known nodes with these labels, as far as the policy allows "
        "it: the proxies of a group to each other. Neighbors tell of them unless route_table is "
        '"upstream" or "off".',
        reloadable=True,
    ),
    "topology": Option(
        kind="text",
        meaning='Who hangs below this node: "subnets" (whose ids are inside its subnets) or '
        '"records" (whoever registers with it as with its upstream, whatever its id).',
    ),
    "subnets": Option(
        kind="list of subnets",
        meaning='The ids of this node and of what hangs below it; "0x12340000/16" leaves 16 bits '
        "free. A prefix of 0 is the node's own id, which belongs to it in any case.",
    ),
    "accept_subnets": Option(
        kind="list of subnets",
        meaning="The ids that may register here; empty: any.",
        reloadable=True,
    ),
    "reserved_subnets": Option(
        kind="list of subnets",
        meaning='Ids that nodes with the id "auto" do not get here: the ranges of proxies that may '
        "come later than they do. Whoever has been here and has gone is not in need of it.",
        reloadable=True,
    ),
    "access_tokens": Option(
        kind="list of texts",
        meaning="Secrets. Two nodes register if they have one in common, or if both have none.",
        reloadable=True,
        secret=True,
    ),
    "allow_insecure": switch(
        "Let listeners without TLS take connections from other hosts.", reloadable=False
    ),
    "overwrite_listen_path": switch(
        "Replace a file that lies where a unix socket is to be.", reloadable=False
    ),
    "direct_notice": switch(
        "Tell nodes that talk to each other through this one their addresses, so that they "
        "connect directly; left out: yes when the topology is that of subnets.",
        reloadable=True,
    ),
    "accept_notices": switch("Connect to nodes that the upstream tells of.", reloadable=True),
    "direct_connections": switch(
        "Connect to nodes that messages go to, or to the proxy nearest above them, when their "
        "records say where they listen and the policy allows it.",
        reloadable=True,
    ),
    "policy": Option(
        kind="list of tables",
        meaning="Rules in order about connections to nodes that are neither upstream nor "
        "downstream; the first that matches decides.",
        reloadable=True,
    ),
    "records": Option(
        kind="list of tables",
        meaning="What is known of other nodes beforehand: who is below whom, and where they "
        "listen.",
        reloadable=True,
    ),
    "route_table": Option(
        kind="text",
        meaning='What neighbors are asked to tell of other nodes: "full" (everything), "upstream" '
        '(nothing, the upstream will do), "auto" (everything, from the first neighbor on that is '
        'not the upstream, and with peer_labels at once), or "off", which also tells nothing.',
    ),
    "queue_policy": Option(
        kind="text",
        meaning='Which member of a queue group gets what is published here or passes: "uniform" '
        '(each as often as any other), "local" (one at this node if there is any), or "nearest" '
        '(one here, else one anywhere at a node with our label "zone", else any).',
        key="subjects.queue_policy",
        reloadable=True,
    ),
}

_TLS: Final = {
    "tls_certificate": Option(
        kind="text",
        meaning="A file in PEM: the node's certificate, with the chain up to an authority. It "
        "names the ids that the node may register (how-to: encrypt connections).",
        key="tls.certificate",
    ),
    "tls_key": Option(
        kind="text", meaning="A file in PEM: the certificate's private key.", key="tls.key"
    ),
    "tls_authorities": Option(
        kind="text",
        meaning="A file in PEM: the certificates of those whose signature is believed.",
        key="tls.authorities",
    ),
    "tls_revoked": Option(
        kind="text",
        meaning="A file in PEM: revocation lists of these authorities; left out, none is asked.",
        key="tls.revoked",
    ),
    "tls_realm": Option(
        kind="text",
        meaning="The realm that all certificates of the bus are of.",
        key="tls.realm",
    ),
    "tls_allow_1_2": Option(
        kind="boolean",
        meaning="Speak TLS 1.2 with those who have nothing newer.",
        key="tls.allow_1_2",
    ),
    "tls_close_on_expiry": Option(
        kind="boolean",
        meaning="End a connection when the other side's certificate expires.",
        key="tls.close_on_expiry",
    ),
}

_RIGHTS: Final = {
    "rights": Option(
        kind="list of tables",
        meaning="Rules about what nodes may do: register, send, publish, subscribe, run commands, "
        "open streams. What one denies is denied; without any, everything is allowed.",
        reloadable=True,
    ),
    "denied": Option(
        kind="list of ids and ranges",
        meaning="Nodes that may do nothing: connections to them end, nothing of theirs passes.",
        reloadable=True,
    ),
    "denied_file": Option(
        kind="text",
        meaning="A file with more of them, one id or range in a line; it is looked at again every "
        "two seconds.",
        reloadable=True,
    ),
}

_COMPRESSION: Final = {
    "compression": Option(
        kind="list of texts",
        meaning='How long messages may be made smaller between nodes that both say so: "zstd" '
        '(needs atbus[zstd]), "deflate", or both; empty: not at all. It counts from the next '
        "handshake on.",
        key="compression.algorithms",
        reloadable=True,
    ),
    "compression_least_bytes": size(
        "The shortest payload that is compressed.",
        "compression.least_bytes",
        least=64,
        most=limits.MESSAGE_BYTES_MAX,
    ),
    "compression_except_kinds": Option(
        kind="list of integers",
        meaning="Kinds of messages that are never compressed: how small a message becomes tells of "
        "what must not be known, when it stands beside what a stranger can choose.",
        key="compression.except_kinds",
        reloadable=True,
    ),
}

_LIFE: Final = {
    "require_upstream_within_seconds": attrs.evolve(
        seconds(
            "Stop if no upstream has registered this node so long after its start; left out, it "
            "tries for ever."
        ),
        reloadable=False,
    ),
    "linger_seconds": seconds(
        "How long a stop waits until every link has written what is queued and said goodbye.",
        least=0,
    ),
    "drain_seconds": seconds("How long a drain may take in all.", least=0),
    "record_events": Option(
        kind="text",
        meaning="A file to append the fate of each message to, for the checker "
        "(python -m atbus.testing.checker); left out, none is written.",
    ),
}

_LIMITS: Final = {
    "message_bytes_max": size(
        "The longest payload to send or to take.",
        "limits.message_bytes_max",
        most=limits.MESSAGE_BYTES_MAX,
    ),
    "frame_bytes_max": attrs.evolve(
        size(
            "The longest frame; two nodes use the smaller of theirs. Left out: 266240 within a "
            "host, 65536 between hosts.",
            "limits.frame_bytes_max",
            least=limits.FRAME_BYTES_MIN,
            most=limits.FRAME_BYTES_MAX,
        ),
        reloadable=False,
    ),
    "hops": count("Nodes that may pass on a message of ours.", "limits.hops", most=255),
    "endpoints_max": count(
        "Nodes that may be registered here at once.", "limits.endpoints_max", most=1_000_000
    ),
    "handshake_seconds": seconds(
        "How long a connection may take to register.", "limits.handshake_seconds"
    ),
    "pending_handshakes": count(
        "Connections that have not registered yet, to all network addresses of the node, and as "
        "many to its unix sockets; beyond it the oldest that has said nothing goes, and who has "
        "come to a unix socket waits.",
        "limits.pending_handshakes",
        most=65_536,
    ),
    "queued_bytes_soft": size(
        "Queued towards one node, above which those who feed the queue are told to pause.",
        "limits.queued_bytes_soft",
    ),
    "queued_bytes_hard": size(
        "Queued towards one node, above which messages are refused.", "limits.queued_bytes_hard"
    ),
    "queued_bytes_node": size(
        "Queued towards all nodes together. Each queue may have as much of it as is still free. "
        "Half as much is kept of messages that come in fragments, and of publications.",
        "limits.queued_bytes_node",
        least=2 * limits.FRAME_BYTES_MIN,
    ),
    "interest_bytes": size(
        "Memory for the subjects that one neighbor wants; all together may have four times as "
        "much.",
        "limits.interest_bytes",
    ),
    "window_bytes": size(
        "Given to the receiver and not dealt with yet, above which those who send are told to "
        "pause; at four times as much messages are refused.",
        "limits.window_bytes",
    ),
    "window_count": count(
        "The same, counted in messages.", "limits.window_count", most=10_000_000
    ),
    "shm_lanes_max": count(
        "Lanes of shared memory offered to writers at once; 0: none.",
        "shm.lanes_max",
        least=0,
        most=4_096,
    ),
    "shm_lane_bytes": size(
        "The size of one lane; a multiple of 8.",
        "shm.lane_bytes",
        least=limits.LANE_BYTES_MIN,
        most=limits.LANE_BYTES_MAX,
    ),
    "shm_bytes_max": size(
        "The size of all lanes offered together, at least that of one; left out: that of "
        "shm.lanes_max lanes.",
        "shm.bytes_max",
    ),
    "shm_weak_memory": attrs.evolve(
        switch(
            "Use shared memory also on processors whose memory order is weaker than x86's.",
            reloadable=False,
        ),
        key="shm.weak_memory",
    ),
}

_LIVENESS: Final = {
    "profile": Option(
        kind="text",
        meaning='What the heartbeat is unless given: "default" (8 s, 2 forgiven) or "fast" (1 s, '
        "3 forgiven).",
        key="heartbeat.profile",
        reloadable=True,
    ),
    "heartbeat_seconds": seconds(
        "Between two pings to a neighbor; left out: as the profile has it.", "heartbeat.seconds"
    ),
    "heartbeat_tolerance": count(
        "Unanswered pings that are forgiven; left out: as the profile has it.",
        "heartbeat.tolerance",
        least=0,
        most=1_000,
    ),
    "retry_initial_seconds": seconds(
        "The longest wait before the first new attempt to connect.", "retry.initial_seconds"
    ),
    "retry_factor": Option(
        kind="number",
        meaning="Each further wait is so many times the one before.",
        key="retry.factor",
        least=1,
        most=100,
        reloadable=True,
    ),
    "retry_seconds_max": seconds("The longest wait between two attempts.", "retry.seconds_max"),
    "pending_bytes_max": size(
        "Payload bytes held for one node while a connection to it is made.", "pending.bytes_max"
    ),
    "pending_count_max": count(
        "Messages held for one node while a connection to it is made.",
        "pending.count_max",
        most=10_000_000,
    ),
    "pending_seconds": seconds(
        "How long a message is held while a connection is made.", "pending.seconds"
    ),
    "pending_policy": Option(
        kind="text",
        meaning='What becomes of messages while a connection is made: "hold" (they wait), "fail" '
        '(they are refused) or "drop" (they are dropped and counted).',
        key="pending.policy",
        reloadable=True,
    ),
}

_REGISTRIES: Final = {
    "static": Option(
        kind="table",
        meaning="Addresses of upstreams or peers, or a file of them that is read again whenever it "
        "changes; left out, none.",
        key="discovery.static",
        reloadable=True,
    ),
    "dns": Option(
        kind="table",
        meaning="A name behind which upstreams or peers are found, asked for again and again; left "
        "out, none.",
        key="discovery.dns",
        reloadable=True,
    ),
    "etcd": Option(
        kind="table",
        meaning="The etcd in which this node announces itself and finds others; left out, none.",
        key="discovery.etcd",
        reloadable=True,
    ),
    "zookeeper": Option(
        kind="table",
        meaning="The ZooKeeper in which this node announces itself and finds others; left out, "
        "none.",
        key="discovery.zookeeper",
        reloadable=True,
    ),
    "service": Option(
        kind="table",
        meaning="What this node offers, as others find it in registries.",
        reloadable=True,
    ),
}

_NATS: Final = {
    "nats": Option(
        kind="table",
        meaning="Where clients of NATS may connect, and what they may do; left out, nowhere.",
        reloadable=True,
    ),
}

_APPLICATION: Final = {
    "application": Option(
        kind="text",
        meaning='A "module:callable" to run in the node\'s process: called with the node and the '
        "settings, it may return a service.",
        key="application.callable",
    ),
    "application_settings": Option(
        kind="table", meaning="Whatever the application wants to know.", key="application.settings"
    ),
}

OPTIONS: Final = MappingProxyType(
    {
        **_IDENTITY,
        **_CONNECTIONS,
        **_TLS,
        **_RIGHTS,
        **_COMPRESSION,
        **_LIFE,
        **_LIMITS,
        **_LIVENESS,
        **_REGISTRIES,
        **_NATS,
        **_APPLICATION,
    }
)
"""Each option under its name."""

RELOADABLE: Final = frozenset(name for name, option in OPTIONS.items() if option.reloadable)
"""The names of the options that may change while a node runs."""

TABLES_WITH_SECRETS: Final = frozenset({"etcd", "nats", "zookeeper", "application_settings"})
"""The names of the options in which something may be secret by its name."""
