"""
Unix sockets: ``unix://path``, also written ``pipe://path``.

A path is guarded by a lock file beside it, ``<path>.lock``:

1. Whoever listens holds an exclusive ``flock`` on the lock file; the kernel drops it with the
   process, so what a killed process leaves behind stops nobody.
2. The lock counts only while the file that is locked is the one at the path: a released lock
   removes its file, and whoever waited on the removed one tries again.
3. A socket left behind is unlinked only by the holder of the lock, and only if it is a socket.
4. Taking a path over (`ChannelOptions.overwrite_listen_path`) removes the lock file and makes a new
   one. The former holder notices by 2 and leaves the path alone when it stops.

The socket has mode 0600, directories that are missing are made with 0700, and the kernel is asked
who is at the other end: only the same user and root are talked to. Abstract names, which have no
mode, are not used.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from array import array
from pathlib import Path
from typing import Any, Final

import attrs
from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from atbus.address import Address
from atbus.channels.accepting import say_seldom
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.channels.stream import DESCRIPTORS_MAX, StreamFactory, dial
from atbus.errors import ConnectFailed, ListenFailed
from atbus.handshake import bounds

#: What fits ``sockaddr_un``, without the zero at the end.
PATH_BYTES: Final = 107

# A unix socket does not grow its buffer as TCP does: at the usual 208 KiB a large message takes
# several turns on both sides.
_SEND_BUFFER_BYTES: Final = 1024 * 1024
_CREDENTIALS: Final = struct.Struct("3i")
# The kernel closes descriptors that come and have no room.
_BESIDE_BYTES: Final = socket.CMSG_SPACE(DESCRIPTORS_MAX * struct.calcsize("i"))


@implementer(IChannelScheme)
@attrs.frozen(eq=False)
class UnixScheme:
    """
    Listen and dial over unix sockets.

    :param reactor: For sockets.
    :param options: The node's options.
    :param timers: The node's timers.
    """

    _reactor: Any
    _options: ChannelOptions
    _timers: IReactorTime

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Lock a path and listen at it.

        :param address: A relative path is made absolute.
        :param accept: Called for each connection that comes in.
        :returns: As `IChannelScheme.listen` promises.
        """
        try:
            return succeed(self._listen(address, accept))
        except OSError as error:
            failed = ListenFailed(address, error.strerror or str(error))
            failed.__cause__ = error
            return fail(failed)
        except CannotListenError as error:
            failed = ListenFailed(address, str(error.socketError))
            failed.__cause__ = error
            return fail(failed)
        except ListenFailed as error:
            return fail(error)

    def _listen(self, address: Address, accept: Accept) -> IChannelListener:
        path = os.path.abspath(address.host)  # noqa: PTH100 - resolving links is not asked for
        if len(os.fsencode(path)) > PATH_BYTES:
            raise ListenFailed(address, f"the path is longer than {PATH_BYTES} bytes")
        _make_directories(Path(path).parent)
        lock = PathLock.take(path, overwrite=self._options.overwrite_listen_path)
        if lock is None:
            raise ListenFailed(address, f"{path}.lock is locked: somebody listens there")
        try:
            _remove_socket(path)
            factory = self._factory(attrs.evolve(address, host=path), accept, dialled=False)
            port: Any = _Port(
                os.fsencode(path), factory, bounds.LOCAL_BACKLOG, 0o600, self._reactor
            )
            port.paced_by(self._options, self._timers)
            say_seldom(port, self._timers)
            port.startListening()
        except BaseException:
            lock.release()
            raise
        return UnixListener(factory.address, port, lock)

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Dial a path.

        :param address: Where the other side listens.
        :param receiver: The receiver of the new channel.
        :param timeout_seconds: How long to try; `None` for the options' value.
        :returns: As `IChannelScheme.connect` promises.
        """
        if len(os.fsencode(address.host)) > PATH_BYTES:
            return fail(ConnectFailed(address, f"the path is longer than {PATH_BYTES} bytes"))
        if timeout_seconds is None:
            timeout_seconds = self._options.connect_timeout_seconds
        factory = self._factory(address, lambda _peer: receiver, dialled=True)
        # The endpoint's own timer runs on the reactor's clock, which may be stepped; `dial` has
        # the one that counts.
        endpoint = UNIXClientEndpoint(
            _Dialer(self._reactor), address.host, timeout=timeout_seconds * 2
        )
        return dial(endpoint, factory, timeout_seconds)

    def _factory(self, address: Address, accept: Accept, *, dialled: bool) -> StreamFactory:
        return StreamFactory(
            address,
            accept,
            greet=_greet_listener if dialled else _greet_dialler,
            dialled=dialled,
            options=self._options,
            timers=self._timers,
        )


@implementer(IChannelListener)
@attrs.define(eq=False)
class UnixListener:
    """
    A listening unix socket and the lock on its path.

    :param address: The real address, with an absolute path.
    :param port: What listens there.
    :param lock: The lock.
    """

    address: Address
    _port: _Port
    _lock: PathLock

    def stop(self) -> Deferred[None]:
        """
        Stop listening, and remove what was made at the path unless somebody has taken it over.

        :returns: Fires when the path is free again.
        """
        stopped: Deferred[None] = Deferred.fromCoroutine(self._stop())
        return stopped

    async def _stop(self) -> None:
        # At once, for there may be no reactor that runs: a daemon that fails at its start ends
        # before. What still waits at the removed socket cannot be in anybody's way.
        if self._lock.is_held:
            _remove_socket(self.address.host)
        self._lock.release()
        await maybeDeferred(self._port.stopListening)


def _read(transport: Any) -> Any:
    """
    Read as a unix transport of Twisted does, with room for as many descriptors as are kept.

    Twisted's own has room for a thousand, which costs a tenth of what a lone message costs.
    """
    try:
        data, beside, _flags, _address = transport.socket.recvmsg(
            transport.bufferSize, _BESIDE_BYTES
        )
    except BlockingIOError:
        return None
    except OSError:
        return CONNECTION_LOST
    for level, kind, raw in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors = array("i")
            descriptors.frombytes(raw[: len(raw) - len(raw) % descriptors.itemsize])
            for descriptor in descriptors:
                transport.protocol.fileDescriptorReceived(descriptor)
    if not data:
        return CONNECTION_DONE
    transport.protocol.dataReceived(data)
    return None


class _Server(unix.Server):
    """A connection that came in."""

    doRead = _read


class _Client(unix.Client):
    """A connection that we dialled."""

    doRead = _read


class _Connector(unix.Connector):
    """Dials with transports of ours."""

    def _makeTransport(self) -> Any:  # Twisted's name
        make: Any = _Client
        return make(self.address, self, self.reactor, self.checkPID)


@attrs.frozen(eq=False)
class _Dialer:
    """The part of a reactor that an endpoint needs to dial a path."""

    _reactor: Any

    def connectUNIX(
        self, address: str, factory: Any, timeout: float, checkPID: int = 0
    ) -> _Connector:
        make: Any = _Connector
        connector: _Connector = make(address, factory, timeout, self._reactor, checkPID)
        connector.connect()
        return connector


class _Port(unix.Port):
    """A port that leaves its path alone: only the lock knows whether it is still ours."""

    transport = _Server
    _options: ChannelOptions
    _timers: IReactorTime
    _waiting: IDelayedCall | None = None

    def paced_by(self, options: ChannelOptions, timers: IReactorTime) -> None:
        """Accept no more than may begin; who comes then waits in the kernel."""
        self._options, self._timers = options, timers

    def doRead(self) -> None:
        room = self._options.local_room()
        if room < 1:
            self.stopReading()
            self._waiting = self._timers.callLater(bounds.LOCAL_LOOK_SECONDS, self._go_on)
            return
        self.numberAccepts = min(self.numberAccepts, room)
        tcp.Port.doRead(self)

    def _go_on(self) -> None:
        self._waiting = None
        start: Any = self.startReading
        start()

    def stopReading(self) -> None:  # noqa: N802  # Twisted's name
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        tcp.Port.stopReading(self)

    def connectionLost(self, reason: Failure) -> None:
        tcp.Port.connectionLost(self, reason)


@attrs.define(eq=False)
class PathLock:
    """
    The exclusive right to listen at a path.

    :param path: The lock file.
    :param descriptor: The open and locked file; -1 when released.
    """

    path: str
    _descriptor: int

    @classmethod
    def take(cls, listen_path: str, *, overwrite: bool) -> PathLock | None:
        """
        Lock a path, without waiting.

        :param listen_path: Where somebody wants to listen.
        :param overwrite: Take the lock also from a living holder.
        :returns: The lock; `None` when somebody else holds it.
        :raises OSError: When the lock file cannot be made.
        """
        path = f"{listen_path}.lock"
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = cls(path, os.open(path, flags, 0o600))
            try:
                fcntl.flock(lock._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock._descriptor)
                if not overwrite:
                    return None
                Path(path).unlink(missing_ok=True)
                continue
            if lock.is_held:
                return lock
            # The former holder removed the file between our opening and locking it.
            os.close(lock._descriptor)

    @property
    def is_held(self) -> bool:
        """Whether the locked file is still the one at the path."""
        if self._descriptor < 0:
            return False
        try:
            there = Path(self.path).lstat()
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(self._descriptor), there)

    def release(self) -> None:
        """Give the path back; does no harm when it was released before."""
        if self._descriptor < 0:
            return
        # While it is still locked: nobody else can hold the file that is removed here.
        if self.is_held:
            Path(self.path).unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1


def _make_directories(directory: Path) -> None:
    # Path.mkdir(parents=True) gives its mode to the last one only.
    if not directory.exists():
        _make_directories(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _remove_socket(path: str) -> None:
    try:
        mode = Path(path).lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "something that is not a socket is in the way")
    Path(path).unlink(missing_ok=True)


def _greet_dialler(transport: Any) -> str:
    return _greet(transport, {0, os.geteuid()})


def _greet_listener(transport: Any) -> str:
    # Root may look after anybody's node.
    return _greet(transport, None if os.geteuid() == 0 else {0, os.geteuid()})


def _greet(transport: Any, uids: set[int] | None) -> str:
    sock = transport.getHandle()
    # The kernel grants what the system allows, and says nothing when that is less.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(raw)
    if uids is not None and uid not in uids:
        raise PermissionError(f"process {pid} at the other end belongs to user {uid}")
    return f"unix:pid={pid},uid={uid}"
