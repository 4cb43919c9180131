"""Unix sockets: who may have a path, and what is left of it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from atbus.address import Address, Scheme
from atbus.channels import unix
from atbus.channels.interfaces import ChannelOptions, IChannelListener
from atbus.channels.unix import PATH_BYTES, PathLock, UnixScheme
from atbus.errors import ConnectFailed, ListenFailed
from atbus.handshake import bounds
from atbus.testing.recording import Reception, RecordingReceiver, error_of, frame_of
from tests.channels.sockets import SocketTests

_HOLD_LOCK = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


class UnixTests(SocketTests):
    """Listening at paths."""

    def setUp(self) -> None:
        super().setUp()
        self.path = self.directory / "bus.sock"
        self.lock_path = self.directory / "bus.sock.lock"
        self.address = Address(Scheme.UNIX, str(self.path))

    def scheme(self, overwrite: bool = False) -> UnixScheme:
        options = ChannelOptions(frame_limit=100_000, overwrite_listen_path=overwrite)
        return UnixScheme(self.reactor, options, self.timers)

    async def listen(
        self, accept: Reception | None = None, overwrite: bool = False
    ) -> IChannelListener:
        listener = await self.scheme(overwrite).listen(self.address, accept or Reception())
        self.addCleanup(listener.stop)
        return listener

    async def fails_to_listen(self) -> ListenFailed:
        return await error_of(self.listen(), ListenFailed)

    async def assert_reaches(self, reception: Reception, payload_bytes: int) -> None:
        """Dial the path, and see a frame arrive at one listener."""
        dialler = RecordingReceiver()
        channel = await self.scheme().connect(self.address, dialler)
        channel.send([frame_of(payload_bytes)])
        await reception.until(
            lambda: any(guest.frames == [frame_of(payload_bytes)] for guest in reception.receivers)
        )
        channel.close()
        await dialler.end()

    async def test_a_path_that_is_too_long(self) -> None:
        """
        A path that no socket can have is refused by its length, listening and dialing; the
        longest possible one is not.

        Scenario: B11
        """
        longest = str(self.directory / "x")
        longest += "x" * (PATH_BYTES - len(longest))
        listener = await self.scheme().listen(Address(Scheme.UNIX, longest), Reception())
        await listener.stop()
        too_long = Address(Scheme.UNIX, longest + "x")
        refused = await error_of(self.scheme().listen(too_long, Reception()), ListenFailed)
        self.assertIn("longer than 107 bytes", str(refused))
        unreached = await error_of(
            self.scheme().connect(too_long, RecordingReceiver()), ConnectFailed
        )
        self.assertIn("longer than 107 bytes", str(unreached))

    async def test_a_path_that_is_locked(self) -> None:
        """
        A second listener at a path is told that it is locked; with overwriting it takes the path
        over, and when the first one stops the second does not notice.

        Scenario: B12
        """
        first, second = Reception(), Reception()
        listener = await self.listen(first)
        refused = await self.fails_to_listen()
        self.assertEqual(refused.address, self.address)
        self.assertIn("bus.sock.lock is locked", refused.detail)
        await self.assert_reaches(first, 1)
        successor = await self.listen(second, overwrite=True)
        await self.assert_reaches(second, 2)
        await listener.stop()
        self.assertIn("is locked", (await self.fails_to_listen()).detail)
        await self.assert_reaches(second, 3)
        await successor.stop()
        self.assertEqual(list(self.directory.iterdir()), [])

    async def test_a_path_that_another_process_has(self) -> None:
        """A lock held by another process counts, and ends with that process."""
        with subprocess.Popen(  # noqa: ASYNC220 - it answers at once
            [sys.executable, "-c", _HOLD_LOCK, str(self.lock_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"locked\n")
            self.assertIn("is locked", (await self.fails_to_listen()).detail)
            process.kill()
            process.wait()
            await self.listen()

    async def test_what_a_killed_process_left(self) -> None:
        """A socket and a lock file that nobody holds are replaced."""
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(self.path))
        left.close()
        self.lock_path.touch()
        reception = Reception()
        await self.listen(reception)
        await self.assert_reaches(reception, 1)

    async def test_something_else_in_the_way(self) -> None:
        """What is not a socket is not removed; the lock is given back."""
        self.path.write_text("precious")
        self.assertIn("not a socket", (await self.fails_to_listen()).detail)
        self.assertEqual(self.path.read_text(), "precious")
        self.assertFalse(self.lock_path.exists())

    async def test_a_lock_that_leads_elsewhere(self) -> None:
        """A lock file that is a link is not followed: nobody's file is touched through it."""
        victim = self.directory / "victim"
        self.lock_path.symlink_to(victim)
        await self.fails_to_listen()
        self.assertFalse(victim.exists())

    async def test_a_directory_that_cannot_be_made(self) -> None:
        """When a file stands where a directory is needed, that is the answer."""
        (self.directory / "file").touch()
        self.address = Address(Scheme.UNIX, str(self.directory / "file" / "x.sock"))
        self.assertIn("Not a directory", (await self.fails_to_listen()).detail)

    async def test_who_comes_while_there_is_no_room(self) -> None:
        """
        No more are accepted than may begin; the others wait in the kernel, which refuses those
        that are too many for it, until it is looked whether there is room.
        """
        room, looks = 0, 0

        def local_room() -> int:
            nonlocal looks
            looks += 1
            return room - len(reception.receivers)

        self.patch(bounds, "LOCAL_BACKLOG", 3)
        self.patch(bounds, "LOCAL_LOOK_SECONDS", 0.01)
        reception, scheme = Reception(), self.scheme()
        scheme._options.local_room = local_room
        self.addCleanup((await scheme.listen(self.address, reception)).stop)
        # The kernel takes one more than it is told.
        diallers = [RecordingReceiver() for _ in range(4)]
        for each in diallers:
            await scheme.connect(self.address, each)
        await error_of(scheme.connect(self.address, RecordingReceiver()), ConnectFailed)
        while looks < 3 and not reception.receivers:
            await deferLater(self.reactor, 0.01)
        self.assertEqual(reception.receivers, [])
        for room in (3, 4):
            await reception.until(lambda: len(reception.receivers) >= room)  # noqa: B023
            self.assertEqual(len(reception.receivers), room)
        for each in diallers:
            each.channel.abort("seen enough")
        for each in reception.receivers:
            await each.end()

    async def test_modes(self) -> None:
        """Socket and lock are for their owner only, and so are directories that were missing."""
        self.address = Address(Scheme.UNIX, str(self.directory / "a" / "b" / "x.sock"))
        previous = os.umask(0)
        self.addCleanup(os.umask, previous)
        await self.listen()
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in sorted(self.directory.rglob("*"))
        }
        self.assertEqual(modes, {"a": 0o700, "b": 0o700, "x.sock": 0o600, "x.sock.lock": 0o600})

    async def test_nothing_is_left(self) -> None:
        """A listener that stops removes its socket and its lock."""
        listener = await self.listen()
        self.assertEqual(
            sorted(path.name for path in self.directory.iterdir()), ["bus.sock", "bus.sock.lock"]
        )
        await listener.stop()
        self.assertEqual(list(self.directory.iterdir()), [])

    async def test_a_relative_path(self) -> None:
        """A relative path is listened at where it leads now, and reported in full."""
        previous = Path.cwd()
        self.addCleanup(os.chdir, previous)
        os.chdir(self.directory)
        self.address = Address(Scheme.UNIX, "bus.sock")
        listener = await self.listen()
        self.assertEqual(listener.address.host, str(Path.cwd() / "bus.sock"))

    async def test_a_missing_path(self) -> None:
        """
        Dialing a path where nothing is fails, naming it.

        Scenario: D9, B15
        """
        error = await error_of(
            self.scheme().connect(self.address, RecordingReceiver()), ConnectFailed
        )
        self.assertIn(str(self.path), str(error))
        self.assertIn("No such file", error.detail)

    async def test_descriptors_that_nobody_wants(self) -> None:
        """Descriptors that nobody wants are closed, and the frames beside them read."""
        reception = Reception()
        listener = await self.listen(reception)
        dialler = RecordingReceiver()
        channel: Any = await self.scheme().connect(listener.address, dialler)
        [guest] = await reception.guests(1)
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.set_blocking(reading, False)
        channel.send_with(frame_of(100), (writing,))
        await guest.received(1)
        os.close(writing)
        # All who could write are gone.
        self.assertEqual(os.read(reading, 1), b"")
        channel.close()
        await guest.end()
        await dialler.end()

    async def test_a_stranger(self) -> None:
        """When a process of another user listens at a path, the dial fails and says so."""
        reception = Reception()
        await self.listen(reception)
        receiver = RecordingReceiver()
        with mock.patch.object(unix, "_greet_listener", _see_a_stranger):
            error = await error_of(self.scheme().connect(self.address, receiver), ConnectFailed)
        self.assertIn("belongs to user 4242", error.detail)
        self.assertEqual(receiver.calls, [])
        await reception.until(lambda: bool(reception.receivers))
        await reception.receivers[0].end()

    async def test_a_stranger_who_dials(self) -> None:
        """A process of another user that dials is not taken in."""
        reception = Reception()
        with mock.patch.object(unix, "_greet_dialler", _see_a_stranger):
            await self.listen(reception)
        receiver = RecordingReceiver()
        await self.scheme().connect(self.address, receiver)
        await receiver.end()
        self.assertEqual(reception.peers, [])


class GreetingTests(SynchronousTestCase):
    """Who is talked to at the other end of a unix socket."""

    def test_the_same_user_and_root(self) -> None:
        """The same user and root are talked to, others are not; root may dial anybody."""
        for own_uid, peer_uid, listener_is_fine, dialler_is_fine in (
            (1000, 1000, True, True),
            (1000, 0, True, True),
            (1000, 1001, False, False),
            (0, 1000, True, False),
            (0, 0, True, True),
        ):
            transport = _Transport(peer_uid)
            with mock.patch.object(os, "geteuid", return_value=own_uid):
                for greet, is_fine in (
                    (unix._greet_listener, listener_is_fine),
                    (unix._greet_dialler, dialler_is_fine),
                ):
                    if is_fine:
                        self.assertEqual(greet(transport), f"unix:pid=77,uid={peer_uid}")
                    else:
                        self.assertRaises(PermissionError, greet, transport)


class PathLockTests(SynchronousTestCase):
    """The right to listen at a path."""

    def test_release_twice(self) -> None:
        """A lock is released once; another release does no harm to the next holder."""
        path = self.mktemp()
        first = PathLock.take(path, overwrite=False)
        assert first is not None
        self.assertIsNone(PathLock.take(path, overwrite=False))
        first.release()
        self.assertFalse(first.is_held)
        second = PathLock.take(path, overwrite=False)
        assert second is not None
        first.release()
        self.assertTrue(second.is_held)
        second.release()
        self.assertFalse(Path(f"{path}.lock").exists())

    def test_a_file_removed_while_it_is_locked(self) -> None:
        """Whoever locks a file that its holder removes in between takes the new one instead."""
        path = self.mktemp()
        lock_path = Path(f"{path}.lock")
        flock = fcntl.flock
        removed: list[int] = []

        def remove_first(descriptor: int, operation: int) -> None:
            if not removed:
                removed.append(descriptor)
                lock_path.unlink()
            flock(descriptor, operation)

        with mock.patch.object(fcntl, "flock", remove_first):
            lock = PathLock.take(path, overwrite=False)
        assert lock is not None
        self.addCleanup(lock.release)
        self.assertTrue(lock.is_held)
        self.assertEqual(len(removed), 1)


class _Transport:
    """A transport whose socket knows its peer."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getHandle(self) -> _Transport:
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_SNDBUF) and value > 0

    def getsockopt(self, _level: int, _option: int, _size: int) -> bytes:
        return struct.pack("3i", 77, self._uid, 5)


def _see_a_stranger(_transport: object) -> str:
    return unix._greet(_Transport(4242), {0})
