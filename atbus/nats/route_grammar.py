"""
Bytes of a route between servers of NATS 2 into operations, and back.

Interest is ``RS+ account ...`` and ``RS- account ...``, a message ``RMSG account ...`` or ``HMSG
account ...``; what stands behind the account, and what else is said, is as between all servers
(`atbus.nats.server_grammar`). The forms with the origin of a leaf (``LS+``, ``LMSG``) are only sent
to those who ask for them with ``lnoc`` in INFO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from atbus.nats.server_grammar import (
    Interest,
    Message,
    ServerGrammar,
    interest_line,
    message_text,
    read_interest,
    read_message,
)


class Routed(NamedTuple):
    """Interest or a message, and the account that it belongs to."""

    account: str
    what: Interest | Message


class RouteGrammar(ServerGrammar[Routed]):
    """What the server at the other end of a route sends."""

    def __init__(self) -> None:
        super().__init__(_read)


def _read(
    verb: bytes, words: Sequence[bytes], data: bytes, start: int
) -> tuple[Routed | None, int]:
    if verb not in (b"RMSG", b"HMSG", b"RS+", b"RS-") or not words:
        raise ValueError("an unknown verb, or no account")
    account = words[0].decode()
    if verb in (b"RS+", b"RS-"):
        return Routed(account, read_interest(words[1:], is_wanted=verb == b"RS+")), start
    message, after = read_message(words[1:], data, start, is_headed=verb == b"HMSG")
    return None if message is None else Routed(account, message), after


def write_routed(routed: Routed) -> bytes:
    """Write RS+, RS-, RMSG or HMSG."""
    account, what = routed
    if isinstance(what, Interest):
        return interest_line(f"{'RS+' if what.weight else 'RS-'} {account}", what)
    return message_text(f"{'HMSG' if what.header else 'RMSG'} {account}", what)
