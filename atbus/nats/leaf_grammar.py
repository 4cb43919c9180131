"""
Bytes of a connection between leafs into operations, and back.

Interest is ``LS+`` and ``LS-``, a message ``LMSG`` or ``HMSG``; what stands behind these verbs, and
what else is said, is as between all servers (`atbus.nats.server_grammar`).
"""

from __future__ import annotations

from collections.abc import Sequence

from atbus.nats.server_grammar import (
    Interest,
    Message,
    ServerGrammar,
    interest_line,
    message_text,
    read_interest,
    read_message,
)


class LeafGrammar(ServerGrammar[Interest | Message]):
    """What the other end of a connection between leafs sends."""

    def __init__(self) -> None:
        super().__init__(_read)


def _read(
    verb: bytes, words: Sequence[bytes], data: bytes, start: int
) -> tuple[Interest | Message | None, int]:
    match verb:
        case b"LMSG" | b"HMSG":
            return read_message(words, data, start, is_headed=verb == b"HMSG")
        case b"LS+" | b"LS-":
            return read_interest(words, is_wanted=verb == b"LS+"), start
    raise ValueError("an unknown verb")


def write_interest(interest: Interest) -> bytes:
    """Write LS+ or LS-."""
    return interest_line("LS+" if interest.weight else "LS-", interest)


def write_message(message: Message) -> bytes:
    """Write LMSG or HMSG."""
    return message_text("HMSG" if message.header else "LMSG", message)
