"""
Prove that both sides know a token, without saying it.

The proof for one token is HMAC-SHA256, keyed with the token, over a fixed label, the side that
proves, the SHA-256 of both hello frames and the TLS exporter (wire protocol, section 5.3).

* Both nonces are in the hello frames, so a recorded proof is worth nothing on another connection.
* The side is in it, so a proof cannot be reflected to the one who made it.
* The exporter is in it, so a proof cannot be carried from one TLS connection to another.

With several tokens each gets a proof; one in common is enough. That is how tokens are rotated:
add the new one everywhere, then take the old one away everywhere.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Iterable, Sequence

from atbus.limits import ACCESS_TOKENS_MAX

_LABEL = b"atbus register"


class Side(enum.Enum):
    """Who proves; the value is the byte that goes into the proof."""

    DIALLER = b"D"
    LISTENER = b"L"


def hash_transcript(dialler_hello: bytes, listener_hello: bytes) -> bytes:
    """
    Hash the two first frames of a connection.

    :param dialler_hello: The whole frame the dialler sent first.
    :param listener_hello: The whole frame the listener sent first.
    :returns: 32 bytes.
    """
    return hashlib.sha256(dialler_hello + listener_hello).digest()


def prove(
    tokens: Sequence[bytes], side: Side, transcript: bytes, exporter: bytes = b""
) -> tuple[bytes, ...]:
    """
    Make one proof for each token, in order; tokens beyond the limit are left out.

    :param tokens: The access tokens of this node.
    :param side: The side that proves.
    :param transcript: What `hash_transcript` made of this connection.
    :param exporter: The TLS exporter of the connection, empty without TLS.
    :returns: The proofs, 32 bytes each.
    """
    text = _LABEL + side.value + transcript + exporter
    return tuple(hmac.digest(token, text, hashlib.sha256) for token in tokens[:ACCESS_TOKENS_MAX])


def verify(
    tokens: Sequence[bytes],
    proofs: Iterable[bytes],
    side: Side,
    transcript: bytes,
    exporter: bytes = b"",
) -> bool:
    """
    Tell whether the other side knows one of our tokens.

    Two nodes without tokens trust each other. A token on one side only is a refusal, in both
    directions: a node that proves something expects to be proven something.

    :param tokens: The access tokens of this node.
    :param proofs: What the other side sent.
    :param side: The side that proves, not the one that verifies.
    :param transcript: What `hash_transcript` made of this connection.
    :param exporter: The TLS exporter of the connection, empty without TLS.
    :returns: Whether the peer passes.
    """
    expected = prove(tokens, side, transcript, exporter)
    # One more than anybody may send is enough to know that there are too many, and
    # bounds the work a hostile peer can cause.
    offered = tuple(proofs)[: ACCESS_TOKENS_MAX + 1]
    if not expected or not offered:
        return not expected and not offered
    if len(offered) > ACCESS_TOKENS_MAX:
        return False
    # No early exit: the time taken must not tell which token matched, or how far.
    matches = 0
    for proof in offered:
        for candidate in expected:
            matches += hmac.compare_digest(proof, candidate)
    return matches > 0
