"""
The subjects of accounts, as they are on the bus.

An account has a part of the subjects of the bus to itself: its users write ``orders.new`` and the
bus ``$ATBUS.accounts.shop.orders.new``. A client without an account uses the subjects of the bus,
but for those that begin with ``$ATBUS``, which belong to gateways and accounts.
"""

from __future__ import annotations

from typing import Final

from atbus.errors import SubjectError
from atbus.nats import bounds
from atbus.subjects.pattern import OWN_SUBJECTS, inbox_owner

#: What ``/connz`` and ``/subsz`` call the account of those who have none.
NO_ACCOUNT: Final = "$G"


class Names:
    """
    How subjects of some clients are called on the bus.

    :param account: Their account; empty for none.
    """

    def __init__(self, account: str = "") -> None:
        self.account = account
        #: What stands before each subject of the account; empty for none.
        self.prefix = f"{OWN_SUBJECTS}.accounts.{account}." if account else ""
        self._known: dict[bytes, str] = {}

    def read(self, raw: bytes) -> str:
        """
        Give the name on the bus of what a client publishes on.

        :param raw: As it wrote it.
        :raises SubjectError: It belongs to gateways and accounts.
        :raises UnicodeDecodeError: It is no text.
        """
        known = self._known.get(raw)
        if known is not None:
            return known
        name = self.on_bus(raw.decode())
        if len(self._known) >= bounds.SUBJECTS_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[raw] = name
        return name

    def on_bus(self, subject: str) -> str:
        """
        Give the name on the bus of what a client publishes on, or wants answers on.

        :param subject: Its own name for it.
        :raises SubjectError: It belongs to gateways and accounts.
        """
        if self.prefix:
            # A node that asks the account awaits its answers outside of it.
            return subject if inbox_owner(subject) else self.prefix + subject
        if subject.startswith(OWN_SUBJECTS) and subject.partition(".")[0] == OWN_SUBJECTS:
            raise SubjectError(subject, "it belongs to gateways and accounts")
        return subject

    def for_client(self, subject: str) -> str:
        """Give the client's name of a subject of the bus."""
        return subject.removeprefix(self.prefix)
