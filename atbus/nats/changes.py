"""
What a gateway that runs can be told anew, as values.

Where others find it, and under which name, cannot change under them: who asks for that is told of
each such option, and nothing changes at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from atbus.nats.settings import GatewaySettings


def faults_in_change(old: GatewaySettings, new: GatewaySettings | None) -> list[str]:
    """
    Find out what keeps a gateway from being told something else while it runs.

    :param old: What it was told.
    :param new: What it is to be told; None when there is to be no gateway any more.
    :returns: What is wrong with that, each beginning with the place; nothing when it is possible.
    """
    if new is None:
        return ["nats: there is a gateway, which ends with its process only"]
    faults = [
        f"nats.{option}: cannot change from {_shown(before)} to {_shown(after)} while the node runs"
        for option, before, after in _fixed(old, new)
        if before != after
    ]
    if new.websocket is not None and (old.tls is None) != (new.tls is None):
        # Who comes in there has TLS from the first byte on, or has none.
        faults.append("nats.certificate_file: cannot come or go while there is nats.websocket")
    return faults


def _fixed(old: GatewaySettings, new: GatewaySettings) -> Iterator[tuple[str, object, object]]:
    for option in ("listen", "monitor", "websocket", "name"):
        yield option, getattr(old, option), getattr(new, option)
    yield "leaf_listen", old.leafs.listen, new.leafs.listen
    if old.cluster is None or new.cluster is None:
        before, after = (each and each.name for each in (old.cluster, new.cluster))
        yield "cluster", before, after
        return
    yield "cluster.name", old.cluster.name, new.cluster.name
    yield "cluster.listen", old.cluster.listen, new.cluster.listen


def _shown(value: object) -> str:
    return repr(value) if value else "nothing"
