"""The certificates of a measurement over TLS: made for it, and gone with its folder."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from atbus.cli.bench.task import Task

REALM: Final = "bench"


def write_certificates(folder: Path) -> None:
    """
    Write an authority, and one certificate that all nodes of the measurement have.

    :param folder: Where the files go.
    """
    # It takes a while to load, and most measurements need none.
    from atbus.channels.authority import Authority
    from atbus.handshake.certificate import parse_identity

    issued = Authority.new(REALM, days=1)
    (folder / "authority.pem").write_bytes(issued.certificate)
    authority = Authority(issued.certificate, issued.key)
    identity = parse_identity(f"atbus://{REALM}/0x0/63")
    node = authority.issue(identity, ["127.0.0.1"], timedelta(days=1))
    node.write(folder / "node.pem", folder / "node.key")


def tls_options(task: Task) -> dict[str, Any]:
    """
    Say where the certificates are.

    :param task: Of one process.
    :returns: What its node is told of them; nothing when it needs none.
    """
    if task.wishes.channel != "tls":
        return {}
    folder = Path(task.folder)
    return {
        "tls_certificate": folder / "node.pem",
        "tls_key": folder / "node.key",
        "tls_authorities": folder / "authority.pem",
        "tls_realm": REALM,
    }
