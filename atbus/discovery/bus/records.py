"""
What nodes say of themselves on a bus; see `atbus.discovery.records`.

In sync means: every neighbor has told all that it knew when it was asked, and is still there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from atbus.discovery.bus.board import PREFIX, Board
from atbus.discovery.documents import Kind
from atbus.discovery.interfaces import IRecordReceiver, IRecordWatcher
from atbus.discovery.records import Directory, Entry
from atbus.errors import LocalProtocolError
from atbus.routing.offers import Posted


@implementer(IRecordWatcher)
class BusRecordWatcher:
    """
    Watches the nodes of a bus; see `IRecordWatcher`.

    :param board: Where.
    :param timers: The clock.
    :param with_records: Whether records are told as well; a node knows them from its route table.
    """

    _log = Logger(namespace="atbus.discovery.bus")

    def __init__(self, board: Board, timers: IReactorTime, *, with_records: bool = True) -> None:
        self.is_in_sync = False
        self._board = board
        self._timers = timers
        self._folders = tuple(
            f"{PREFIX}{kind.value}/" for kind in Kind if with_records or kind is Kind.SERVICE
        )
        self._directory = Directory(PREFIX, self._refused)
        self._receiver: IRecordReceiver | None = None
        self._due: deque[Posted] = deque()
        self._call: IDelayedCall | None = None
        self._ends: list[Callable[[], None]] = []

    @property
    def refused_count(self) -> int:
        """How often something was found that cannot be used."""
        return self._directory.refused_count

    def start(self, receiver: IRecordReceiver) -> None:
        """Begin to tell; see `IRecordWatcher`."""
        if self._receiver is not None:
            raise LocalProtocolError("the records are watched already")
        self._receiver = receiver
        self._ends = [
            self._board.posted.add(self._posted),
            self._board.completed.add(self._look_soon),
        ]
        self._posted(self._board.everything())

    def stop(self) -> Deferred[None]:
        """Tell nothing more; see `IRecordWatcher`."""
        self.is_in_sync = False
        self._receiver = None
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        self._due.clear()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        return succeed(None)

    def _posted(self, news: Sequence[Posted]) -> None:
        self._due.extend(one for one in news if one.key.startswith(self._folders))
        self._look_soon()

    def _look_soon(self) -> None:
        """Tell in a turn of our own: whoever writes must not be called back before that is done."""
        if self._call is None:
            self._call = self._timers.callLater(0, self._look)

    def _look(self) -> None:
        self._call = None
        entries = [Entry(one.key.encode(), one.value, one.version) for one in self._due]
        self._due.clear()
        changes = self._directory.changed(entries)
        if changes:
            self._tell(lambda receiver: receiver.discovered(changes))
        if self.is_in_sync != self._board.is_complete:
            self.is_in_sync = self._board.is_complete
            if self.is_in_sync:
                self._tell(lambda receiver: receiver.in_sync())
            else:
                self._tell(lambda receiver: receiver.out_of_sync("a neighbor is not connected"))

    def _refused(self, key: str, fault: str) -> None:
        self._tell(lambda receiver: receiver.refused(key, fault))

    def _tell(self, tell: Callable[[IRecordReceiver], None]) -> None:
        if self._receiver is None:
            return
        try:
            tell(self._receiver)
        except Exception:  # noqa: BLE001 - the receiver's; the next news are told all the same
            self._log.failure("a receiver of records failed")
