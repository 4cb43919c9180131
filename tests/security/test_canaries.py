"""Secrets that can be told from all else go through whatever fails, and are looked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner
from twisted.logger import ILogObserver, LogEvent, Logger, eventAsText, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from atbus.channels.credentials import Credentials
from atbus.cli.main import atbus
from atbus.errors import ConfigurationError, Status, Undeliverable
from atbus.node.config import NodeConfig
from atbus.node.events import Signal
from atbus.node.journal import Journal
from atbus.node.node import Node
from atbus.node.reload import reconfigure
from atbus.testing.conversation import make_terms
from atbus.wire import codec
from atbus.wire.compression import compression_extra
from atbus.wire.messages import CompressionAlgorithm, Data, Flags
from tests.channels.certificates import Files
from tests.nats.harbor import HarborTests
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS
from tests.node.mail import MailTests, Receiving
from tests.node.stranger import Stranger

#: What nobody may read anywhere; "kanarie" is in nothing else.
TOKEN, PASSWORD, PAYLOAD, REPLY, KEY = (
    f"kanarie-{what}-0123456789abcdef" for what in ("token", "password", "payload", "reply", "key")
)
SECRET = PAYLOAD.encode()

REGISTRY = {"endpoints": ["http://127.0.0.1:1"], "user": "u", "password": PASSWORD}

#: What a node tells about itself when it is asked.
QUESTIONS = (
    "status",
    "nodes",
    "links",
    "shm",
    "routes",
    "records",
    "explain 0x10001",
    "interest",
    "subscriptions",
)


@implementer(ILogObserver)
class Watch:
    """All that is written while it lasts: to the log, at every level, or told as an event."""

    def __init__(self) -> None:
        self.said: list[str] = []
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: LogEvent) -> None:
        """Write an event of the log down."""
        # As a line, with its traceback, and as what a program that keeps events would keep.
        self.said += [eventAsText(event), repr(event)]

    def observe(self, node: Node) -> None:
        """Write down the events of a node, as a program would that shows all of them."""
        for name, signal in vars(node.events).items():
            if isinstance(signal, Signal):
                signal.observe(self._telling(name))
        Journal(node, node._parts.context.timers, Logger()).started(None)

    def _telling(self, name: str) -> Callable[..., None]:
        return lambda *told: self.said.append(f"{name} {told!r} {' '.join(map(str, told))}")

    def sings(self) -> list[str]:
        """Give what was said that has a secret in it, in whatever form."""
        forms = []
        for secret in (TOKEN, PASSWORD, PAYLOAD, REPLY, KEY):
            raw = secret.encode()
            forms += [secret, raw.hex(), base64.b64encode(raw).decode()[:24]]
        return [line for line in self.said if any(form in line for form in forms)]


class CanaryTests(MailTests):
    """A bus on which as much as possible goes wrong."""

    def setUp(self) -> None:
        super().setUp()
        self.watch = Watch()
        self.addCleanup(self.watch.stop)

    def node(self, *arguments: Any, **options: Any) -> Node:
        """Make a node whose events are written down."""
        node = super().node(*arguments, **{"access_tokens": [TOKEN], **options})
        self.watch.observe(node)
        return node

    def test_security_canaries_on_a_bus(self) -> None:
        """No token and no byte of a message is in a log, an event, an error or an answer."""
        root, child = self.pair(queued_bytes_soft=30_000, queued_bytes_hard=60_000)
        self.strangers_fail(root)
        self.messages_fail(root, child)
        self.frames_are_bad(child, root)
        self.questions_are_asked(root)
        self.error_of(lambda: reconfigure(root, root.config.replace(access_tokens=[TOKEN * 99])))
        self.kill(child)
        self.network.settle(30)
        self.flushLoggedErrors()
        self.assertGreater(len(self.watch.said), 50)
        self.assertEqual(self.watch.sings(), [])

    def error_of(self, attempt: Callable[[], object]) -> None:
        """Do what fails, and write down how."""
        try:
            attempt()
        except (Undeliverable, ConfigurationError) as error:
            self.watch.said += [str(error), repr(error)]
        else:
            raise AssertionError("it did not fail")

    def strangers_fail(self, root: Node) -> None:
        """Registrations with a wrong token, and what is no registration at all."""
        other = self.node(CHILD + 1, upstream=ROOT_ADDRESS, access_tokens=[PASSWORD])
        self.refusal_of(other.start())
        Stranger(self.network, make_terms(5, tokens=(TOKEN.encode() + b"x",))).dial(ROOT_ADDRESS)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        stranger.say_raw(codec.encode(Data(source=1, destination=ROOT, messages=((0, SECRET),))))

    def messages_fail(self, root: Node, child: Node) -> None:
        """Messages that are not delivered, each for another reason."""
        self.error_of(lambda: child.send(ROOT, SECRET * 100_000))
        self.ended(child.deliver(0x10077, SECRET))
        self.ended(child.request(ROOT, SECRET, timeout=0.5))
        for raised in (ValueError("the program's own words"), Undeliverable(Status.TIMEOUT, 1)):
            fail = failing(raised)
            root.on_request(fail)
            self.ended(child.request(ROOT, SECRET))
            root.receiver = Receiving(fail)
            child.send(ROOT, SECRET)
            self.network.settle(0.1)
        root.on_request(lambda _source, _payload: REPLY.encode() * 100_000)
        self.ended(child.request(ROOT, SECRET))
        child.publish("nobody.listens", SECRET)
        self.data_channel(root, child).stall()
        self.error_of(lambda: [root.send(CHILD, SECRET * 30) for _ in range(1000)])
        self.network.settle(40)

    def frames_are_bad(self, child: Node, root: Node) -> None:
        """Frames that cannot be read, behind a head that can."""
        self.network.settle(20)
        data = Data(source=CHILD, destination=ROOT, sequence=9, messages=((0, SECRET),))
        extras = (compression_extra(CompressionAlgorithm.DEFLATE),)
        for bad in (
            attrs.evolve(data, flags=Flags.COMPRESSED, extras=extras),
            attrs.evolve(data, source=0x777),
            attrs.evolve(data, hop_limit=1, destination=0x10099),
        ):
            self.say(child, root, bad)
            self.network.settle(20)
            self.assertIn(CHILD, root.endpoints)

    def questions_are_asked(self, root: Node) -> None:
        """Whatever the node tells about itself."""
        for words in QUESTIONS:
            asked = [f"atbus.{words.split()[0]}".encode(), *map(str.encode, words.split()[1:])]
            answer = self.ended(root.command(root.bus_id, *asked))
            self.watch.said.append(repr(answer))


def failing(error: Exception) -> Callable[[int, bytes], bytes]:
    """Make a program's function that fails."""

    def fail(_source: int, _payload: bytes) -> bytes:
        raise error

    return fail


class GatewayTests(HarborTests):
    """Clients of NATS that fail."""

    def test_security_canaries_of_clients(self) -> None:
        """No password, token or payload of a client is in a log or an event, or sent to another."""
        watch = Watch()
        self.addCleanup(watch.stop)
        gateway = self.alone(user="anna", password=PASSWORD)
        for node in self.nodes:
            watch.observe(node)
        for options in (
            {"user": "anna", "pass": PASSWORD + "x"},
            {"user": "anna", "pass": PASSWORD, "auth_token": TOKEN},
            {"user": "otto", "pass": PASSWORD, "jwt": TOKEN, "sig": KEY},
        ):
            caller = self.caller(gateway)
            caller.says(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
            for line in (
                b"PUB a.b %d\r\n%s\r\n" % (len(SECRET), SECRET),
                b"PUB a.* %d\r\n%s\r\n" % (len(SECRET), SECRET),
                b"PUB a.b 3\r\n%s\r\n" % SECRET,
            ):
                if not caller.is_gone:
                    caller.says(line)
                    self.network.settle(0.1)
            watch.said.append(caller.hears().decode())
        self.flushLoggedErrors()
        self.assertIn("Authorization Violation", " ".join(watch.said))
        self.assertEqual(watch.sings(), [])


class FileTests(SynchronousTestCase):
    """Files with secrets, good and bad, and the commands that read them."""

    def test_security_canaries_in_files(self) -> None:
        """No secret of a configuration or a key's file is in what commands print about it."""
        watch = Watch()
        self.addCleanup(watch.stop)
        folder = Path(self.mktemp())
        folder.mkdir()
        good = NodeConfig(id=1, access_tokens=[TOKEN], etcd=REGISTRY)
        watch.said += [repr(good), str(good)]
        for number, text in enumerate(CONFIGURATIONS):
            path = folder / f"{number}.toml"
            path.write_text(text, encoding="utf-8")
            for words in ("show", "check", "show -o json", "check -o json"):
                first, *rest = words.split()
                result = CliRunner().invoke(atbus, ["config", first, str(path), *rest])
                watch.said += [result.output, str(result.exception), repr(result.exception)]
        files = Files(folder)
        options = files.options()
        for key in (KEY, f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n"):
            Path(options.key).write_text(key, encoding="ascii")
            error = self.assertRaises(ConfigurationError, Credentials, options)
            watch.said += [str(error), repr(error), repr(error.__cause__)]
        self.assertGreater(len(watch.said), 50)
        self.assertEqual(watch.sings(), [])


#: The same secrets where they belong, and where somebody has made a mistake.
CONFIGURATIONS = (
    f'id = "0x1"\naccess_tokens = ["{TOKEN}"]\n',
    f'id = "0x1"\naccess_tokens = "{TOKEN}"\n',
    f'id = "0x1"\naccess_tokens = ["{TOKEN * 99}"]\n',
    f'id = "0x1"\naccess_tokens = ["{TOKEN}]\n',
    f'id = "0x1"\naccess_token = ["{TOKEN}"]\n',
    f'[etcd]\nendpoints = ["http://127.0.0.1:1"]\nuser = "u"\npassword = "{PASSWORD}"\n',
    f'[etcd]\nendpoints = ["http://127.0.0.1:1"]\npassword = "{PASSWORD}"\n',
    f'[etcd]\nendpoints = ["http://127.0.0.1:1"]\nuser = "u"\npasword = "{PASSWORD}"\n',
    f'[etcd]\nendpoints = ["http://127.0.0.1:1"]\nuser = "u"\npassword = ["{PASSWORD}"]\n',
    f'[etcd]\nendpoints = ["http://u:{PASSWORD}@127.0.0.1:1"]\n',
    f'[etcd]\nendpoints = ["u:{PASSWORD}@127.0.0.1:1"]\n',
    f'[zookeeper]\nhosts = ["127.0.0.1:1"]\nuser = "u"\npassword = ["{PASSWORD}"]\n',
    f'[nats]\nlisten = "127.0.0.1:0"\nuser = "u"\npassword = "{PASSWORD}"\ntoken = "{TOKEN}"\n',
    f'[nats]\nlisten = "127.0.0.1:0"\nusers = [{{user = "u", passwort = "{PASSWORD}"}}]\n',
    f'[application_settings]\npassword = "{PASSWORD}"\nprivate_key = "{KEY}"\n',
)
