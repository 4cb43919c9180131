"""
Hostile texts and values for `atbus.testing.hostile`: what comes from files, registries,
certificates, clients and other nodes, and is no frame.

Each reader has examples of what it reads and the errors by which it refuses; anything else that
comes out of it is a finding. Compressed frames are among them, for they have a reader of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

import attrs

from atbus.address import parse_address
from atbus.busid import Subnet, parse_bus_id
from atbus.discovery import documents
from atbus.discovery.etcd import packer
from atbus.errors import AtbusError, ConfigurationError, RemoteProtocolError, SubjectError
from atbus.handshake.certificate import parse_identity
from atbus.handshake.doorkeeper import origin_of
from atbus.nats.connect_options import ConnectOptions, read_connect
from atbus.nats.nkeys import Kind, read_key
from atbus.nats.tokens import read_token
from atbus.node.toml import parse_config
from atbus.subjects.pattern import parse_pattern, parse_subject
from atbus.wire.compression import compression_extra, is_there, restore, squeeze
from atbus.wire.extras import pack_extras
from atbus.wire.head import peek
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


_THERE: Final = tuple(each for each in CompressionAlgorithm if is_there(each))
_KEY: Final = documents.read_key("/", documents.topology_key("/", 5))


def _restore(data: bytes) -> object:
    peek(data)
    return restore(data, _THERE)


def _compressed() -> tuple[bytes, ...]:
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


# Of an account whose key is known to everybody: the bytes from 0 to 31.
_ACCOUNT: Final = b"AAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QPZV"
_TOKEN: Final = (
    b"eyJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJpc3MiOiJBQUIyQ0I1NzZQSEJCUFE1T0RPUlJaMkxZQ01XUFpHV0dDT"
    b"jJLREs3RFhPSU1aQVNLVVkzUVBaViIsInN1YiI6IlVBIiwibmF0cyI6eyJ0eXBlIjoidXNlciJ9fQ.nTldtsSIiB"
    b"1UzkPDeA5bQPr-m7ouTbrrlCNLp__GmzYZJc3IRgHy_Dtz6pzExMqh8hP8JjD6EFkf4ChwdgDlCA"
)

READERS: Final = (
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
    Reader("pattern", _text(parse_pattern), (SubjectError,), (b"orders.*.new", b"orders.>")),
    Reader("subject", _text(parse_subject), (SubjectError,), (b"orders.eu.new",)),
    Reader("origin", _text(origin_of), (), (b"tls+ipv4://192.0.2.1:9", b"ipv6://[::1]:5")),
    Reader(
        "configuration",
        _text(parse_config),
        # Half of a surrogate pair is no TOML either, and says so in its own way.
        (ConfigurationError, ValueError),
        (
            b'id = "0x5"\nlisten = ["unix:///x"]\nlimits.hops = 4\n',
            b'[[rights]]\naction = "deny"\nids = ["0x5/0"]\npublish = ["a.>"]\n',
            b'denied = ["0x5"]\n[compression]\nalgorithms = ["deflate"]\n',
        ),
    ),
    Reader(
        "record",
        lambda data: documents.read_record(_KEY, data),
        (documents.DocumentError,),
        (b'{"id": "0x5", "upstream": "0x1", "labels": {"a": "b"}, "epoch": 1, "seq": 2}',),
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
        (b'{"result":{"header":{"revision":"5"},"events":[{"kv":{"key":"YQ=="}}]}}',),
    ),
    Reader("nkey", _text(partial(read_key, kind=Kind.ACCOUNT)), (ValueError,), (_ACCOUNT,)),
    Reader(
        "token", _text(partial(read_token, issuer_kinds=(Kind.ACCOUNT,))), (ValueError,), (_TOKEN,)
    ),
    Reader(
        "connect",
        lambda data: read_connect(data, ConnectOptions()),
        (ValueError,),
        (b'{"verbose":false,"user":"a","pass":"b","jwt":"x","protocol":1,"echo":true}', b"null"),
    ),
    Reader("compressed", _restore, (RemoteProtocolError,), _compressed()),
)
"""Everything that reads what is no frame, or only a frame's inside."""

_LETTERS: Final = b"\r\n \t\x00\xff\xc3.*>:/[]{}\"'\\=,0-9eE\xe2\x80\xa8"
_DAMAGES_MAX: Final = 4


def hostile_text(random: Random) -> tuple[Reader, bytes]:
    """
    Choose a reader, and damage what it reads.

    :param random: Draws.
    :returns: The reader and the bytes.
    """
    reader = random.choice(READERS)
    said = bytearray(random.choice(reader.examples))
    for _ in range(random.randint(0, _DAMAGES_MAX)):
        place = random.randrange(len(said))
        match random.randrange(5):
            case 0:
                said[place] = random.choice(_LETTERS)
            case 1:
                del said[place : place + random.randint(1, 8)]
                said = said or bytearray(b"0")
            case 2:
                said[place:place] = bytes([random.choice(_LETTERS)]) * random.choice((1, 2, 40))
            case 3:
                said[place:place] = said[: random.randint(1, 20)]
            case _:
                said[place] ^= 1 << random.randrange(8)
    return reader, bytes(said)


def read_hostile(reader: Reader, data: bytes) -> str:
    """
    Let a reader read.

    :param reader: Which.
    :param data: What it is given.
    :returns: What is counted.
    """
    try:
        reader.read(data)
    except reader.refuses:
        return f"{reader.name} refused"
    return f"{reader.name} read"
