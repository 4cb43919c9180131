"""
Passwords of which only a hash is written down, as operators of nats-server have them (bcrypt).

To compare one with what somebody shows takes a tenth of a second of a processor, which is what such
a hash is for. It is done in a thread, for a few at a time, while the reactor serves everybody else;
who waits for it is not read meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.threads import deferToThreadPool

from atbus.nats import bounds
from atbus.nats.authentication import Unproven


def is_right(shown: str, hashed: str) -> bool:
    """
    Compare a password with a hash; this takes long.

    :param shown: The password.
    :param hashed: What `atbus.node.reading_nats` took for a hash.
    """
    # An extra: whoever has no hashes needs no package.
    import bcrypt  # noqa: PLC0415

    # Each letter between the first two signs means the same to servers; not to everybody else.
    salted = f"$2b${hashed.split('$', 2)[2]}".encode()
    password = shown.encode(errors="replace")[: bounds.HASHED_BYTES]
    return bool(bcrypt.checkpw(password, salted))


class Hashes:
    """
    Compares them for one gateway.

    :param reactor: Has the threads.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._turn = DeferredSemaphore(bounds.HASHES_AT_ONCE)

    def compare(self, asked: Unproven, is_wanted: Callable[[], bool]) -> Deferred[bool]:
        """
        Find out whether somebody has shown the right password.

        :param asked: Who would that be, and what was shown.
        :param is_wanted: Tells, when it is its turn, whether anybody still waits for that.
        """

        def begin() -> Deferred[bool]:
            if not is_wanted():
                return succeed(False)
            pool = self._reactor.getThreadPool()
            hashed = asked.user.password or ""
            return deferToThreadPool(self._reactor, pool, is_right, asked.password, hashed)

        return self._turn.run(begin)
