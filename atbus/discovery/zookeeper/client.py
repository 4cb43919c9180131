"""
kazoo, and nobody else imports it.

Its threads run nothing of ours but what hands over what they have brought: states, answers and
notices all go through one `Crossing`. kazoo's own types and errors end here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, Final, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionLoss,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    OperationTimeoutError,
    SessionExpiredError,
    SessionMovedError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KazooState, KeeperState, WatchedEvent, ZnodeStat
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from atbus.discovery.bounds import REGISTRY_REQUEST_SECONDS
from atbus.discovery.zookeeper.bounds import RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN
from atbus.discovery.zookeeper.crossing import Crossing
from atbus.discovery.zookeeper.faults import (
    Cause,
    ZooKeeperClosed,
    ZooKeeperRefused,
    ZooKeeperUnreachable,
)
from atbus.discovery.zookeeper.options import Access, Login, SessionOptions
from atbus.discovery.zookeeper.states import (
    Connected,
    Expired,
    Lost,
    SessionNews,
    Stat,
    Suspended,
)
from atbus.errors import DiscoveryError, printable

T = TypeVar("T")

_ACCESS: Final[dict[Access, list[Any]]] = {
    Access.OPEN: OPEN_ACL_UNSAFE,
    Access.READ: [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE],
    Access.PRIVATE: CREATOR_ALL_ACL,
}

_CAUSES: Final = (
    (NoNodeError, Cause.NOTHING),
    (NodeExistsError, Cause.TAKEN),
    (BadVersionError, Cause.CHANGED),
    (NoAuthError, Cause.DENIED),
    (AuthFailedError, Cause.DENIED),
)

# The request may have been done: whoever was there is there no more.
_AWAY: Final = (ConnectionLoss, SessionExpiredError, SessionMovedError, OperationTimeoutError)


class _LastWords(logging.Handler):
    """
    Keep what kazoo has complained of last: it says nowhere else why a connection has ended.

    Its other messages are not let through: they contain passwords.

    :param told: Called with each complaint that is not the same as the last one, in a thread of
        kazoo's.
    """

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.text = ""
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one, unless it only says what is done about it."""
        text = printable(record.getMessage())
        if not text.startswith("Transition") and text != self.text:
            self.text = text
            self._told(text)


class _Impatient(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo is not typed
    """
    Wait for one server no longer than others have to be asked as well.

    kazoo would wait for a first answer as long as the session lives, and lose it: a server that is
    frozen gives none, nor does one that was asked while it started.
    """

    def create_connection(self, *args: Any, **more: Any) -> Any:
        """Connect to a server."""
        more["timeout"] = min(more["timeout"], REGISTRY_REQUEST_SECONDS)
        return super().create_connection(*args, **more)

    def select(self, readers: Any, writers: Any, faulty: Any, seconds: float) -> Any:
        """Wait for sockets: for the server's alone, when it owes an answer or the rest of one."""
        if len(readers) == 1:
            seconds = min(seconds, REGISTRY_REQUEST_SECONDS)
        return super().select(readers, writers, faulty, seconds)


class Client:
    """
    One connection after the other, and one session after the other, as long as kazoo goes on.

    :param options: Which servers, and how.
    :param crossing: How kazoo's threads reach the reactor's.
    :param told: Called with what becomes of the session.
    :param noticed: Called with a place that was watched and has changed; once for each watch.
    """

    _log = Logger(namespace="atbus.discovery.zookeeper")

    def __init__(
        self,
        options: SessionOptions,
        crossing: Crossing,
        told: Callable[[SessionNews], None],
        noticed: Callable[[str], None],
    ) -> None:
        self._crossing = crossing
        self._told = told
        self._noticed = noticed
        self._is_stopped = False
        self._asked: set[Deferred[Any]] = set()
        self._access = _ACCESS[options.access]
        self._last_words = _LastWords(self._complained)
        self._kazoo = _client(options, self._last_words)
        self._kazoo.add_listener(self._state_changed)

    @property
    def zxid(self) -> int:
        """The last transaction that a server has told of."""
        return int(self._kazoo.last_zxid or 0)

    def start(self) -> None:
        """Begin to connect, in a thread."""
        self._kazoo.start_async()

    def stop(self) -> Deferred[None]:
        """
        End the session, and with it all that is bound to it. What was asked fails.

        :returns: Fires when kazoo's threads have ended, which takes as long as it takes to find out
            that a server does not answer; does not fail.
        """
        self._is_stopped = True
        for answer in list(self._asked):
            self._asked.discard(answer)
            answer.errback(ZooKeeperClosed("ZooKeeper: the session was closed"))
        stopped: Deferred[None] = Deferred()
        # kazoo waits for its threads here, so this is none of the reactor's pool: nobody must have
        # to wait for it, not even at the end of the process.
        Thread(target=self._stop, args=(stopped,), daemon=True).start()
        return stopped

    # What is asked.

    def create(self, place: str, value: bytes) -> Deferred[Stat]:
        """
        Write a place that lives as long as the session.

        :param place: Where.
        :param value: What.
        :returns: What is known of it then; fails as `replace` does.
        """
        return self._ask(
            place,
            partial(
                self._kazoo.create_async,
                place,
                value,
                acl=self._access,
                ephemeral=True,
                include_data=True,
            ),
            lambda answer: _stat(answer[1]),
        )

    def replace(self, place: str, value: bytes, version: int) -> Deferred[None]:
        """
        Put a place that lives as long as our session where there is another one.

        :param place: Where.
        :param value: What.
        :param version: What the one there was seen to have.
        :returns: Fires when it is done, which is one step for everybody else. Fails with
            `ZooKeeperRefused` when a server does not want it, with `ZooKeeperUnreachable` when none
            is there, and with `ZooKeeperClosed` after `stop`.
        """

        def begin() -> Any:
            transaction = self._kazoo.transaction()
            transaction.delete(place, version)
            transaction.create(place, value, acl=self._access, ephemeral=True)
            return transaction.commit_async()

        return self._ask(place, begin, _check_all)

    def write(self, place: str, value: bytes, version: int) -> Deferred[Stat]:
        """
        Write another value to a place that is there.

        :param place: Where.
        :param value: What.
        :param version: What it was seen to have.
        :returns: What is known of it then; fails as `replace` does.
        """
        return self._ask(place, partial(self._kazoo.set_async, place, value, version), _stat)

    def delete(self, place: str, version: int) -> Deferred[None]:
        """
        Delete a place.

        :param place: Which.
        :param version: What it was seen to have.
        :returns: Fires when it is gone; fails as `replace` does.
        """
        begin = partial(self._kazoo.delete_async, place, version)
        return self._ask(place, begin, lambda _: None)

    def read(self, place: str, *, watch: bool = False) -> Deferred[tuple[bytes, Stat]]:
        """
        Read a place.

        :param place: Which.
        :param watch: Whether its next change shall be noticed.
        :returns: What stands there; fails as `replace` does, and when nothing is there.
        """
        begin = partial(self._kazoo.get_async, place, watch=self._watcher(watch))
        return self._ask(place, begin, lambda answer: (answer[0], _stat(answer[1])))

    def look(self, place: str, *, watch: bool = False) -> Deferred[Stat | None]:
        """
        See what is known of a place.

        :param place: Which.
        :param watch: Whether its next change shall be noticed; it may be that it comes into being.
        :returns: That; None when there is no such place. Fails as `replace` does.
        """
        begin = partial(self._kazoo.exists_async, place, watch=self._watcher(watch))
        return self._ask(place, begin, lambda stat: None if stat is None else _stat(stat))

    def list(self, place: str, *, watch: bool = False) -> Deferred[list[str]]:
        """
        List what is in a place.

        :param place: Which.
        :param watch: Whether it shall be noticed when something comes into it or goes.
        :returns: The names, in any order; fails as `replace` does.
        """
        begin = partial(self._kazoo.get_children_async, place, watch=self._watcher(watch))
        return self._ask(place, begin, list)

    def make_folder(self, place: str) -> Deferred[None]:
        """
        Make a place that stays, with all above it; what is there already does no harm.

        :param place: Which.
        :returns: Fires when it is there; fails as `replace` does.
        """
        begin = partial(self._kazoo.ensure_path_async, place, acl=self._access)
        return self._ask(place, begin, lambda _: None)

    def _watcher(self, is_wanted: bool) -> Callable[[WatchedEvent], None] | None:
        # Always the same one: kazoo keeps a set of them for each place.
        return self._place_changed if is_wanted else None

    def _ask(self, place: str, begin: Callable[[], Any], read: Callable[[Any], T]) -> Deferred[T]:
        """Ask, and have the answer come over."""
        if self._is_stopped:
            return fail(ZooKeeperClosed("ZooKeeper: the session was closed"))
        answer: Deferred[T] = Deferred(self._asked.discard)
        self._asked.add(answer)
        # Waking kazoo's thread is a byte in a socket's buffer, and cannot block: there are no more
        # questions under way than `READS_MAX` and a few.
        begin().rawlink(partial(self._cross, partial(self._answered, place, answer, read)))
        return answer

    # In kazoo's threads.

    def _cross(self, call: Callable[[Any], None], news: Any) -> None:
        self._crossing.put(partial(call, news))

    def _state_changed(self, _: KazooState) -> None:
        state, client_id = self._kazoo.client_state, self._kazoo.client_id
        reason = self._last_words.text
        news: SessionNews
        if client_id is not None:
            news = Connected(client_id[0])
        elif state == KeeperState.EXPIRED_SESSION:
            news = Expired()
        elif state == KeeperState.AUTH_FAILED:
            news = Lost(reason or "user or password are wrong")
        elif state == KeeperState.CLOSED:
            news = Lost(reason or "kazoo has given up")
        else:
            news = Suspended(reason or "the connection was lost")
        self._cross(self._tell, news)

    def _complained(self, text: str) -> None:
        # Of a connection that was there its end is told as a state, with these words.
        if self._kazoo.client_id is None:
            self._cross(self._tell, Suspended(text))

    def _place_changed(self, event: WatchedEvent) -> None:
        # Without a place it says that the connection was lost: that is told as a state.
        if event.path:
            self._cross(self._notice, event.path)

    def _stop(self, stopped: Deferred[None]) -> None:
        failure: Failure | None = None
        try:
            self._kazoo.stop()
            self._kazoo.close()
        except Exception:  # noqa: BLE001 - whatever it is, it is told where things are told
            failure = Failure()
        self._crossing.put(partial(self._stopped, stopped, failure))

    # In the reactor's thread.

    def _tell(self, news: SessionNews) -> None:
        if not self._is_stopped:
            self._told(news)

    def _notice(self, place: str) -> None:
        if not self._is_stopped:
            self._noticed(place)

    def _answered(
        self, place: str, answer: Deferred[T], read: Callable[[Any], T], result: Any
    ) -> None:
        if answer not in self._asked:
            return
        self._asked.discard(answer)
        try:
            if result.exception is not None:
                raise result.exception
            value = read(result.value)
        except Exception as fault:  # noqa: BLE001 - the answer may be anything
            answer.errback(_translated(place, fault))
        else:
            answer.callback(value)

    def _stopped(self, stopped: Deferred[None], failure: Failure | None) -> None:
        if failure is not None:
            self._log.warn("kazoo did not stop well: {reason}", reason=failure.getErrorMessage())
        stopped.callback(None)


def _client(options: SessionOptions, last_words: _LastWords) -> KazooClient:
    # Not in the tree of loggers, so that nobody makes it say more.
    logger = logging.Logger("kazoo", logging.WARNING)
    logger.addHandler(last_words)
    user, password, tls = options.user, options.password, options.tls
    auth: list[tuple[str, str]] = []
    sasl: dict[str, str] | None = None
    if user and options.login is Login.DIGEST:
        auth = [("digest", f"{user}:{password}")]
    elif user:
        sasl = {"mechanism": "DIGEST-MD5", "username": user, "password": password}
    return KazooClient(
        hosts=",".join(options.servers),
        timeout=options.session_seconds,
        handler=_Impatient(),
        auth_data=auth,
        sasl_options=sasl,
        connection_retry={
            "max_tries": -1,
            "delay": RECONNECT_SECONDS_MIN,
            "backoff": 2,
            "max_delay": RECONNECT_SECONDS_MAX,
        },
        use_ssl=bool(tls.ca_file),
        ca=tls.ca_file or None,
        certfile=tls.certificate_file or None,
        keyfile=tls.key_file or tls.certificate_file or None,
        check_hostname=True,
        logger=logger,
    )


def _stat(stat: ZnodeStat) -> Stat:
    return Stat(
        created=stat.czxid,
        modified=stat.mzxid,
        version=stat.version,
        owner=stat.ephemeralOwner,
        places=stat.numChildren,
    )


def _check_all(results: list[Any]) -> None:
    """Look at what became of the parts of a transaction; none was done if one was refused."""
    faults = [result for result in results if isinstance(result, Exception)]
    known = [fault for fault in faults if isinstance(fault, tuple(kind for kind, _ in _CAUSES))]
    if faults:
        raise (known or faults)[0]


def _translated(place: str, fault: Exception) -> DiscoveryError:
    words = f"{type(fault).__name__} {fault}".strip()
    detail = f"ZooKeeper: {printable(place)}: {printable(words)}"
    if isinstance(fault, _AWAY):
        made: DiscoveryError = ZooKeeperUnreachable(detail)
    else:
        causes = [cause for kind, cause in _CAUSES if isinstance(fault, kind)]
        made = ZooKeeperRefused(detail, cause=(causes or [Cause.OTHER])[0])
    made.__cause__ = fault
    return made
