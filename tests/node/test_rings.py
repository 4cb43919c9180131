"""Data between nodes of one process takes memory instead of the stream."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.address import Address, Scheme, parse_address
from atbus.busid import BusId
from atbus.errors import ConnectFailed, ListenFailed, Status
from atbus.node.connection import Connection
from atbus.node.endpoint import Gate
from atbus.node.node import Node
from atbus.node.ring import Direction, RingConnection
from atbus.wire import codec
from atbus.wire.messages import Goodbye, RegisterResponse
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests, Keeper

MEMORY = "mem://root"


def used(node: Node, bus_id: int) -> str:
    """Say which scheme data takes from a node to a neighbor."""
    connection = node.next_hop(bus_id).connection
    assert connection is not None
    return connection.address.scheme.value


def rings(node: Node, bus_id: int) -> list[RingConnection]:
    """Give the rings that a node writes towards a neighbor."""
    return [r for r in node.endpoints[BusId(bus_id)].rings if r.direction is Direction.WRITING]


class MemoryRingTests(BusTests):
    """Two nodes of one process."""

    def pair(self, **options: Any) -> tuple[Node, Node]:
        """Start a root that listens in memory as well, and a child that does, too."""
        root = self.root(listen=[ROOT_ADDRESS, MEMORY], **options)
        child = self.child(listen=["mem://auto"], **options)
        self.network.start(root, child)
        self.network.settle()
        return root, child

    def test_memory_is_chosen(self) -> None:
        """
        Two nodes of one process that listen in memory send their data there, each its own way, and
        an event says so; the stream stays.

        Scenario: H20
        """
        root, child = self.pair()
        self.assertEqual((used(root, CHILD), used(child, ROOT)), ("mem", "mem"))
        for node in (root, child):
            [(endpoint, connection)] = self.diaries[node].of("on_channel_changed")
            self.assertEqual(connection.address.scheme, Scheme.MEM)
            self.assertEqual(len(endpoint.data), 1)
        root.receiver, child.receiver = Keeper(), Keeper()
        for number in range(100):
            root.send(CHILD, b"%d" % number)
            child.send(ROOT, b"%d" % number)
        self.network.settle()
        expected = [b"%d" % number for number in range(100)]
        self.assertEqual(child.receiver.payloads, expected)
        self.assertEqual(root.receiver.payloads, expected)
        [ring] = rings(child, ROOT)
        assert ring.channel is not None
        self.assertGreater(ring.channel.written_bytes, 100)
        self.assertTrue(ring.link is not None and ring.link.idle)

    def test_the_story_of_a_ring(self) -> None:
        """
        A ring is a new connection of an endpoint that is registered: no endpoint is added for it,
        and nothing registers.
        """
        _, child = self.pair()
        story = self.diaries[child].story()
        first_ring = story.index("new_connection to ring")
        self.assertGreater(first_ring, story.index("endpoint_added 10000"))
        self.assertEqual(sum("endpoint_added" in line for line in story), 1)
        self.assertFalse(any("register" in line and "ring" in line for line in story))

    def test_everything_that_is_larger(self) -> None:
        """A message longer than a frame, a request and a command go through memory as well."""
        root, child = self.pair()
        root.receiver = Keeper()
        root.on_request(lambda source, payload: payload[::-1])
        payload = bytes(range(256)) * 1000
        child.send(ROOT, payload)
        reply = self.network.result_of(child.request(ROOT, b"abc"))
        self.assertEqual(reply, b"cba")
        self.assertEqual(root.receiver.payloads[:1], [payload])

    def test_commands(self) -> None:
        """
        A command to a node that is reached through memory is executed, and, unlike in libatbus,
        answered: the answer takes the stream.

        Scenario: L5
        """
        root, child = self.pair()
        root.on_command(lambda source, words: [b"pong"])
        self.assertEqual(self.network.result_of(child.command(ROOT, b"ping")), [b"pong"])

    def test_only_one_of_them_listens(self) -> None:
        """Memory goes one way: where only one listens, only data to it goes there."""
        root = self.root(listen=[ROOT_ADDRESS, MEMORY])
        child = self.child()
        self.network.start(root, child)
        self.network.settle()
        self.assertEqual((used(root, CHILD), used(child, ROOT)), ("ipv4", "mem"))

    def shared(self, node: Node) -> RingConnection:
        """Give a node a second ring to its root, which counts as shared memory."""
        parts = node._parts
        endpoint = node.endpoints[BusId(ROOT)]
        opening = parts.rings.begin(endpoint, Address(Scheme.SHM, "lane"))
        assert opening is not None
        # What carries it is memory: no kernel is asked here.
        memory = parse_address(MEMORY)
        self.network.result_of(parts.dialer._channels.connect(memory, opening.ring))
        self.assertTrue(parts.rings.opened(opening, limits.FRAME_BYTES))
        parts.rings.choose(endpoint)
        return opening.ring

    def test_the_best_whatever_came_first(self) -> None:
        """
        Data takes memory before shared memory before the stream, whichever opened first and
        whichever is left, and nothing is lost or overtaken.
        """
        root, child = self.pair()
        root.receiver = Keeper()
        seen: list[str] = []

        def look(seconds: float = 1.0) -> None:
            for _ in range(10):
                child.send(ROOT, b"%d" % len(seen))
            self.network.settle(seconds)
            seen.append(used(child, ROOT))

        look()
        [memory] = rings(child, ROOT)
        shared = self.shared(child)
        look()
        memory.abort(Status.LINK_LOST, "broken")
        look()
        # A place that could not be kept is tried again later.
        look(limits.REFUSED_SECONDS + 5)
        [memory] = [ring for ring in rings(child, ROOT) if ring is not shared]
        memory.abort(Status.LINK_LOST, "broken")
        shared.abort(Status.LINK_LOST, "broken")
        look()
        self.assertEqual(seen, ["mem", "mem", "shm", "mem", "ipv4"])
        self.assertEqual(root.receiver.payloads, [b"%d" % n for n in range(5) for _ in range(10)])

    def test_a_place_that_is_announced_later(self) -> None:
        """A node that listens in memory later is written to there from then on, nothing lost."""
        root, child = self.root(), self.child()
        self.network.start(root, child)
        root.receiver = Keeper()
        self.network.settle()
        for number in range(50):
            child.send(ROOT, b"%d" % number)
            if number == 20:
                self.network.result_of(root.listen(MEMORY))
            self.network.settle(0.01)
        self.network.settle()
        self.assertEqual(used(child, ROOT), "mem")
        self.assertEqual(root.receiver.payloads, [b"%d" % number for number in range(50)])

    def test_another_process(self) -> None:
        """Memory of another process is never connected to, whatever its name."""
        root, child = self.root(listen=[ROOT_ADDRESS, MEMORY]), self.child()
        identity = root._parts.context.identity
        root._parts.context.identity = type(identity)(
            host=identity.host, process="1.2/3", hostname=identity.hostname
        )
        self.network.start(root, child)
        self.network.settle()
        self.assertEqual(used(child, ROOT), "ipv4")
        self.assertEqual(rings(child, ROOT), [])
        self.assertEqual(self.diaries[child].errors(), [])

    def test_a_writer_of_another_process(self) -> None:
        """Nor is a writer taken in, whatever its name, that has said it is in another process."""
        root, child = self.root(listen=[ROOT_ADDRESS, MEMORY]), self.child()
        identity = child._parts.context.identity
        child._parts.context.identity = type(identity)(
            host=identity.host, process="1.2/3", hostname=identity.hostname
        )
        self.network.start(root, child)
        self.network.settle()
        name = f"mem:{CHILD:#x}"
        self.assertIsNone(root._parts.rings.accept(parse_address(MEMORY), name))
        self.assertEqual(self.diaries[root].errors(), ["UNKNOWN_ENDPOINT"])
        self.assertEqual(root.endpoints[BusId(CHILD)].rings, [])

    def test_a_copied_identity(self) -> None:
        """
        Where another node answers at the name than the one that announced it, the ring is not
        used, and left alone for a while.
        """
        impostor = self.node(0x77777, listen=[MEMORY])
        root, child = self.root(), self.child()
        self.network.start(impostor, root, child)
        self.network.settle()
        announced = (*root._parts.context.table.own_subnets,)
        self.assertTrue(announced)
        neighbor = child._parts.context.table.get(BusId(ROOT))
        assert neighbor is not None
        child._parts.context.table.add(
            type(neighbor)(
                bus_id=neighbor.bus_id,
                subnets=neighbor.subnets,
                position=neighbor.position,
                listens=(*neighbor.listens, Address(Scheme.MEM, "root")),
            )
        )
        self.network.settle()
        self.assertEqual(rings(child, ROOT), [])
        self.assertEqual(used(child, ROOT), "ipv4")
        self.assertEqual(self.diaries[impostor].errors()[:1], ["UNKNOWN_ENDPOINT"])
        self.assertEqual(self.diaries[child].errors(), ["BUS_ID_MISMATCH"])
        self.assertEqual(self.diaries[child].of("on_channel_changed"), [])

    def test_what_does_not_belong_on_a_ring(self) -> None:
        """
        A registration or a goodbye on a ring, and anything on one that was not attached, ends that
        ring and is named; the stream stays, and data takes it.
        """
        words = (
            RegisterResponse(source=CHILD, status=Status.OK),
            Goodbye(source=CHILD),
        )
        root, child = self.pair()
        root.receiver = Keeper()
        endpoint = root.endpoints[BusId(CHILD)]
        for number, word in enumerate(words, start=1):
            [ring] = rings(child, ROOT)
            assert ring.channel is not None
            ring.channel.send([codec.encode(word)])
            self.network.settle()
            self.assertEqual(self.diaries[root].errors(), ["OUT_OF_TURN"] * number, word)
            self.assertEqual(used(child, ROOT), "ipv4")
            self.network.settle(limits.REFUSED_SECONDS + 5)
            self.assertEqual(used(child, ROOT), "mem")
        child.send(ROOT, b"goes on")
        self.network.settle()
        self.assertEqual(root.receiver.payloads, [b"goes on"])
        self.assertIs(root.endpoints[BusId(CHILD)], endpoint)
        unattached = root._parts.rings.make(endpoint, parse_address(MEMORY), Direction.WRITING)
        unattached.frames_received([codec.encode(word)])
        self.assertEqual(self.diaries[root].errors()[len(words) :], ["OUT_OF_TURN"])

    def test_many_that_are_not_used(self) -> None:
        """Of more rings that could not be used than are remembered, the last ones are."""
        self.patch(limits, "RINGS_REFUSED_MAX", 1)
        impostors = [self.node(0x77770 + n, listen=[f"mem://other-{n}"]) for n in range(3)]
        root, child = self.root(), self.child()
        self.network.start(*impostors, root, child)
        self.network.settle()
        neighbor = child._parts.context.table.get(BusId(ROOT))
        assert neighbor is not None
        for number in range(3):
            child._parts.context.table.add(
                type(neighbor)(
                    bus_id=neighbor.bus_id,
                    subnets=neighbor.subnets,
                    position=neighbor.position,
                    listens=(*neighbor.listens, Address(Scheme.MEM, f"other-{number}")),
                )
            )
            self.network.settle()
            refused = [str(address) for _, address in child._parts.rings._refused]
            self.assertEqual(refused, [f"mem://other-{number}"])

    def test_memory_goes(self) -> None:
        """
        When the ring breaks data goes on over the stream; what was not taken is not lost, what was
        on its way is uncertain, and every message has one fate.

        Scenario: H22
        """
        root, child = self.pair()
        root.receiver = Keeper()
        for number in range(10):
            child.send(ROOT, b"%d" % number)
        self.network.settle()
        [ring] = rings(child, ROOT)
        ring.abort(Status.LINK_LOST, "broken")
        child.send(ROOT, b"after")
        self.network.settle()
        self.assertEqual(used(child, ROOT), "ipv4")
        self.assertEqual(root.receiver.payloads[-1:], [b"after"])
        self.assertEqual(len(root.receiver.payloads), 11)

    def test_a_change_that_was_not_wanted_is_told(self) -> None:
        """
        When the ring that data takes breaks an event names the stream, after what the ring had not
        taken was sent again: what the program sends then overtakes nothing.
        """
        root, child = self.pair()
        root.receiver = Keeper()
        told: list[str] = []

        def changed(_: object, connection: Connection) -> None:
            told.append(connection.address.scheme.value)
            child.send(ROOT, b"told")

        child.events.on_channel_changed.observe(changed)
        [ring] = rings(child, ROOT)
        child.send(ROOT, b"waits")
        ring.abort(Status.LINK_LOST, "broken")
        self.network.settle()
        self.assertEqual((told, used(child, ROOT)), (["ipv4"], "ipv4"))
        self.assertEqual(root.receiver.payloads, [b"waits", b"told"])
        self.network.settle(limits.REFUSED_SECONDS + 5)
        self.assertEqual((told, used(child, ROOT)), (["ipv4", "mem"], "mem"))

    def test_one_that_is_not_used_breaks(self) -> None:
        """Nothing is told of a ring that data does not take, nor when the node goes with it."""
        _, child = self.pair()
        self.shared(child)
        changes = self.diaries[child].of("on_channel_changed")
        [unused] = [r for r in rings(child, ROOT) if r.address.scheme is Scheme.SHM]
        unused.abort(Status.LINK_LOST, "broken")
        self.network.settle()
        child.disconnect(ROOT)
        self.network.settle()
        self.assertEqual(self.diaries[child].of("on_channel_changed"), changes)

    def test_streams_of_others_break(self) -> None:
        """
        A change of channel towards one node goes on when another node's stream breaks: what was
        sent before it is not overtaken, and it is not called off.
        """
        root = self.root(listen=[ROOT_ADDRESS, MEMORY])
        children = [self.child(CHILD + n, listen=["mem://auto"]) for n in range(2)]
        self.network.start(root, *children)
        self.network.settle()
        children[0].receiver = Keeper()
        endpoint, other = (root.endpoints[BusId(CHILD + n)] for n in range(2))
        [ring] = rings(root, CHILD)
        schemes = []
        for number, channel in enumerate((None, ring)):
            root.send(CHILD, b"%d before" % number)
            root._parts.paths.change_channel(endpoint, channel)
            self.assertIs(endpoint.gate, Gate.CHANGING)
            [stream] = other.data
            stream.abort(Status.LINK_LOST, "broken")
            self.network.settle(0)
            root.send(CHILD, b"%d behind" % number)
            self.network.settle(5)
            schemes.append(used(root, CHILD))
        self.assertEqual(schemes, ["ipv4", "mem"])
        self.assertEqual(root.statistics.order_given_up, 0)
        expected = [b"0 before", b"0 behind", b"1 before", b"1 behind"]
        self.assertEqual(children[0].receiver.payloads, expected)

    def test_the_stream_goes_and_comes(self) -> None:
        """While the data stream is dialled again, data travels the ring; nothing is lost."""
        root, child = self.pair()
        root.receiver = Keeper()
        [stream] = child.endpoints[BusId(ROOT)].data
        stream.abort(Status.LINK_LOST, "broken")
        for number in range(20):
            child.send(ROOT, b"%d" % number)
            self.network.settle(0.01)
        self.network.settle(5)
        self.assertEqual(root.receiver.payloads, [b"%d" % number for number in range(20)])
        [again] = child.endpoints[BusId(ROOT)].data
        self.assertIsNot(again, stream)
        self.assertEqual(used(child, ROOT), "mem")

    def test_a_thousand_changes(self) -> None:
        """
        Data changes between memory and the stream a thousand times under load, both ways: nothing
        is lost, doubled or overtaken.
        """
        root, child = self.pair()
        root.receiver, child.receiver = Keeper(), Keeper()
        sent = 0
        for change in range(1000):
            for node, other in ((root, CHILD), (child, ROOT)):
                endpoint = node.endpoints[BusId(other)]
                [ring] = rings(node, other)
                node._parts.paths.change_channel(endpoint, None if change % 2 == 0 else ring)
            for _ in range(3):
                root.send(CHILD, b"%d" % sent)
                child.send(ROOT, b"%d" % sent)
                sent += 1
                self.network.settle(0.001 * (change % 4))
        self.network.settle()
        expected = [b"%d" % number for number in range(sent)]
        self.assertEqual(child.receiver.payloads, expected)
        self.assertEqual(root.receiver.payloads, expected)
        changes = len(self.diaries[child].of("on_channel_changed"))
        self.assertGreater(changes, 250)
        self.assertEqual(child._parts.context.statistics.order_given_up, 0)

    def test_what_passes_through(self) -> None:
        """A relay whose way leads through memory passes on messages there, acknowledged as ever."""
        root = self.root(listen=[ROOT_ADDRESS, MEMORY])
        children = [self.child(CHILD + n, listen=["mem://auto"]) for n in range(2)]
        self.network.start(root, *children)
        self.network.settle()
        children[1].receiver = Keeper()
        fates = [children[0].deliver(CHILD + 1, b"%d" % n) for n in range(20)]
        self.network.settle()
        for fate in fates:
            self.assertIs(self.network.result_of(fate).status, Status.OK)
        self.assertEqual(children[1].receiver.payloads, [b"%d" % n for n in range(20)])

    def test_a_stop_loses_nothing(self) -> None:
        """What was sent through memory before a stop arrives, in both directions."""
        root, child = self.pair()
        root.receiver, child.receiver = Keeper(), Keeper()
        for number in range(300):
            child.send(ROOT, b"%d" % number)
            root.send(CHILD, b"%d" % number)
        self.network.stop(child)
        expected = [b"%d" % number for number in range(300)]
        self.assertEqual(root.receiver.payloads, expected)
        self.assertEqual(child.receiver.payloads, expected)

    def test_the_writer_leaves_while_it_changes(self) -> None:
        """A node that stops in the middle of a change still loses nothing."""
        root, child = self.pair()
        root.receiver = Keeper()
        endpoint = child.endpoints[BusId(ROOT)]
        for number in range(50):
            child.send(ROOT, b"%d" % number)
        child._parts.paths.change_channel(endpoint, None)
        child.send(ROOT, b"50")
        self.network.stop(child)
        self.assertEqual(root.receiver.payloads, [b"%d" % number for number in range(51)])

    def test_a_name_that_is_taken(self) -> None:
        """Two nodes of one process cannot listen at one name; the second does not start."""
        root, other = self.root(listen=[ROOT_ADDRESS, MEMORY]), self.node(0x20000, listen=[MEMORY])
        self.network.start(root)
        self.failure_of(other.start(), ListenFailed)

    def test_memory_cannot_be_dialled(self) -> None:
        """
        A program cannot connect to an address that goes one way.

        Scenario: B13
        """
        _, child = self.pair()
        self.failure_of(child.connect(MEMORY), ConnectFailed)

    def test_links_show_what_is_used(self) -> None:
        """The built-in command shows each channel and which one data takes."""
        _, child = self.pair()
        [line] = self.network.result_of(child.command(ROOT, b"atbus.links"))
        used_ones = [part for part in line.split(b"}") if b'"used":true' in part]
        self.assertEqual(len(used_ones), 1)
        self.assertIn(b'"channel":"mem"', used_ones[0])
