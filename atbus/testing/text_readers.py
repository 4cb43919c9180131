"""
What reads texts and values of others, and is no reader of frames: for `atbus.testing.text_fuzz`.

They come from files, registries, certificates, clients, other nodes and command lines. Each reader
has examples of what it reads and the errors by which it refuses; anything else that comes out of it
is a finding. Compressed frames are among them, for they have a reader of their own.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs
import click
from twisted.python.usage import UsageError

from atbus.address import parse_address
from atbus.busid import Subnet, parse_bus_id
from atbus.channels.credentials import read_certificate
from atbus.channels.tls_fault import TlsRefused
from atbus.cli.bench.task import read_line
from atbus.cli.cert import describe_certificate, read_certificates
from atbus.cli.options import BUS_ID, UpstreamType
from atbus.cli.outcome import CommandFailed
from atbus.cli.session import read_answer
from atbus.cli.subjects import SubjectType, read_pairs
from atbus.cli.twistd import read_microseconds
from atbus.discovery import documents
from atbus.discovery.etcd import faults, packer
from atbus.discovery.etcd.gateway import LineSplitter
from atbus.discovery.etcd.servers import Member
from atbus.errors import AtbusError, ConfigurationError, RemoteProtocolError, SubjectError
from atbus.handshake.certificate import parse_identity
from atbus.handshake.doorkeeper import origin_of
from atbus.nats.accounts import Names
from atbus.nats.connect_options import ConnectOptions, read_connect
from atbus.nats.handover_terms import Done, Ready, read_several, write_several
from atbus.nats.nkeys import Kind, read_key
from atbus.nats.permissions import read_entry
from atbus.nats.questions import BadArgument, read_number, read_range, read_subscriptions
from atbus.nats.server_grammar import Message
from atbus.nats.settings import read_gateway
from atbus.nats.siblings import Place
from atbus.nats.tokens import read_token
from atbus.node.config import NodeConfig
from atbus.node.gates import open_words, read_rows
from atbus.node.reading_discovery import read_registries, read_service
from atbus.node.reading_sources import read_dns, read_static
from atbus.node.toml import parse_config
from atbus.subjects.pattern import parse_pattern, parse_subject
from atbus.testing.history import History
from atbus.testing.seeds import parse_seeds
from atbus.testing.token_readers import ACCOUNT_FACTS, USER_FACTS, read_account, read_user
from atbus.wire.compression import compression_extra, is_there, restore, restore_payload, squeeze
from atbus.wire.extras import pack_extras
from atbus.wire.head import peek
from atbus.wire.headers import pack_headers, read_headers, read_status
from atbus.wire.messages import CompressionAlgorithm, Flags
from atbus.wire.runs import fragment_pieces, pack_run


@attrs.frozen
class Reader:
    """
    Something that reads what others wrote.

    :param name: What is counted.
    :param read: Takes bytes.
    :param refuses: How it says that they are not what they should be.
    :param examples: What it reads.
    """

    name: str
    read: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...]
    examples: tuple[bytes, ...]


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "surrogateescape"))


def _answer(read: Callable[[packer.Document], object]) -> Callable[[bytes], object]:
    return lambda data: read(packer.parse(data))


# Frames whose inside is compressed.

_THERE: Final = tuple(each for each in CompressionAlgorithm if is_there(each))


def _restore(data: bytes) -> object:
    peek(data)
    return restore(data, _THERE)


def compressed_frames() -> tuple[bytes, ...]:
    """
    Make frames whose payloads are compressed.

    :returns: A run and a fragment for each algorithm that is there.
    """
    frames = []
    for algorithm in _THERE:
        small = squeeze(b"the same words again and again, " * 40, algorithm)
        assert small is not None
        how: dict[str, Any] = {
            "flags": Flags.COMPRESSED,
            "extras": pack_extras((compression_extra(algorithm),)),
        }
        frames.append(pack_run(1, 2, 3, 4, [0, 1], [small, small], **how))
        frames.append(b"".join(fragment_pieces(1, 2, 3, 4, small, (0, 9999, 0), **how)))
    return tuple(frames)


# Configurations: the file, and what each part of a node makes of its table later.


def _configure(text: str) -> NodeConfig:
    config = parse_config(text)
    read_registries(config)
    read_gateway(config)
    read_static(config.static)
    read_dns(config.dns)
    if config.service:
        read_service(config.service, 1, config.name)
    return config


_CONFIGURATIONS: Final = (
    """
id = "0x5"
listen = ["unix:///x"]
denied = ["0x5"]
limits.hops = 4
[compression]
algorithms = ["deflate"]
[[rights]]
action = "deny"
ids = ["0x5/0"]
publish = ["a.>"]
""",
    """
id = 5
name = "n"
[discovery.etcd]
endpoints = ["http://h:2379"]
lease_seconds = 10
[[discovery.etcd.contexts]]
prefix = "/b"
[service]
type = "t"
""",
    """
id = 5
[discovery.zookeeper]
servers = ["h:2181"]
user = "u"
password = "p"
prefix = "/b"
[discovery.dns]
name = "h.example"
port = 5
[discovery.static]
addresses = ["ipv4://192.0.2.1:5"]
""",
    """
id = 5
[nats]
listen = "127.0.0.1:0"
users = [{user = "a", password = "b", permissions = {publish = {allow = ["a.>"]}}}]
leaf_listen = "127.0.0.1:0"
leaf_remotes = [{urls = ["127.0.0.1:7422"]}]
""",
    """
[[records]]
id = "0x6"
upstream = "0x5"
labels = {a = "b"}
[[policy]]
action = "deny"
labels = {region = "eu"}
""",
)

# Certificates in DER: one with a range, and one that has every other kind of name as well.
_CERTIFICATES: Final = (
    """
MIH1MIGooAMCAQICAQUwBQYDK2VwMA8xDTALBgNVBAMMBG5vZGUwHhcNMjYwMTAxMDAwMDAwWhcNNDYw
MTAxMDAwMDAwWjAPMQ0wCwYDVQQDDARub2RlMCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCb
pQ1fHdyGZBJVMbijKTAnMCUGA1UdEQQeMByGGmF0YnVzOi8vdGVzdC8weDEyMzQwMDAwLzE2MAUGAytl
cANBAI7c2XsKylIPONnOg8yDRGY5fJ7HLId8RHgD6o8TCpXQRLhk5l4UpRCyQEjOrbfMU2JHEKV9Qycj
UA3tgv0sqQM=
""",
    """
MIIBMjCB5aADAgECAgEFMAUGAytlcDAPMQ0wCwYDVQQDDARub2RlMB4XDTI2MDEwMTAwMDAwMFoXDTQ2
MDEwMTAwMDAwMFowDzENMAsGA1UEAwwEbm9kZTAqMAUGAytlcAMhAAOhB7/zzhC+HXDdGOdLwJln5NYw
m6UNXx3chmQSVTG4o2YwZDBiBgNVHREEWzBZhhphdGJ1czovL3Rlc3QvMHgxMjM0MDAwMC8xNoIJaC5l
eGFtcGxlhwTAAAIBgQthQGIuZXhhbXBsZaQOMAwxCjAIBgNVBAMMAXiIAioDoAkGAioDoAMMAWEwBQYD
K2VwA0EAXcC1furmiqROz6Ughoew3X9DNLdrge+g0lE4/HBIZt+dtaSjed2q4Fku8Sb50hEBiVI1A9GZ
Lo68eDSlXshnDw==
""",
)


# Registries.

_KEY: Final = documents.read_key("/", documents.topology_key("/", 5))
_SERVICE_KEY: Final = documents.read_key("/", documents.service_key("/", 6, "name"))
_ITEM: Final = b'{"key":"YQ==","value":"Yg==","create_revision":"3","mod_revision":4,"lease":"7"}'
_HEAD: Final = b'"header":{"cluster_id":"9","member_id":"2","revision":"5","raft_term":"3"}'

# NATS. Of an account whose key is known to everybody: the bytes from 0 to 31.
_ACCOUNT: Final = b"AAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QPZV"
_TOKEN: Final = (
    b"eyJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJpc3MiOiJBQUIyQ0I1NzZQSEJCUFE1T0RPUlJaMkxZQ01XUFpHV0dDT"
    b"jJLREs3RFhPSU1aQVNLVVkzUVBaViIsInN1YiI6IlVBIiwibmF0cyI6eyJ0eXBlIjoidXNlciJ9fQ.nTldtsSIiB"
    b"1UzkPDeA5bQPr-m7ouTbrrlCNLp__GmzYZJc3IRgHy_Dtz6pzExMqh8hP8JjD6EFkf4ChwdgDlCA"
)

_OF_THE_BUS: Final = (
    Reader(
        "address",
        _text(parse_address),
        (AtbusError,),
        (b"tls+ipv4://127.0.0.1:7000", b"ipv6://::1:9", b"unix:///run/x.sock", b"shm://auto"),
    ),
    Reader("id", _text(parse_bus_id), (AtbusError,), (b"0x12345678", b"1.2.3.4", b"77")),
    Reader("subnet", _text(Subnet.parse), (AtbusError,), (b"0x12340000/16", b"1.2.0.0/8")),
    Reader(
        "certificate",
        _text(parse_identity),
        (ValueError,),
        (b"atbus://shop/0x12340000/16", b"atbus://a.b-c/0x0/63"),
    ),
    Reader(
        "x509",
        partial(read_certificate, realm="test"),
        (TlsRefused,),
        tuple(map(b64decode, _CERTIFICATES)),
    ),
    Reader("pattern", _text(parse_pattern), (SubjectError,), (b"orders.*.new", b"orders.>")),
    Reader("subject", _text(parse_subject), (SubjectError,), (b"orders.eu.new",)),
    Reader("origin", _text(origin_of), (), (b"tls+ipv4://192.0.2.1:9", b"ipv6://[::1]:5")),
    Reader(
        "configuration",
        _text(_configure),
        # Half of a surrogate pair is no TOML either, and says so in its own way.
        (ConfigurationError, ValueError),
        tuple(text.encode() for text in _CONFIGURATIONS),
    ),
    Reader("compressed", _restore, (RemoteProtocolError,), compressed_frames()),
    Reader(
        "payload",
        lambda data: restore_payload(data, CompressionAlgorithm.DEFLATE),
        (RemoteProtocolError,),
        (squeeze(b"the same words again and again, " * 40, CompressionAlgorithm.DEFLATE) or b"",),
    ),
    Reader("headers", read_headers, (), (pack_headers({"a": "b", "c": "d"}, "503"),)),
    Reader("status", read_status, (), (b"NATS/1.0 503 No Responders\r\n\r\n", b"NATS/1.0\r\n")),
)

_OF_REGISTRIES: Final = (
    Reader(
        "record",
        lambda data: documents.read_record(_KEY, data),
        (documents.DocumentError,),
        (b'{"id": "0x5", "upstream": "0x1", "labels": {"a": "b"}, "epoch": 1, "seq": 2}',),
    ),
    Reader(
        "service",
        lambda data: documents.read_service(_SERVICE_KEY, data),
        (documents.DocumentError,),
        (
            b'{"id": "0x6", "name": "name", "type": "t", "labels": {"a": "b"}, "epoch": 1}',
            b'{"id": "0x6", "name": "name", "gateways": ["192.0.2.1:5"], "seq": 2}',
        ),
    ),
    Reader(
        "key",
        lambda data: documents.read_key("/bus/", data),
        (documents.DocumentError,),
        (documents.topology_key("/bus/", 5), documents.service_key("/bus/", 6, "name")),
    ),
    Reader(
        "watch",
        packer.parse_watch,
        (AtbusError,),
        (
            b'{"result":{"header":{"revision":"5"},"events":[{"kv":{"key":"YQ=="}}]}}',
            b'{"result":{"header":{"revision":"5"},"canceled":true,"compact_revision":"4"}}',
        ),
    ),
    Reader(
        "lines",
        lambda data: LineSplitter(30).feed(data),
        (AtbusError,),
        (b'{"a":1}\r\n\n{"b":2}\n',),
    ),
    Reader(
        "range",
        _answer(packer.parse_range),
        (AtbusError,),
        (b'{%b,"kvs":[%b],"more":true}' % (_HEAD, _ITEM),),
    ),
    Reader(
        "write",
        _answer(packer.parse_write),
        (AtbusError,),
        (
            b'{%b,"succeeded":true}' % _HEAD,
            b'{%b,"responses":[{"response_range":{"kvs":[%b]}}]}' % (_HEAD, _ITEM),
        ),
    ),
    Reader(
        "member",
        _answer(Member.parse),
        (AtbusError,),
        (b'{"ID":"8","name":"one","clientURLs":["http://192.0.2.1:2379"]}',),
    ),
    Reader(
        "refusal",
        lambda data: faults.read_fault(400, data),
        (),
        (b'{"error":"etcdserver: lease not found","code":5}', b'{"message":"x","code":"a"}', b"x"),
    ),
)

_DONE: Final = Done(
    sent=((1, 2, 3, 1),), kept=(Message("a.b", "", (), b"", b"!"),), inboxes=("_INBOX.1.*",)
)


def _read_question(text: str) -> object:
    arguments = dict(parse_qsl(text, keep_blank_values=True))
    how_much = read_subscriptions(arguments, has_details=True)
    return how_much, read_range(arguments), read_number(arguments, "cid")


_OF_NATS: Final = (
    Reader("nkey", _text(partial(read_key, kind=Kind.ACCOUNT)), (ValueError,), (_ACCOUNT,)),
    Reader(
        "token", _text(partial(read_token, issuer_kinds=(Kind.ACCOUNT,))), (ValueError,), (_TOKEN,)
    ),
    Reader("account", read_account, (ValueError,), (ACCOUNT_FACTS,)),
    Reader("user", read_user, (ValueError,), USER_FACTS),
    Reader(
        "connect",
        lambda data: read_connect(data, ConnectOptions()),
        (ValueError,),
        (b'{"verbose":false,"user":"a","pass":"b","jwt":"x","protocol":1,"echo":true}', b"null"),
    ),
    Reader("published", Names("").read, (ValueError, SubjectError), (b"orders.eu", b"_INBOX.a.1")),
    Reader("entry", _text(read_entry), (ValueError,), (b"orders.*", b"orders.> workers.*")),
    Reader(
        "place",
        Place.read,
        (ValueError,),
        (Place(server_id="NX", urls=("h:4222",), websocket_urls=("h:80",)).write(),),
    ),
    Reader("ready", Ready.read, (ValueError,), (Ready(mark="m", inboxes=("_INBOX.1.*",)).write(),)),
    Reader("done", Done.read, (ValueError,), (_DONE.write(), Done().write())),
    Reader("dones", read_several, (ValueError,), (write_several({"A": _DONE, "B": Done()}),)),
    Reader(
        "question",
        _text(_read_question),
        (BadArgument,),
        (b"subs=detail&limit=10&offset=-2", b"cid=5&subs=1", b"limit=&subs=F"),
    ),
    Reader("gate", read_rows, (ValueError,), (open_words([(1, 2, 3, 4)]), open_words([]))),
)

# What the commands take from those who call them, from files and from other nodes.


def _override(text: str) -> NodeConfig:
    return parse_config("id = 5", [text])


def _converted(kind: click.ParamType[Any]) -> Callable[[bytes], object]:
    return _text(lambda text: kind.convert(text, None, None))


def _read_events(data: bytes) -> History:
    history = History()
    history.read("events", data.splitlines(keepends=True))
    return history


def _show_certificate(data: bytes) -> object:
    return [describe_certificate(each) for each in read_certificates(data)]


_PEM: Final = tuple(
    b"-----BEGIN CERTIFICATE-----%b-----END CERTIFICATE-----\n" % text.encode()
    for text in _CERTIFICATES
)
_EVENT: Final = (
    b'{"event":"send","node":"0x5","epoch":1,"target":"0x6","sequence":1,"kind":1,"digest":"d"}\n'
)
_FATE: Final = (
    b'{"event":"fate","node":"0x5","epoch":1,"target":"0x6","sequence":1,"count":1,"status":"OK"}\n'
)
_RECEIPT: Final = (
    b'{"event":"receive","node":"0x6","epoch":1,"source":"0x5","source_epoch":1,"sequence":1,'
    b'"kind":1,"digest":"d"}\n'
)

_OF_COMMANDS: Final = (
    Reader(
        "override",
        _text(_override),
        (ConfigurationError,),
        (
            b"limits.hops=4",
            b'labels.region="eu"',
            b"heartbeat.seconds = 2.5",
            b"nats.listen=127.0.0.1:4222",
            b'upstream="ipv4://192.0.2.1:7000"',
        ),
    ),
    Reader("option-id", _converted(BUS_ID), (click.BadParameter,), (b"0x5", b"1.2.3.4")),
    Reader(
        "option-address",
        _converted(UpstreamType()),
        (click.BadParameter,),
        (b"tls+dns://h.example:7000", b"unix:///run/x.sock"),
    ),
    Reader(
        "option-pattern",
        _converted(SubjectType(is_pattern=True)),
        (click.BadParameter,),
        (b"orders.*.new", b"orders.>"),
    ),
    Reader(
        "option-subject",
        _converted(SubjectType(is_pattern=False)),
        (click.BadParameter,),
        (b"orders.eu.new",),
    ),
    Reader("option-headers", _text(read_pairs), (click.UsageError,), (b"Name: value", b"A:")),
    Reader("busy-poll", _text(read_microseconds), (UsageError,), (b"50", b"1000")),
    Reader("seeds", _text(parse_seeds), (ValueError,), (b"200", b"1000-1999")),
    Reader(
        "answer",
        lambda data: read_answer(data.split(b"\n")),
        (CommandFailed,),
        (b'{"id": "0x5", "state": "running", "peers": [1, 2.5, null]}', b"[]"),
    ),
    Reader(
        "bench-line",
        read_line,
        (ValueError,),
        (
            b'{"addresses": ["unix:///run/bench.sock"]}\n',
            b'{"process": 7, "cpu_seconds": 0.5, "sent": {"65792": 3}, "times": {"12": 3}}\n',
        ),
    ),
    Reader("certificates", _show_certificate, (CommandFailed,), _PEM),
    Reader(
        "events",
        _read_events,
        (),
        (
            b'{"event":"open","node":"0x5","epoch":1}\n' + _EVENT,
            _FATE + b'{"event":"stop","node":"0x5","epoch":1}\n',
            _RECEIPT + b'{"event":"drop","node":"0x6","epoch":1,"count":1,"status":"NO_ROUTE"}\n',
        ),
    ),
)

READERS: Final = _OF_THE_BUS + _OF_REGISTRIES + _OF_NATS + _OF_COMMANDS
"""Everything that reads what is no frame, or only a frame's inside."""
