"""Attacks by somebody who is not registered."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.address import parse_address
from atbus.busid import Subnet
from atbus.errors import ConfigurationError, FrameTooLarge, Status
from atbus.handshake import bounds
from atbus.handshake.access_token import Side, prove, verify
from atbus.handshake.active import ActiveHandshake
from atbus.handshake.certificate import find_identity
from atbus.handshake.doorkeeper import Doorkeeper
from atbus.handshake.machine import Handshake
from atbus.handshake.passive_stream import PassiveHandshake
from atbus.handshake.terms import LocalTerms
from atbus.node import doorway
from atbus.node.config import NodeConfig
from atbus.node.reload import reconfigure
from atbus.routing.admission import judge
from atbus.routing.applicant import Applicant, OwnNode, Rejected
from atbus.testing.conversation import HandshakeEnd, HandshakePair, admit, make_terms
from atbus.wire import codec
from atbus.wire.compression import compression_extra
from atbus.wire.framing import FrameBuffer
from atbus.wire.messages import Capability, CompressionAlgorithm, Data, Flags, Hello, Role
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests
from tests.node.stranger import HalfWay, Stranger

TOKEN = b"the token of the bus"


class RegistrationTests(BusTests):
    """Somebody wants to be taken for a node."""

    def test_security_registering_without_right(self) -> None:
        """
        Without a token nobody registers; with a certificate nobody registers what it does not name;
        where others can listen nobody listens without TLS unless told so.
        """
        root = self.root(access_tokens=["geheim"])
        self.network.start(root)
        for tokens in ([], ["geraten"]):
            child = self.child(access_tokens=tokens)
            self.assertIs(self.refusal_of(child.start()), Status.ACCESS_DENIED)
        own = OwnNode(bus_id=ROOT, subnets=(Subnet(ROOT, 16),))
        for bus_id, subnets in ((CHILD + 1, ()), (CHILD, (Subnet(CHILD, 4),))):
            who = Applicant(bus_id=bus_id, subnets=subnets, allowed=Subnet(CHILD, 0))
            verdict = judge(own, (), who)
            assert isinstance(verdict, Rejected)
            self.assertIs(verdict.status, Status.NOT_ADMITTED)
        error: ConfigurationError = self.assertRaises(
            ConfigurationError, NodeConfig, id=1, listen=["ipv4://192.0.2.1:1"]
        )
        self.assertIn("use tls+ipv4://192.0.2.1:1, or say allow_insecure = true", str(error))

    def test_security_storms(self) -> None:
        """
        Who is refused waits half a minute; there are so many handshakes in a second, and one
        address has a part of them.
        """
        root = self.root(access_tokens=["geheim"])
        child = self.child(access_tokens=["geraten"])
        self.network.start(root)
        self.assertIs(self.refusal_of(child.start()), Status.ACCESS_DENIED)
        keeper = Doorkeeper()
        let_in = sum(keeper.refuses("192.0.2.1", 1.0) is None for _ in range(10_000))
        self.assertEqual(let_in, bounds.HANDSHAKES_PER_ADDRESS_PER_SECOND)
        for each in ("192.0.2.2", "192.0.2.3", "192.0.2.4"):
            keeper.registered(each)
            let_in += sum(keeper.refuses(each, 1.0) is None for _ in range(10_000))
        self.assertEqual(let_in, limits.HANDSHAKES_PER_SECOND)
        registered = self.child(CHILD + 1, access_tokens=["geheim"])
        self.network.start(registered)
        before = len(self.diaries[root].registrations())
        reconfigure(registered, registered.config.replace(access_tokens=["vergessen"]))
        self.network.result_of(registered.disconnect(ROOT))
        self.network.settle(70)
        tries = len(self.diaries[root].registrations()) - before
        self.assertIn(tries, range(1, 5))

    def test_security_slow_loris(self) -> None:
        """
        Any number of connections that say nothing, or half of it, keep nobody out, whether they
        come from many addresses or from one.
        """
        root = self.root()
        self.network.start(root)
        numbers = itertools.count()
        silent: list[Stranger] = []
        for most, origin in (
            (limits.PENDING_HANDSHAKES_MAX, lambda _peer: f"192.0.2.{next(numbers)}"),
            (limits.PENDING_HANDSHAKES_PER_ADDRESS_MAX, lambda _peer: "192.0.2.1"),
        ):
            self.patch(doorway, "origin_of", origin)
            self.network.settle(limits.HANDSHAKE_SECONDS + 1)
            silent += [Stranger(self.network) for _ in range(300)]
            for each in silent[-300:]:
                self.network.connect(parse_address(ROOT_ADDRESS), each)
            self.network.settle(0.1)
            self.assertEqual(len(self.network.process_of(root).channels), most)
        begun = self.network.clock.seconds()
        self.network.start(self.child())
        self.assertLess(self.network.clock.seconds() - begun, 1)
        self.assertEqual(self.ids(root), [CHILD])
        half = HalfWay(self.network, make_terms(0x10005)).dial(ROOT_ADDRESS)
        self.network.settle(limits.HANDSHAKE_SECONDS + 1)
        self.assertIsNotNone(half.ended)
        self.assertEqual([each for each in silent if each.ended is None], [])

    def test_security_amplification(self) -> None:
        """What a stranger says is answered with no more bytes than it said."""
        root = self.root(access_tokens=["geheim"], labels={"a": "b" * 200})
        self.network.start(root)
        for terms in (make_terms(CHILD), make_terms(CHILD, tokens=(b"wrong",))):
            stranger = Stranger(self.network, terms).dial(ROOT_ADDRESS)
            self.network.settle(limits.HANDSHAKE_SECONDS + 1)
            channel: Any = stranger.channel
            said = sum(map(len, channel.sent))
            heard = sum(len(codec.encode(message)) for message in stranger.received)
            self.assertGreater(heard, 0)
            self.assertLessEqual(heard, said)

    def test_security_before_registration(self) -> None:
        """
        Nothing of a stranger reaches a parser written in C, or the application: not a compressed
        frame, not data, not a command.
        """
        root = self.root(compression=["deflate"])
        self.network.start(root)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        extras = (compression_extra(CompressionAlgorithm.DEFLATE),)
        data = Data(source=CHILD, destination=ROOT, messages=((0, b"x" * 9),), extras=extras)
        frame = codec.encode(attrs.evolve(data, flags=Flags.COMPRESSED))
        stranger.say_raw(frame)
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(root.statistics.received_messages, 0)
        self.assertIn("OUT_OF_TURN", self.diaries[root].errors())


class CertificateTests(SynchronousTestCase):
    """Somebody has a certificate, but not that of the node that he wants to be."""

    def test_security_certificate_identity(self) -> None:
        """A name is exact, or it is nobody's: no other case, no wildcard, no second one."""
        good = "atbus://test/0x12340000/16"
        self.assertEqual(find_identity([good, "https://x.example/"], "test").subnet.mask_bits, 16)
        for names in (
            [],
            [good, good],
            [good, "ATBUS://test/0x5/0"],
            ["atbus://test/0x12340000/16/"],
            ["atbus://test/0x12340000/16#x"],
            ["atbus://test/0x12340001/16"],
            ["atbus://test/0x012340000/16"],
            ["atbus://test/0X12340000/16"],
            ["atbus://test/0x1234ABCD/0"],
            ["atbus://test/*/16"],
            ["atbus://test/0x12340000/64"],
            ["atbus://test/0x12340000/016"],
            ["atbus://*/0x12340000/16"],
            ["atbus://other/0x12340000/16"],
            ["atbus://test.other/0x12340000/16"],
            ["atbus://test/0x12340000/16\n"],
        ):
            self.assertRaises(ValueError, find_identity, names, "test")


class TokenTests(SynchronousTestCase):
    """Somebody has listened."""

    def replay(self, machine: Handshake, frames: list[bytes]) -> HandshakeEnd:
        """Say recorded frames to a new machine."""
        end = HandshakeEnd(machine, admit)
        end.perform(machine.open(0.0), 0.0)
        end.incoming.extend(frames)
        while end.deliver(0.0):
            pass
        return end

    def test_security_token_replay(self) -> None:
        """
        A thousand recorded sessions are refused for want of a proof, by either side and by another
        node; and no prefix of every eleventh is worth anything.
        """
        proof = prove((TOKEN,), Side.DIALLER, b"hellos", b"a connection's own")
        self.assertTrue(verify((TOKEN,), proof, Side.DIALLER, b"hellos", b"a connection's own"))
        self.assertFalse(verify((TOKEN,), proof, Side.LISTENER, b"hellos", b"a connection's own"))
        random = Random(7)
        for number in range(1000):
            nonces = [hashlib.sha256(b"%d %d" % (number, side)).digest()[:16] for side in (1, 2)]
            # Every other one over TLS; and of every fourth the nonces are drawn once more.
            exporter = b"a connection's own" if number % 2 else b""
            how: dict[str, Any] = {
                "tokens": (TOKEN,),
                "exporter": exporter,
                "role": Role.DATA if number % 8 < 2 else Role.CONTROL,
            }
            pair = HandshakePair(
                make_terms(1, nonce=nonces[0], epoch=number, **how),
                make_terms(2, nonce=nonces[1], epoch=number, **how),
            )
            pair.run()
            self.assertIsNotNone(pair.listener.registered)
            again = [random.randbytes(16)] * 2
            if number % 4 == 3:
                # The same lots: it is another connection all the same.
                again, how["exporter"] = nonces, b"another's"
            one, two = ({**how, "nonce": nonce, "epoch": number} for nonce in again)
            made: tuple[tuple[list[bytes], Callable[..., Handshake], LocalTerms], ...] = (
                (pair.dialler.written, PassiveHandshake, make_terms(2, **two)),
                (pair.listener.written, ActiveHandshake, make_terms(1, **one)),
                (pair.dialler.written, PassiveHandshake, make_terms(3, **two)),
            )
            for frames, machine, terms in made:
                whole = self.replay(machine(terms), frames)
                refused = whole.refused
                self.assertIs(refused and refused.status, Status.ACCESS_DENIED)
                # Of each kind of recording some are broken off everywhere.
                lengths = range(len(frames)) if number % 11 == 0 else ()
                for end in (whole, *(self.replay(machine(terms), frames[:n]) for n in lengths)):
                    self.assertIsNone(end.question)
                    self.assertIsNone(end.registered)

    def test_security_downgrade(self) -> None:
        """Who changes a version or a capability on the way breaks the proof of both sides."""
        changes: tuple[dict[str, Any], ...] = (
            {"capabilities": 0},
            {"version_max": 1},
            {"frame_max": limits.FRAME_BYTES_MIN},
        )
        terms: dict[str, Any] = {
            "tokens": (TOKEN,),
            "capabilities": int(Capability.DEFLATE),
            "versions": (1, 2),
        }
        for change in changes:
            pair = HandshakePair(make_terms(1, **terms), make_terms(2, **terms))
            pair.open()
            (hello,) = [codec.decode(frame) for frame in pair.listener.incoming if frame]
            assert isinstance(hello, Hello)
            pair.listener.incoming[0] = codec.encode(attrs.evolve(hello, **change))
            pair.settle()
            self.assertIsNone(pair.listener.registered)
            self.assertIsNone(pair.dialler.registered)
            assert pair.listener.refused is not None
            self.assertIs(pair.listener.refused.status, Status.ACCESS_DENIED)

    def test_security_oversized_and_malformed(self) -> None:
        """A length that cannot be is found before anything is kept, whoever says it."""
        for length in (limits.HANDSHAKE_BYTES + 1, 2**31, 2**32 - 1):
            buffer = FrameBuffer(limits.HANDSHAKE_BYTES)
            said = length.to_bytes(4, "little") + bytes(60_000)
            self.assertRaises(FrameTooLarge, buffer.feed, said)
            self.assertEqual(buffer.pending_bytes, 0)
        keeper = Doorkeeper()
        for _ in range(limits.BREACHES_PER_MINUTE):
            keeper.breach("192.0.2.1", 1.0)
        self.assertIsNotNone(keeper.refuses("192.0.2.1", 1.0 + limits.BAN_SECONDS - 1))
