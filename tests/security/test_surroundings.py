"""Attacks by way of what is around a node: files, sockets, shared memory, logs, registries."""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import json
import os
import signal
import socket
import stat
import struct
import zlib
from pathlib import Path
from ssl import PEM_cert_to_DER_cert
from typing import cast
from unittest import mock

import attrs
from cryptography import x509
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import Address, Scheme
from atbus.channels import lane, unix
from atbus.channels.bell import Bell, Rope
from atbus.channels.credentials import read_certificate
from atbus.channels.incoming_lane import IncomingLane
from atbus.channels.interfaces import ChannelOptions
from atbus.channels.lane import HEADER_BYTES, record_max_of
from atbus.channels.lane_channel import Fence
from atbus.channels.lane_reader import make_lane
from atbus.channels.lane_writer import join_lane
from atbus.channels.outgoing_lane import OutgoingLane
from atbus.channels.tls_files import anchor_of
from atbus.channels.unix import UnixScheme
from atbus.discovery import bounds, documents
from atbus.errors import AtbusError, MalformedFrame, Status, printable
from atbus.nats.settings import TlsSettings
from atbus.nats.tls import listener_contexts
from atbus.node.config import NodeConfig
from atbus.node.journal import Journal
from atbus.node.toml import dump, plain_values
from atbus.routing.record import Record
from atbus.testing.lanes import read_damaged
from atbus.testing.recording import Reception
from tests.channels.certificates import DAY, Files
from tests.channels.sockets import SocketTests
from tests.house import repository
from tests.node.bus import BusTests

CANARY = "kanarienvogel"
PATIENCE_SECONDS = 60

#: Modules, and functions, that make code or objects of what they read.
UNPICKLERS = (
    *("pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib"),
    *("yaml", "multiprocessing", "concurrent.futures", "xmlrpc", "logging.config"),
    *("twisted.spread", "twisted.persisted", "eval()", "exec()", "compile()", "__import__()"),
)


def is_in(name: str, module: str) -> bool:
    """Tell whether something is a module, or in it."""
    return name == module or name.startswith(f"{module}.")


class UnfinishedTests(SynchronousTestCase):
    def test_security_unfinished_files(self) -> None:
        """While a file is being written nobody who is revoked comes back, and none is cut off."""
        folder = Path(self.mktemp())
        folder.mkdir()
        files, lists = Files(folder), folder / "revoked.pem"
        other = files.new_authority("other")
        believed = folder / "authority.pem"
        believed.write_bytes(believed.read_bytes() + other.certificate)
        theirs = files.issue(authority=other)
        peer = read_certificate(PEM_cert_to_DER_cert(theirs.certificate.decode()), "test")
        [anchor] = x509.load_pem_x509_certificates(other.certificate)
        peer = attrs.evolve(peer, anchor=anchor_of(anchor))
        lists.write_bytes(
            files.authority.revoke([], DAY) + other.revoke([theirs.certificate], DAY)
        )
        credentials = files.credentials(revoked=str(lists))
        for path in (lists, believed):
            path.write_bytes(path.read_bytes()[:-20])
            self.assertFalse(credentials.refresh())
            self.assertTrue(credentials.faults)
            self.assertTrue(credentials.is_revoked(peer))
            self.assertTrue(credentials.is_believed(peer))

    def test_security_worse_certificate_of_gateway(self) -> None:
        """
        A certificate that every client refuses does not take the place of a good one, and does not
        keep in an authority of clients that is believed no more.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        files = Files(folder)
        own = files.options()
        settings = TlsSettings(
            certificate_file=own.certificate,
            key_file=own.key,
            ca_file=own.authorities,
            verify=True,
        )
        latest = listener_contexts(settings)
        good = latest.get().certificate.to_cryptography()
        expired, other = files.issue(lifetime=-DAY), files.new_authority("other")
        for path, text in (
            (own.certificate, expired.certificate),
            (own.key, expired.key),
            (own.authorities, other.certificate),
        ):
            Path(path).write_bytes(text)
        made = latest.get()
        self.assertEqual(made.certificate.to_cryptography(), good)
        [believed] = made.trustRoot._caCerts
        [authority] = x509.load_pem_x509_certificates(other.certificate)
        self.assertEqual(believed.to_cryptography(), authority)


class LaneTests(SynchronousTestCase):
    def test_security_shared_memory(self) -> None:
        """Whatever a writer does to its lane, the reader gives whole frames or ends it."""
        counted = read_damaged(11, 5000)
        self.assertGreater(sum(counted.values()), 0)
        # A length is looked at even if its check is right.
        for size, unread in ((0, 64), (57, 64), (513, 1024), (2**32 - 1, 1024)):
            memory = bytearray(HEADER_BYTES + 1024)
            reader = make_lane(memoryview(memory), bytes(16))
            join_lane(memoryview(memory), record_max_of(1024)).write([])
            self.assertEqual(reader.read(1024), [])
            place = int.from_bytes(memory[64:72], "little")
            memory[64:72] = (place + unread).to_bytes(8, "little")
            check = zlib.crc32(bytes(min(size, lane.CHECKED_HEAD)), place + size & 0xFFFF_FFFF)
            struct.pack_into("=II", memory, HEADER_BYTES + place, size, check)
            self.assertRaises(MalformedFrame, reader.read, 1024)
        # So is an index, even if the record that it leads to is good.
        for beyond in (1024 + 8, -8, 2**63):
            memory = bytearray(HEADER_BYTES + 1024)
            reader = make_lane(memoryview(memory), bytes(16))
            writer = join_lane(memoryview(memory), record_max_of(1024))
            reader.read(1024)
            writer.write([b"x" * 56])
            place = int.from_bytes(memory[64:72], "little") - 64
            memory[64:72] = (place + beyond).to_bytes(8, "little")
            self.assertRaises(MalformedFrame, reader.read, 64)

    def test_security_doorbells(self) -> None:
        """
        A reader that fills its doorbell, and makes it one at which its writer would wait, does not
        hold the writer up; nor does one that hands over something else, or goes.
        """
        bell = Bell()
        ours = Rope(os.dup(bell.rope))
        with socket.socket(fileno=os.dup(bell.rope)) as theirs:
            theirs.setblocking(False)
            for _ in range(100_000):
                try:
                    theirs.send(b"x")
                except BlockingIOError:
                    break
            else:
                self.fail("this bell cannot be filled")
            # The flag belongs to what both of them hold.
            theirs.setblocking(True)
            self.assertTrue(os.get_blocking(ours._socket.fileno()))

            def waits(*_: object) -> None:
                raise AssertionError("the writer waits for its reader")

            before = signal.signal(signal.SIGALRM, waits)
            self.addCleanup(signal.signal, signal.SIGALRM, before)
            signal.alarm(PATIENCE_SECONDS)
            try:
                ours.ring()
            finally:
                signal.alarm(0)
        self.assertTrue(bell.answer())
        bell.close()
        ours.ring()
        ours.close()
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        stream, other = socket.socketpair()
        self.addCleanup(other.close)
        # One that is connected as a bell is, and one that is not.
        sockets = (stream.detach(), socket.socket().detach())
        for descriptor in (os.eventfd(0), writing, *sockets):
            self.assertRaises(MalformedFrame, Rope, descriptor)
            self.assertRaises(OSError, os.close, descriptor)


class LaneMemoryTests(SocketTests):
    async def test_security_lane_memory(self) -> None:
        """
        Neither side of a lane can take the other's memory away under its feet: who makes a lane
        seals it, and who is offered one that is not sealed refuses it.
        """
        fence = Fence()
        self.addCleanup(fence.close)
        place, size = Address(Scheme.SHM, "reader"), limits.LANE_BYTES
        made = IncomingLane(self.reactor, place, "writer", self.timers, fence, size)
        memory, bell = made.descriptors
        for size_bytes in (size // 2, size * 2):
            self.assertRaises(PermissionError, os.ftruncate, memory, size_bytes)
        self.assertRaises(PermissionError, fcntl.fcntl, memory, fcntl.F_ADD_SEALS, 0)
        sealed = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        for missing in (fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_SEAL, sealed):
            other = os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            # All else is as it should be.
            os.write(other, os.pread(memory, size, 0))
            fcntl.fcntl(other, fcntl.F_ADD_SEALS, sealed & ~missing)
            error: MalformedFrame = self.assertRaises(
                MalformedFrame, self.take, fence, (other, os.dup(bell)), made
            )
            self.assertIn("memory that is not sealed", str(error))
        made.abort("the test is over")

    def take(self, fence: Fence, descriptors: tuple[int, int], made: IncomingLane) -> OutgoingLane:
        """Take the writing end of what is offered."""
        return OutgoingLane(
            made.address,
            "reader",
            self.timers,
            ChannelOptions(),
            fence,
            descriptors,
            size_bytes=made.size_bytes,
            record_max=made.record_max,
        )


class ProcessTests(SynchronousTestCase):
    def test_security_pickles(self) -> None:
        """
        Nothing that is read becomes code: no pickle, no marshal, no eval, no exec, and nothing that
        unpickles what another process says. Only the fuzzer has such processes: its own.
        """
        found: set[tuple[str, str]] = set()
        for path in repository.python_files("atbus", "twisted"):
            for node in ast.walk(repository.parse(path)):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    names = [f"{node.func.id}()"]
                bad = [each for each in UNPICKLERS if any(is_in(name, each) for name in names)]
                found.update((repository.name(path), each) for each in bad)
        self.assertEqual(found, {("atbus/testing/fuzz.py", "concurrent.futures")})

    def test_security_admin_page(self) -> None:
        """There is no page that could be asked over HTTP, and nothing listens for one."""
        self.assertIsNone(importlib.util.find_spec("atbus.web"))

    def test_security_secrets(self) -> None:
        """No token is in what a configuration, or an error about it, shows."""
        config = NodeConfig(
            id=1,
            access_tokens=[CANARY],
            etcd={"endpoints": ["http://127.0.0.1:1"], "user": "u", "password": CANARY},
            application="a:b",
            application_settings={"password": CANARY, "inner": {"api_key": CANARY}},
        )
        for shown in (repr(config.etcd), repr(config.application_settings)):
            self.assertNotIn(CANARY, shown)
        for shown in (repr(config), dump(config), json.dumps(plain_values(config)), str(config)):
            self.assertNotIn(CANARY, shown)
        error = self.assertRaises(AtbusError, NodeConfig, id=1, access_tokens=[CANARY * 200])
        self.assertNotIn(CANARY, str(error))


class LogTests(BusTests):
    def test_security_log_injection(self) -> None:
        """
        What others say is written on one line, without anything that moves a cursor: by whoever
        makes a text of it, and by the log itself, whatever is told of it.
        """
        root = self.root()
        self.network.start(root)
        events: list[LogEvent] = []
        log = Logger(namespace="test", observer=cast("ILogObserver", events.append))
        journal = Journal(root, self.network.process_of(root), log)
        self.addCleanup(journal.close)
        for text in ("a\nb", "a\r\nERROR root", "\x1b[2J", "\x9b31m", "a\u2028b", "\x00"):
            self.assertTrue(printable(text).isprintable(), text)
            self.assertEqual(printable(text).splitlines(), [printable(text)])
            del events[:]
            journal.write("test", f"hears {text}")
            # What a program or a part of ours tells, without having looked at what it is.
            root.events.on_error(Status.ACCESS_DENIED, text)
            root.events.on_lag(1.0, text)
            lines = [formatEvent(event) for event in events]
            self.assertEqual(len(lines), 3)
            for line in lines:
                self.assertTrue(line.isprintable(), line)
                self.assertIn(printable(text), line)


class RegistryTests(SynchronousTestCase):
    def test_security_registry_values(self) -> None:
        """Whatever stands in a registry is read as a record of the id in its key, or refused."""
        key = documents.read_key("/", documents.topology_key("/", 5))
        deep = b"[" * 100_000
        for value in (
            b"",
            b"{}",
            b"[]",
            b"null",
            b"\xff\xfe",
            deep,
            b'{"id": "0x6"}',
            b'{"id": 5, "labels": {"a": ["b"]}}',
            b'{"identity": ' + b"9" * 10_000 + b"}",
            b"x" * 1_000_000,
        ):
            self.assertRaises(documents.DocumentError, documents.read_record, key, value)
        good = documents.write_record(Record(bus_id=5), documents.Author("a"))
        self.assertEqual(documents.read_record(key, good).bus_id, 5)
        for change in (
            {"id": "0x0000000000000006"},
            {"labels": {"a": ["b"]}},
            {"addresses": [5]},
            {"epoch": True},
            {"more": "x" * bounds.REGISTRY_VALUE_BYTES},
        ):
            bad = json.dumps(json.loads(good) | change).encode()
            self.assertRaises(documents.DocumentError, documents.read_record, key, bad)
        for name in (b"/elsewhere/5", b"", b"\xff", b"/topology/x"):
            self.assertRaises(documents.DocumentError, documents.read_key, "/a", name)


class UnixTests(SocketTests):
    async def test_security_unix_sockets(self) -> None:
        """A socket is its user's alone, and who is at the other end is asked of the kernel."""
        path = self.directory / "bus.sock"
        scheme = UnixScheme(self.reactor, ChannelOptions(), self.timers)
        listener = await scheme.listen(Address(Scheme.UNIX, str(path)), Reception())
        self.addCleanup(listener.stop)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        transport = mock.Mock()
        credentials = unix._CREDENTIALS.pack(77, 1001, 1001)
        transport.getHandle.return_value.getsockopt.return_value = credentials
        with mock.patch.object(os, "geteuid", return_value=1000):
            self.assertRaises(PermissionError, unix._greet_listener, transport)
            self.assertRaises(PermissionError, unix._greet_dialler, transport)
