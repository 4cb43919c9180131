"""How streams end badly, as Twisted's programs expect it."""

from __future__ import annotations

from twisted.internet.error import ConnectError, ConnectionLost

from atbus.errors import Status


class StreamLost(ConnectionLost):
    """
    A stream was reset.

    :param status: Why.
    :param detail: The same in words.
    """

    def __init__(self, status: Status, detail: str = "") -> None:
        super().__init__(f"{status.name}: {detail}" if detail else status.name)
        self.status = status
        self.detail = detail


class StreamRefused(ConnectError):
    """
    A stream was not opened.

    :param status: Why.
    :param detail: The same in words.
    """

    def __init__(self, status: Status, detail: str = "") -> None:
        reason = f"{status.name}: {detail}" if detail else status.name
        super().__init__(None, reason)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.status = status
        self.detail = detail
