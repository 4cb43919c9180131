"""What is said first, and to whom: one table of doors at real nats-servers and at a gateway."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from atbus.nats.nkeys import Kind
from tests.channels.certificates import Files
from tests.interop.nats_server import BINARY, NEWER_BINARY, NatsServer, require_nats_server
from tests.interop.test_nats_monitor import asks
from tests.nats.signing import Key
from tests.nats.sockets import PATIENCE_SECONDS, SocketCase
from tests.nats.transcripts import EOF

HELLO: Final = b'CONNECT {"verbose":false}\r\nPING\r\n'
LOGIN: Final = b'CONNECT {"verbose":false,"user":"u","pass":"%b","auth_token":"t"}\r\nPING\r\n'
#: What INFO says of a server alone, and what is drawn.
OWN: Final = frozenset({"server_id", "server_name", "version", "go", "git_commit", "port"})
OWN_TOO: Final = frozenset({"client_id", "xkey", "api_lvl"})
#: How long somebody may take who is silent.
SOON: Final = 0.3
#: Each door, as a server has it and as a gateway; and whether only the newer servers know it.
_LOGINS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "a user": ({"user": "u", "password": "p"}, {"user": "u", "password": "p"}),
    "a token": ({"token": "t"}, {"token": "t"}),
    "a key": (
        {"users": [{"nkey": Key(Kind.USER).text}]},
        {"nkeys": [{"nkey": Key(Kind.USER).text}]},
    ),
}
_FIRST: Final[dict[str, dict[str, Any]]] = {
    "TLS": {},
    "TLS of both sides": {"verify": True},
    "TLS, or not": {"optional": True},
    "TLS first": {"first": True},
    "TLS first, or not": {"first": True, "optional": True},
    "TLS first, if they like": {"first": "auto"},
    "TLS first, soon": {"first": "100ms"},
    "TLS first, later": {"first": "10s"},
}


class Guest:
    """
    Somebody who comes to a door, in a thread.

    :param port: The door.
    """

    def __init__(self, port: int, files: Any) -> None:
        self._socket: Any = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self._files = files
        self.story: list[Any] = []

    def says(self, data: bytes) -> None:
        """Send."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.story.append(EOF)

    def hears(self, mark: bytes, *, minds_resets: bool = False) -> None:
        """Read until there is a mark, or the end."""
        heard = b""
        while mark not in heard and not heard.endswith(EOF):
            try:
                heard += self._socket.recv(65536) or EOF
            except (ConnectionError, ssl.SSLError) as fault:
                # Who closes before it has read everything resets the connection.
                is_plain = minds_resets and isinstance(fault, ConnectionError)
                heard += b"<RESET>" + EOF if is_plain else EOF
        self.story.append(info_in(heard) if heard.startswith(b"INFO") else heard)

    def begins_tls(self, *, shows: bool = False) -> bool:
        """Begin TLS; tell whether that is there."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if shows:
            context.load_cert_chain(self._files.certificate, self._files.key)
        try:
            self._socket = context.wrap_socket(self._socket)
        except OSError:
            self.story.append("no TLS")
            return False
        return True

    def leaves(self) -> None:
        """Hang up."""
        self._socket.close()


def info_in(heard: bytes) -> tuple[dict[str, Any], bytes]:
    """Read an INFO: what is not of one server alone, and what follows it."""
    line, _, rest = heard.removeprefix(b"INFO ").partition(b"\r\n")
    fields = json.loads(line)
    fields["nonce"] = len(fields.get("nonce", ""))
    return {name: fields[name] for name in fields.keys() - OWN - OWN_TOO}, rest


def plainly(guest: Guest) -> None:
    """Go on in the clear."""
    guest.hears(b"\r\n")
    guest.says(HELLO)
    guest.hears(b"PONG\r\n")


def behind_info(guest: Guest, *, shows: bool = False) -> None:
    """Begin TLS when INFO is there."""
    guest.hears(b"\r\n")
    if guest.begins_tls(shows=shows):
        guest.says(HELLO)
        guest.hears(b"PONG\r\n")


def at_once(guest: Guest) -> None:
    """Begin TLS before that."""
    if guest.begins_tls(shows=True):
        guest.hears(b"\r\n")
        guest.says(HELLO)
        guest.hears(b"PONG\r\n")


def logs_in(guest: Guest) -> None:
    """Show what is right somewhere."""
    guest.hears(b"\r\n")
    guest.says(LOGIN % b"p")
    guest.hears(b"PONG\r\n")


def errs(guest: Guest) -> None:
    """Show a wrong password."""
    guest.hears(b"\r\n")
    guest.says((LOGIN % b"x").replace(b'"t"', b'"x"'))
    guest.hears(b"PONG\r\n")


def is_rash(guest: Guest) -> None:
    """Speak before anything has come."""
    guest.says(HELLO)
    guest.hears(b"PONG\r\n")


def is_silent(guest: Guest) -> None:
    """Say nothing."""
    guest.hears(EOF, minds_resets=True)


Says = Callable[[Guest], None]
GUESTS: Final[tuple[Says, ...]] = (plainly, logs_in, errs, is_silent)
TLS_GUESTS: Final[tuple[Says, ...]] = (
    *(plainly, behind_info, lambda guest: behind_info(guest, shows=True), at_once, is_silent),
)


class DoorTests(SocketCase):
    """The same guests at each."""

    def serves(self, binary: str | None, config: dict[str, Any]) -> int:
        """Start a server; gives its port."""
        return self.started(binary, config).port

    def started(self, binary: str | None, config: dict[str, Any]) -> NatsServer:
        """Start a server; it is stopped after the test."""
        require_nats_server(binary)
        path = Path(self.mktemp())
        # What is JSON is a configuration as well.
        path.write_text(json.dumps(config))
        server = NatsServer("-c", str(path), binary=binary)
        server.start()
        self.addCleanup(server.stop)
        return server

    async def compare(
        self, name: str, servers: list[int], ours: dict[str, Any], guests: tuple[Says, ...]
    ) -> None:
        """Let everybody come to each door."""
        gateway = await self.gateway(
            authentication_seconds=SOON, tls_seconds=SOON, ping_seconds=60.0, **ours
        )
        address = gateway.address()
        assert address is not None
        for number, guest in enumerate(guests):
            stories = [
                await deferToThread(self.visit, port, guest) for port in (*servers, address[1])
            ]
            self.assertEqual(stories, [stories[-1]] * len(stories), (name, number))

    def visit(self, port: int, says: Says) -> list[Any]:
        """Let one come; gives what happened."""
        guest = Guest(port, self.files)
        says(guest)
        guest.leaves()
        return guest.story

    def setUp(self) -> None:
        super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = Files(self.folder).options()

    def test_logins(self) -> Deferred[None]:
        """Who has to say who he is, and with what, is told so, and has as long for that."""
        return Deferred.fromCoroutine(self.compare_logins())

    async def compare_logins(self) -> None:
        for name, (theirs, ours) in _LOGINS.items():
            config = {"authorization": {"timeout": SOON, **theirs}}
            servers = [self.serves(each, config) for each in (BINARY, NEWER_BINARY)]
            await self.compare(name, servers, ours, GUESTS)

    def test_nobody(self) -> Deferred[None]:
        """Who shows nothing is somebody where that is said, unless he says nothing at all."""
        return Deferred.fromCoroutine(self.compare_nobody())

    async def compare_nobody(self) -> None:
        users = [{"user": "u", "password": "p"}]
        config = {"authorization": {"timeout": SOON, "users": users}, "no_auth_user": "u"}
        servers = [self.serves(each, config) for each in (BINARY, NEWER_BINARY)]

        def saying(said: bytes) -> Says:
            def guest(guest: Guest) -> None:
                guest.hears(b"\r\n")
                guest.says(said + b"PING\r\n")
                guest.hears(b"PONG\r\n")

            return guest

        def beginning(said: bytes) -> Says:
            def guest(guest: Guest) -> None:
                guest.hears(b"\r\n")
                guest.says(said)
                guest.hears(EOF)

            return guest

        options = (
            *(b"{}", b'{"user":"u"}', b'{"user":"u","pass":"p"}', b'{"pass":"p"}'),
            *(b'{"auth_token":"t"}', b'{"nkey":"x"}', b'{"jwt":"x"}', b'{"sig":"x"}'),
        )
        guests = (
            *GUESTS,
            *(saying(b"CONNECT %b\r\n" % each) for each in options),
            *(saying(each) for each in (b"", b"SUB a 1\r\n", b"PUB a 0\r\n\r\n", b"+OK\r\n")),
            *(beginning(each) for each in (b"C", b"CONNECT {", b"c")),
        )
        await self.compare("nobody", servers, {"users": users, "no_auth_user": "u"}, guests)

    def test_how_long_a_login_takes(self) -> Deferred[None]:
        """Unless it is said how long, it depends on TLS, as both servers tell of themselves."""
        return Deferred.fromCoroutine(self.compare_times())

    async def compare_times(self) -> None:
        files = {"cert_file": self.files.certificate, "key_file": self.files.key}
        ours = {"certificate_file": self.files.certificate, "key_file": self.files.key}
        for seconds in (None, 5):
            theirs = {"tls": files if seconds is None else {**files, "timeout": seconds}}
            table: dict[str, Any] = ours if seconds is None else {**ours, "tls_seconds": seconds}
            gateway = await self.gateway(monitor="127.0.0.1:0", **table)
            monitor = gateway.address("monitor")
            assert monitor is not None
            found = [(await asks(self.reactor, monitor[1], "/varz"))["auth_timeout"]]
            for binary in (BINARY, NEWER_BINARY):
                server = self.started(binary, {"http": "127.0.0.1:-1", **theirs})
                page = await asks(self.reactor, server.monitor_port, "/varz")
                found.append(page["auth_timeout"])
            self.assertEqual(found, [(seconds or 2) + 1] * 3)

    def test_tls(self) -> Deferred[None]:
        """Whatever is said of TLS, everybody is served, or not, as at servers that know it."""
        return Deferred.fromCoroutine(self.compare_tls())

    async def compare_tls(self) -> None:
        authority = str(self.folder / "authority.pem")
        for name, how in _FIRST.items():
            first = how.get("first", False)
            tls = {
                "cert_file": self.files.certificate,
                "key_file": self.files.key,
                "ca_file": authority,
                "verify": how.get("verify", False),
                "timeout": SOON,
            }
            config: dict[str, Any] = {"tls": tls, "allow_non_tls": how.get("optional", False)}
            binaries = [BINARY, NEWER_BINARY]
            if first:
                tls["handshake_first"] = first
                binaries = [NEWER_BINARY]
            servers = [self.serves(each, config) for each in binaries]
            ours = {
                "certificate_file": self.files.certificate,
                "key_file": self.files.key,
                "ca_file": authority,
                "tls_verify": how.get("verify", False),
                "tls_optional": how.get("optional", False),
                "tls_first": first,
            }
            await self.compare(name, servers, ours, _guests_of(first, how))


def _guests_of(first: Any, how: dict[str, Any]) -> tuple[Says, ...]:
    """Choose those of whom it does not count how fast they are."""
    match first:
        case "auto" | "100ms":
            return (plainly, behind_info, is_silent)
        case "10s":
            return (at_once, is_rash)
    # Where TLS may be left away nobody has to say anything.
    return TLS_GUESTS[:-1] if how.get("optional") and not first else TLS_GUESTS
