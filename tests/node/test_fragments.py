"""Messages that are larger than a frame, over any number of links."""

from __future__ import annotations

from typing import Any

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from atbus.wire import codec
from atbus.wire.head import HEAD_SIZE
from atbus.wire.messages import Data, Extra, Flags, Fragment, MessageType
from tests.node.mail import NORTH, ROOT, SOUTH, MailTests


def content(size: int, seed: int = 1) -> bytes:
    """Make bytes of which no two stretches are alike."""
    return bytes((place * 131 + place // 251 * seed) & 255 for place in range(size))


class FragmentTests(MailTests):
    """Large messages that arrive."""

    def test_over_several_links(self) -> None:
        """Messages from just above a frame to the limit arrive whole over four links."""
        self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        sizes = (65_400, 65_536, 70_000, 200_001, limits.MESSAGE_BYTES)
        payloads = [content(size) for size in sizes]
        for payload in payloads:
            one.send(SOUTH + 1, payload, len(payload) % 1000)
        self.network.settle(2)
        self.assertEqual(self.mail[two].payloads, payloads)
        kinds = [letter.kind for letter in self.mail[two].letters]
        self.assertEqual(kinds, [len(payload) % 1000 for payload in payloads])
        self.assert_quiet(*self.nodes)

    def test_order_with_small_ones(self) -> None:
        """Small messages of the same flow neither overtake a large one nor wait for ever."""
        self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        sizes = [10, 100_000, 0, 0, 300_000, 5, 66_000, 66_000, 1]
        sequences = [one.send(SOUTH + 1, content(size)) for size in sizes]
        self.network.settle(2)
        letters = self.mail[two].letters
        self.assertEqual([len(letter.payload) for letter in letters], sizes)
        self.assertEqual([letter.sequence for letter in letters], sequences)
        self.assertEqual(letters[4].payload, content(300_000))

    def test_flows_do_not_mix(self) -> None:
        """Large messages of several senders to one receiver are put together each by itself."""
        _, north, south = self.proxies()
        senders = [self.leaf(NORTH + number) for number in (1, 2, 3)] + [south]
        for turn in range(3):
            for place, sender in enumerate(senders):
                sender.send(NORTH, content(90_000 + turn, place + 1))
                sender.send(ROOT, b"small")
        self.network.settle(2)
        for place, sender in enumerate(senders):
            expected = [content(90_000 + turn, place + 1) for turn in range(3)]
            self.assertEqual(self.mail[north].payloads_from(sender.bus_id), expected)

    def test_answers_and_requests(self) -> None:
        """A large message can be confirmed, a large question gets a large reply."""
        root, child = self.pair()
        fate = self.ended(child.deliver(ROOT, content(150_000)))
        self.assertIs(fate.status, Status.OK)
        root.on_request(lambda source, payload: payload[::-1])
        question = content(400_000)
        self.assertEqual(self.ended(child.request(ROOT, question)), question[::-1])

    def test_its_size_counts_once(self) -> None:
        """A message in fragments is one message in every count."""
        root, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        leaf.send(ROOT, content(300_000))
        self.network.settle()
        sent = leaf.statistics
        self.assertEqual((sent.sent_messages, sent.sent_bytes), (1, 300_000))
        received = root.statistics
        self.assertEqual((received.received_messages, received.received_bytes), (1, 300_000))
        self.assertEqual(north.statistics.forwarded_messages, 1)
        self.assertEqual(north.statistics.forwarded_frames, 5)


class NearTests(MailTests):
    """Links within a host, whose frames are longer."""

    def family(self, **options: Any) -> tuple[Node, Node, Node]:
        """Start a root with a child on its host and another one elsewhere."""
        near_address = "unix:///run/root"
        root = self.root(listen=[near_address, "ipv4://10.0.0.1:1"], **options)
        near = self.child(NORTH, upstream=near_address, **options)
        far = self.child(SOUTH, **options)
        context = far._parts.context
        context.identity = attrs.evolve(context.identity, host="another")
        self.network.start(root, near, far)
        self.network.settle()
        return root, near, far

    def test_one_frame_within_a_host(self) -> None:
        """A message of 256 KiB is one frame to a neighbor on the host, and five on a network."""
        root, near, far = self.family()
        payload = content(256 * 1024)
        near.send(ROOT, payload)
        far.send(ROOT, payload)
        self.network.settle()
        self.assertEqual(self.mail[root].payloads, [payload, payload])
        self.assertEqual([self.long_frames(near, root), self.long_frames(far, root)], [1, 4])

    def test_a_relay_cuts_what_goes_on_over_a_network(self) -> None:
        """From the host to another one a message is passed on in frames of a network."""
        root, near, far = self.family()
        payloads = [content(256 * 1024), *(content(1_000, seed) for seed in range(300))]
        for payload in payloads:
            near.send(SOUTH, payload)
            far.send(NORTH, payload)
        self.network.settle()
        self.assertEqual(self.mail[far].payloads, payloads)
        self.assertEqual(self.mail[near].payloads, payloads)
        self.assertGreater(max(self.lengths(near, root)), limits.FRAME_BYTES)
        self.assertLessEqual(max(self.lengths(root, far)), limits.FRAME_BYTES)
        self.assert_quiet(root, near, far)

    def test_what_is_configured_holds_for_both(self) -> None:
        """Who asks for a length gets it, on the host as well."""
        root, near, far = self.family(frame_bytes_max=8_192)
        for child in (near, far):
            child.send(ROOT, content(50_000))
            root.send(child.bus_id, content(50_000))
        self.network.settle()
        self.assertEqual(len(self.mail[root].payloads), 2)
        for one, two in ((near, root), (root, near), (far, root), (root, far)):
            self.assertLessEqual(max(self.lengths(one, two)), 8_192)

    def lengths(self, sender: Node, receiver: Node) -> list[int]:
        """Give how long the frames were that a node sent another one."""
        channels = self.network.between(sender, receiver)
        return [len(frame) for channel in channels for frame in channel.sent]

    def long_frames(self, sender: Node, receiver: Node) -> int:
        """Count the frames that have more than a few words."""
        return sum(length > 10_000 for length in self.lengths(sender, receiver))


class NarrowTests(MailTests):
    """Links whose frames are shorter than those further back."""

    def narrow(self, **sizes: int) -> tuple[Node, ...]:
        """Start a tree whose nodes take frames of different length."""
        root = self.root(frame_bytes_max=sizes.get("root", 65_536))
        self.network.start(root)
        nodes = [root]
        for bus_id, name in ((NORTH, "north"), (SOUTH, "south")):
            address = f"ipv4://10.0.{bus_id >> 8 & 255}.0:1"
            node = self.node(
                bus_id,
                listen=[address],
                upstream="ipv4://10.0.0.1:1",
                subnets=[(0, 8)],
                frame_bytes_max=sizes.get(name, 65_536),
            )
            self.network.start(node)
            nodes.append(node)
        nodes.append(self.leaf(NORTH + 1, frame_bytes_max=sizes.get("one", 65_536)))
        nodes.append(self.leaf(SOUTH + 1, frame_bytes_max=sizes.get("two", 65_536)))
        return tuple(nodes)

    def check(self, nodes: tuple[Node, ...]) -> None:
        """Send everything that there is from the first leaf to the second; no link may break."""
        *_, one, two = nodes
        sizes = [0, 10, 3_000, 4_040, 4_100, 60_000, 65_416, 65_424, 200_000, 7]
        payloads = [content(size) for size in sizes]
        for payload in payloads:
            one.send(SOUTH + 1, payload, len(payload) % 99, trace=len(payload) == 3_000)
        waiting = one.deliver(SOUTH + 1, content(50_000))
        two.on_request(lambda source, payload: payload)
        self.assertEqual(self.ended(one.request(SOUTH + 1, content(30_000))), content(30_000))
        self.assertIs(self.ended(waiting).status, Status.OK)
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [*payloads, content(50_000)])
        sequences = [letter.sequence for letter in self.mail[two].letters]
        self.assertEqual(sequences, list(range(sequences[0], sequences[0] + len(sequences))))
        kinds = [letter.kind for letter in self.mail[two].letters[:-1]]
        self.assertEqual(kinds, [size % 99 for size in sizes])
        for node in nodes:
            self.assertEqual(self.diaries[node].of("on_close_connection"), [])
            self.assertEqual(self.diaries[node].errors(), [])
            for channel in self.network.between(node, nodes[0]) if node is not nodes[0] else []:
                longest = max(map(len, channel.sent), default=0)
                self.assertTrue(longest <= channel.other.frame_limit, longest)
        self.assert_quiet(*nodes)

    def test_a_narrow_root(self) -> None:
        """A relay in the middle takes shorter frames than those before it and behind it."""
        self.check(self.narrow(root=4_096))

    def test_a_narrow_end(self) -> None:
        """The last node takes the shortest frames of all."""
        self.check(self.narrow(two=4_096))

    def test_narrower_and_narrower(self) -> None:
        """Each node takes shorter frames than the one before; fragments are cut again."""
        self.check(self.narrow(one=60_000, north=40_000, root=20_000, south=8_000, two=4_096))

    def test_the_narrowest_first(self) -> None:
        """What has been cut stays cut, and is put together at the end."""
        self.check(self.narrow(one=4_096))

    def test_a_fragment_that_reaches_beyond_its_message(self) -> None:
        """It is refused where it would be cut, and costs nobody else's link."""
        nodes = self.narrow(two=4_096)
        _, north, _, one, two = nodes
        self.pretend_sent(one, SOUTH + 1)
        fragment = Fragment(
            source=NORTH + 1, destination=SOUTH + 1, sequence=10, epoch=one.epoch,
            offset=0, total=2**32 - 1, kind=0, payload=bytes(10_000),
        )  # fmt: skip
        frame = bytearray(codec.encode(fragment))
        frame[HEAD_SIZE : HEAD_SIZE + 4] = (2**32 - 5_000).to_bytes(4, "little")
        self.say_raw(one, north, bytes(frame))
        self.network.settle()
        self.assertEqual(self.mail[one].statuses(), ["MALFORMED_FRAME"])
        for node in nodes:
            self.assertEqual(self.diaries[node].of("on_close_connection"), [])
        one.send(SOUTH + 1, b"afterwards")
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, [b"afterwards"])

    def test_a_run_is_cut_between_messages(self) -> None:
        """A run that is too long for a link becomes several; each message keeps its sequence."""
        nodes = self.narrow(south=4_096)
        root, _, south, one, two = nodes
        payloads = [b"%05d" % number * 100 for number in range(100)]
        sequences = self.send_all(one, SOUTH + 1, payloads)
        self.network.settle()
        self.assertEqual(self.mail[two].payloads, payloads)
        self.assertEqual([letter.sequence for letter in self.mail[two].letters], sequences)
        runs = self.frames(self.data_channel(root, south), MessageType.DATA)
        self.assertTrue(len(runs) > 10)
        self.assertEqual(self.frames(self.data_channel(root, south), MessageType.FRAGMENT), [])

    def test_parts_share_one_custody(self) -> None:
        """The frame that was cut is acknowledged when the last of its parts is."""
        nodes = self.narrow(two=4_096)
        _, _, south, one, two = nodes
        self.network.freeze(two)
        self.send_all(one, SOUTH + 1, [content(500)] * 20)
        self.network.settle(0.5)
        link = one.endpoints[NORTH].data_link
        assert link is not None
        self.assertEqual(len(link.outgoing), 1)
        last = south.endpoints[SOUTH + 1].data_link
        assert last is not None
        self.assertTrue(len(last.outgoing) > 1)
        self.network.thaw(two)
        self.network.settle()
        self.assertEqual(len(self.mail[two].letters), 20)
        self.assert_quiet(*nodes)

    def test_a_cut_run_that_is_lost(self) -> None:
        """Of a run that was cut, each message has one fate, whatever became of its part."""
        nodes = self.narrow(two=4_096)
        *_, one, two = nodes
        self.network.freeze(two)
        sequences = self.send_all(one, SOUTH + 1, [content(500)] * 20)
        self.network.settle(0.5)
        self.kill(two)
        self.network.settle()
        told = [f.first_sequence + n for f in self.mail[one].fates for n in range(f.count)]
        self.assertEqual(sorted(told), sequences)
        self.assertEqual(set(self.mail[one].statuses()), {"UNCERTAIN"})

    def test_a_message_that_waited_for_a_narrow_link(self) -> None:
        """What was accepted before the link was there fits it when it comes."""
        root = self.root()
        self.network.start(root)
        child = self.child(frame_bytes_max=4_096)
        started = child.start()
        self.network.clock.run_until(lambda: child.bus_id in root.endpoints)
        payloads = [content(60_000), content(100_000), b"small"]
        for payload in payloads:
            root.send(child.bus_id, payload)
        self.assertEqual(len(root.endpoints[child.bus_id].pending), 16 + 26 + 1)
        self.network.result_of(started)
        self.network.settle()
        self.assertEqual(self.mail[child].payloads, payloads)
        self.assertEqual(self.diaries[root].errors(), [])


class LossTests(MailTests):
    """Large messages that do not arrive."""

    def test_one_word_for_a_message(self) -> None:
        """A message in fragments that is given up is answered once, and counted once."""
        root, north, _ = self.proxies()
        leaf = self.leaf(NORTH + 1)
        sequence = leaf.send(SOUTH + 9, content(500_000))
        self.network.settle()
        self.assertEqual(self.mail[leaf].news, [(SOUTH + 9, sequence, 1, "NO_ROUTE")])
        responses = self.responses_on_wire(north, leaf)
        self.assertEqual(len(responses), 1)
        south = next(node for node in self.nodes if node.bus_id == SOUTH)
        self.assertEqual(south.statistics.refused[Status.NO_ROUTE], 1)
        self.assert_quiet(root, north, leaf)

    def test_a_link_dies_under_it(self) -> None:
        """A message of which a part was lost is uncertain, once; what is there of it goes away."""
        root, north, south = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(SOUTH + 1)
        self.data_channel(root, south).stall()
        sequence = one.send(SOUTH + 1, content(300_000))
        after = one.send(SOUTH + 1, b"after")
        self.network.settle(0.5)
        self.network.cut(root, south)
        self.network.settle(3)
        one.send(SOUTH + 1, b"later")
        self.network.settle(limits.REASSEMBLY_SECONDS + 1)
        self.assertEqual(
            sorted(self.mail[one].news),
            [(SOUTH + 1, sequence, 1, "UNCERTAIN"), (SOUTH + 1, after, 1, "UNCERTAIN")],
        )
        self.assertEqual(self.mail[two].payloads, [b"later"])
        self.assertEqual(len(two._parts.inbox._reassembly), 0)
        self.assert_quiet(root, north, south, one, two)

    def fragment(self, **options: Any) -> Fragment:
        """Make a fragment by hand."""
        values: dict[str, Any] = {
            "source": NORTH + 1,
            "destination": NORTH + 2,
            "sequence": 10,
            "epoch": 1,
            "offset": 0,
            "total": 100,
            "kind": 0,
            "payload": bytes(50),
        }
        return Fragment(**{**values, **options})

    def statuses_for(self, *messages: Fragment | Data) -> list[str]:
        """Send some frames by hand from one leaf to the other; what the sender is told."""
        _, north, _ = self.proxies()
        one, two = self.leaf(NORTH + 1), self.leaf(NORTH + 2)
        self.pretend_sent(one, NORTH + 2)
        self.say(one, north, *(attrs.evolve(message, epoch=one.epoch) for message in messages))
        self.network.settle(limits.REASSEMBLY_SECONDS + 1)
        self.assertEqual(len(two._parts.inbox._reassembly), 0)
        self.received = self.mail[two].payloads
        return self.mail[one].statuses()

    def test_the_rest_never_comes(self) -> None:
        """A message that makes no progress is given up after a while."""
        self.assertEqual(self.statuses_for(self.fragment()), ["TIMEOUT"])

    def test_a_gap(self) -> None:
        """A fragment that does not follow its predecessor loses the message."""
        told = self.statuses_for(self.fragment(), self.fragment(offset=60, payload=bytes(40)))
        self.assertEqual(told, ["FRAGMENT_LOST"])

    def test_the_end_without_the_beginning(self) -> None:
        """A fragment from the middle of a message that nobody knows loses the message."""
        told = self.statuses_for(self.fragment(offset=50))
        self.assertEqual(told, ["FRAGMENT_LOST"])

    def test_something_between(self) -> None:
        """A message between the fragments of another one of its flow shows that it is lost."""
        between = Data(
            source=NORTH + 1, destination=NORTH + 2, sequence=11, messages=((0, b"between"),)
        )
        told = self.statuses_for(self.fragment(), between, self.fragment(offset=50))
        self.assertEqual(told, ["FRAGMENT_LOST"])
        self.assertEqual(self.received, [b"between"])

    def test_too_large_to_take(self) -> None:
        """A message that says it is larger than allowed is refused at its first fragment."""
        told = self.statuses_for(self.fragment(total=2**32 - 1))
        self.assertEqual(told, ["MESSAGE_TOO_LARGE"])

    def test_a_reply_in_fragments_that_says_not_to_what(self) -> None:
        """A malformed message in fragments is answered, and its frame answered for once."""
        fragments = [
            self.fragment(flags=Flags.REPLY),
            self.fragment(flags=Flags.REPLY, offset=50),
        ]
        self.assertEqual(self.statuses_for(*fragments), ["MALFORMED_FRAME"])

    def test_an_extra_that_must_be_understood(self) -> None:
        """What a destination must understand and does not, it refuses in fragments as well."""
        extras = (Extra(0xFFFF, b"?"),)
        told = self.statuses_for(self.fragment(extras=extras), self.fragment(offset=50))
        self.assertEqual(told, ["UNKNOWN_MANDATORY"])
