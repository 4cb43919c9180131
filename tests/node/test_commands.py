"""Commands: executed by the node they are for, and by nobody else."""

from __future__ import annotations

import itertools
import json
from typing import Any

from twisted.internet.defer import Deferred

from atbus import limits
from atbus.errors import LocalProtocolError, Status, Undeliverable
from atbus.node.node import Node
from atbus.wire import codec
from atbus.wire.messages import CommandRequest, CommandResponse, MessageType
from tests.node.bus import ROOT_ADDRESS
from tests.node.mail import NORTH, NORTH_ADDRESS, ROOT, SOUTH, MailTests


class CommandTests(MailTests):
    """Asking and answering."""

    def executing(self, node: Node) -> list[tuple[int, tuple[bytes, ...]]]:
        """Have a node echo commands; every one it executes from now on."""
        executed: list[tuple[int, tuple[bytes, ...]]] = []

        def execute(source: int, words: tuple[bytes, ...]) -> list[bytes]:
            executed.append((source, words))
            return [b"%x" % node.bus_id, *words]

        node.on_command(execute)
        return executed

    def test_to_a_neighbor(self) -> None:
        """
        Three arguments with NULs reach a neighbor with the sender's id; its lines come back.

        Scenario: L1
        """
        root, child = self.pair()
        executed = self.executing(root)
        words = (b"cmd", b"a\0b", b"\0\0")
        self.assertEqual(self.ended(child.command(ROOT, *words)), [b"10000", *words])
        self.assertEqual(executed, [(child.bus_id, words)])
        self.assertEqual(self.diaries[root].of("on_custom_command"), [(child.bus_id, words)])
        (request,) = self.frames(self.control_channel(child, root), MessageType.COMMAND_REQUEST)
        (answer,) = self.frames(self.control_channel(root, child), MessageType.COMMAND_RESPONSE)
        self.assertEqual(answer.sequence, request.sequence)
        self.assert_quiet(root, child)

    def test_from_a_temporary_node(self) -> None:
        """
        A node without an id is 0 to whom it asks, and gets its answer.

        Scenario: L2
        """
        root = self.root()
        temporary = self.node(0, upstream=ROOT_ADDRESS)
        self.network.start(root, temporary)
        executed = self.executing(root)
        for target in (0, ROOT):
            answer = self.ended(temporary.command(target, b"who", b"%d" % target))
            self.assertEqual(answer, [b"10000", b"who", b"%d" % target])
        self.assertEqual([source for source, _ in executed], [0, 0])

    def test_from_a_temporary_node_to_a_far_one(self) -> None:
        """The node that a temporary one is connected to asks in its stead, in its own name."""
        root, _, _ = self.proxies()
        leaf = self.leaf(SOUTH + 1)
        temporary = self.node(0, upstream=NORTH_ADDRESS)
        self.network.start(temporary)
        at_leaf, at_root = self.executing(leaf), self.executing(root)
        self.assertEqual(self.ended(temporary.command(SOUTH + 1, b"far")), [b"10201", b"far"])
        self.assertEqual(at_leaf, [(NORTH, (b"far",))])
        self.assertEqual(at_root, [])
        self.assertIs(self.ended(temporary.command(SOUTH + 9, b"far")), Status.NO_ROUTE)

    def test_to_oneself(self) -> None:
        """
        A command to the node itself is executed and answered like any other.

        Scenario: L3
        """
        root = self.root()
        self.network.start(root)
        executed = self.executing(root)
        self.assertEqual(self.ended(root.command(ROOT, b"self")), [b"10000", b"self"])
        self.assertEqual(executed, [(ROOT, (b"self",))])
        self.assertEqual(len(self.diaries[root].of("on_custom_command")), 1)

    def test_only_the_destination_executes(self) -> None:
        """
        A command to a far node is executed there, and by nobody on the way.

        Scenario: L12
        """
        nodes = [*self.proxies(), self.leaf(NORTH + 1), self.leaf(SOUTH + 1)]
        executed = [self.executing(node) for node in nodes]
        origin, target = nodes[3], nodes[4]
        self.assertEqual(self.ended(origin.command(SOUTH + 1, b"x")), [b"10201", b"x"])
        self.assertEqual([len(each) for each in executed], [0, 0, 0, 0, 1])
        self.assertEqual(executed[4], [(NORTH + 1, (b"x",))])
        self.network.stop(target)
        self.network.settle()
        self.assertIs(self.ended(origin.command(SOUTH + 1, b"x")), Status.NO_ROUTE)
        self.assertEqual([len(each) for each in executed], [0, 0, 0, 0, 1])

    def test_too_large(self) -> None:
        """
        A command beyond the limits is refused at once; one that reaches them is executed.

        Scenario: L6
        """
        root, child = self.pair()
        self.executing(root)
        most = bytes(limits.COMMAND_BYTES - 1)
        self.assertEqual(self.ended(child.command(ROOT, b"x", most))[2], most)
        for words in ([b"x", most + b"+"], [b""] * (limits.COMMAND_ARGUMENTS_MAX + 1)):
            asking = child.command(ROOT, *words)
            error = self.failureResultOf(asking, Undeliverable).value
            self.assertIs(error.status, Status.MESSAGE_TOO_LARGE)
            self.assertRegex(error.detail, r"\Aa command of \d+ (bytes|words), the limit is \d+\Z")
        words = [b"n"] * limits.COMMAND_ARGUMENTS_MAX
        self.assertEqual(len(self.ended(child.command(ROOT, *words))), len(words) + 1)

    def test_what_is_no_command(self) -> None:
        """What is no id and no bytes is refused at once."""
        _, child = self.pair()
        for target in (-1, 2**64):
            with self.subTest(target), self.assertRaises(LocalProtocolError):
                child.command(target, b"x")
        for word in (5, "text", None):
            with self.subTest(word), self.assertRaises(LocalProtocolError):
                child.command(ROOT, b"x", word)  # type: ignore[arg-type]  # what it is about
        self.assertIs(self.ended(child.command(0, b"x")), Status.NO_ROUTE)

    def test_an_answer_is_the_destinations(self) -> None:
        """Output is believed from the node that was asked; from others only that they gave up."""
        root, north, _ = self.proxies()
        one = self.leaf(NORTH + 1)
        later: Deferred[list[bytes]] = Deferred()
        root.on_command(lambda source, words: later)
        waiting = one.command(ROOT, b"x")
        self.network.settle(0.1)
        (request,) = self.frames(self.control_channel(one, north), MessageType.COMMAND_REQUEST)
        wrong = CommandResponse(
            source=NORTH, destination=NORTH + 1, sequence=request.sequence, lines=(b"wrong",)
        )
        self.say(north, one, wrong, data=False)
        later.callback([b"right"])
        self.assertEqual(self.ended(waiting), [b"right"])

    def test_too_large_for_a_link(self) -> None:
        """A command longer than a link's frames is refused by name, and the link stays."""
        root, _, _ = self.proxies()
        one = self.leaf(NORTH + 1)
        two = self.leaf(SOUTH + 1, frame_bytes_max=4_096)
        self.executing(two)
        self.assertIs(
            self.ended(one.command(SOUTH + 1, b"x", bytes(10_000))), Status.MESSAGE_TOO_LARGE
        )
        self.assertEqual(len(self.ended(one.command(SOUTH + 1, b"x", bytes(3_000)))), 3)
        self.assertIn(SOUTH, root.endpoints)
        self.assertEqual(self.diaries[two].of("on_close_connection"), [])

    def test_long_answers(self) -> None:
        """An answer of any shape comes back as it was given, in as many parts as it needs."""
        self.proxies()
        one = self.leaf(NORTH + 1, frame_bytes_max=4_096)
        two = self.leaf(SOUTH + 1)
        answers: list[list[bytes]] = [
            [],
            [b""],
            [b""] * 3_000,
            [b"%d" % number for number in range(5_000)],
            [bytes(range(256)) * 300],
            [b"a", b"b" * 50_000, b"c", b"d" * 3_068, b"e" * 3_069, b""],
        ]
        for answer in answers:
            two.on_command(lambda source, words, answer=answer: answer)  # type: ignore[misc]
            self.assertEqual(self.ended(one.command(SOUTH + 1, b"x")), answer)
        self.assert_quiet(*self.nodes)

    def test_an_answer_that_is_too_long(self) -> None:
        """An answer beyond the limit is refused by name."""
        root, child = self.pair()
        root.on_command(lambda source, words: [bytes(limits.COMMAND_ANSWER_BYTES + 1)])
        self.assertIs(self.ended(child.command(ROOT, b"x")), Status.MESSAGE_TOO_LARGE)
        self.assert_quiet(root, child)

    def test_what_executors_return(self) -> None:
        """Bytes, lists, nothing, Deferreds and coroutines are answers; anything else is not."""
        root, child = self.pair()
        later: Deferred[list[bytes]] = Deferred()

        async def coroutine() -> bytes:
            return b"awaited"

        results: list[tuple[Any, Any]] = [
            (b"one line", [b"one line"]),
            ([b"two", b"lines"], [b"two", b"lines"]),
            ((b"a", b"tuple"), [b"a", b"tuple"]),
            (None, []),
            (later, [b"later"]),
            (coroutine(), [b"awaited"]),
        ]
        for result, expected in results:
            root.on_command(lambda source, words, result=result: result)  # type: ignore[misc]
            waiting = child.command(ROOT, b"x")
            self.network.settle(0.1)
            if result is later:
                later.callback([b"later"])
            self.assertEqual(self.ended(waiting), expected)
        for result in ("text", [b"x", "y"], 5):
            root.on_command(lambda source, words, result=result: result)  # type: ignore[misc]
            self.assertIs(self.ended(child.command(ROOT, b"x")), Status.HANDLER_FAILED)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 3)

    def test_executors_that_fail(self) -> None:
        """An exception in an executor is answered by name, with its words; the node goes on."""
        root, child = self.pair()

        def execute(source: int, words: tuple[bytes, ...]) -> list[bytes]:
            raise ValueError("what a day")

        root.on_command(execute)
        with self.assertRaises(Undeliverable) as caught:
            self.network.result_of(child.command(ROOT, b"x"))
        self.assertIs(caught.exception.status, Status.HANDLER_FAILED)
        self.assertIn("what a day", caught.exception.detail)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(root.statistics.callback_failures, 1)

    def test_words_that_mean_nothing(self) -> None:
        """Who asks the node itself with such words is told; nothing of the node has failed."""
        root, child = self.pair()
        for words in (
            [b"atbus.route", b"nan"],
            [b"atbus.route"],
            [b"atbus.ping", b"0x10001", b"soon"],
            [b"atbus.ping", b"0x10001", b"-1"],
            [b"atbus.subscribe", b"a..b"],
            [b"atbus.send", b"0x10001", b"", b"inf"],
            [b"atbus.send", b"0x10001", b"", b"99999999999"],
        ):
            self.assertIs(self.ended(child.command(ROOT, *words)), Status.HANDLER_FAILED, words)
        self.assertEqual(root.statistics.callback_failures, 0)

    def test_any_word_in_any_place(self) -> None:
        """Whatever a built-in command is given anywhere, the node has not failed."""
        root, child = self.pair()
        names = [name for name in root._parts.commands._built_in if name != b"atbus.drain"]
        self.assertGreater(len(names), 18)
        usual = ((b"0x10001", b"a", b"1", b"1", b"1"), (b"1", b"0x10001", b"1", b"1", b"1"))
        odd = (b"", b"\0", b"\xff", b"nan", b"inf", b"-1", b"1e9", b"9" * 5_000, b"a..b", b"{")
        for name in names:
            for words in usual:
                for place, word in itertools.product(range(len(words)), odd):
                    child.command(
                        ROOT, name, *words[:place], word, *words[place + 1 :]
                    ).addErrback(lambda failure: failure.trap(Undeliverable))
            self.network.settle(1)
            self.assertEqual(root.statistics.callback_failures, 0, name)

    def test_unknown_commands(self) -> None:
        """A node without an executor, and a built-in command that is not one, say so."""
        root, child = self.pair()
        self.assertIs(self.ended(child.command(ROOT, b"x")), Status.UNKNOWN_COMMAND)
        self.assertIs(self.ended(child.command(ROOT)), Status.UNKNOWN_COMMAND)
        self.executing(root)
        self.assertIs(self.ended(child.command(ROOT, b"atbus.nonsense")), Status.UNKNOWN_COMMAND)

    def test_built_in_commands_are_the_nodes(self) -> None:
        """Names that begin with atbus. are answered by the node itself, not by the program."""
        root, child = self.pair()
        executed = self.executing(root)
        (line,) = self.ended(child.command(ROOT, b"atbus.ping"))
        self.assertEqual(json.loads(line), {"id": "0x10000"})
        self.assertEqual(executed, [])
        self.assertEqual(self.diaries[root].of("on_custom_command"), [])

    def test_messages_that_an_executor_sends_to_its_own_node(self) -> None:
        """What an executor sends to the node itself is delivered after it, and not forgotten."""
        root, child = self.pair()
        seen: list[int] = []

        def execute(source: int, words: tuple[bytes, ...]) -> list[bytes]:
            root.send(ROOT, b"to self")
            seen.append(len(self.mail[root].letters))
            return []

        root.on_command(execute)
        self.ended(child.command(ROOT, b"x"))
        self.assertEqual(seen, [0])
        self.assertEqual(self.mail[root].payloads, [b"to self"])


class EndTests(MailTests):
    """Commands end, whatever happens."""

    def never(self, *_: object) -> Deferred[list[bytes]]:
        """Answer a command not at all."""
        waiting: Deferred[list[bytes]] = Deferred()
        self.addCleanup(lambda: None if waiting.called else waiting.callback([]))
        self.waiting = waiting
        return waiting

    def test_timeout(self) -> None:
        """A command that nobody answers ends when its time is over; so does one to ourselves."""
        root, child = self.pair()
        root.on_command(self.never)
        began = self.network.clock.seconds()
        self.assertIs(self.ended(child.command(ROOT, b"x", timeout=2)), Status.TIMEOUT)
        self.assertAlmostEqual(self.network.clock.seconds() - began, 2, delta=0.01)
        self.waiting.callback([])
        self.assertIs(self.ended(root.command(ROOT, b"x", timeout=2)), Status.TIMEOUT)
        self.waiting.callback([b"late"])
        self.assert_quiet(root, child)
        self.assertEqual(child.statistics.late_frames, 1)

    def test_a_slow_command_holds_nothing_back(self) -> None:
        """While a command is executed, the frames behind it are acknowledged."""
        root, child = self.pair()
        root.on_command(self.never)
        waiting = child.command(ROOT, b"x", timeout=50)
        self.network.settle(0.5)
        link = child.endpoints[ROOT].control_link
        assert link is not None
        self.assertTrue(link.idle)
        self.waiting.callback([b"done"])
        self.assertEqual(self.ended(waiting), [b"done"])

    def test_cancel(self) -> None:
        """Who waits no more is not told any more."""
        root, child = self.pair()
        root.on_command(lambda source, words: [])
        waiting = child.command(ROOT, b"x")
        waiting.cancel()
        waiting.addErrback(lambda _: None)
        self.assert_quiet(root, child)

    def test_stop(self) -> None:
        """A node that stops ends its own commands, and answers those of others first."""
        root, child = self.pair()
        later: Deferred[list[bytes]] = Deferred()
        root.on_command(lambda source, words: later)
        waiting = child.command(ROOT, b"x")
        self.network.settle(0.1)
        stopping = root.stop()
        self.network.settle(1)
        later.callback([b"in time"])
        self.assertEqual(self.ended(waiting), [b"in time"])
        self.network.result_of(stopping)
        self.assertIs(self.ended(root.command(ROOT, b"x")), Status.NOT_STARTED)

    def test_a_stop_of_who_asks(self) -> None:
        """A node that stops does not leave its own questions open."""
        root, child = self.pair()
        root.on_command(self.never)
        waiting = child.command(ROOT, b"x", timeout=100)
        self.network.settle(0.1)
        stopping = child.stop()
        self.assertIs(self.ended(waiting, 60), Status.CLOSING)
        self.network.result_of(stopping)
        self.waiting.callback([])

    def test_parts_without_end(self) -> None:
        """Somebody who sends parts of an answer for ever does not keep a command for ever."""
        root, child = self.pair()
        root.on_command(self.never)
        waiting = child.command(ROOT, b"x", timeout=3)
        results: list[Any] = []
        waiting.addErrback(results.append)
        self.network.settle(0.1)
        (request,) = self.frames(self.control_channel(child, root), MessageType.COMMAND_REQUEST)
        for part in range(40):
            answer = CommandResponse(
                source=ROOT,
                destination=child.bus_id,
                sequence=request.sequence,
                last=False,
                part=part,
            )
            self.say(root, child, answer, data=False)
        self.assertEqual([failure.value.status for failure in results], [Status.TIMEOUT])
        self.waiting.callback([])

    def test_an_answer_to_an_earlier_life(self) -> None:
        """An answer that an earlier life of the node has waited for is not taken for another."""
        root, child = self.pair()
        root.on_command(self.never)
        waiting = child.command(ROOT, b"x", timeout=3)
        self.network.settle(0.1)
        for sequence in (1, (child.epoch - 1 << 32) + 1):
            stale = CommandResponse(
                source=ROOT, destination=child.bus_id, sequence=sequence, lines=(b"stale",)
            )
            self.say(root, child, stale, data=False)
        self.waiting.callback([b"fresh"])
        self.assertEqual(self.ended(waiting), [b"fresh"])
        self.assertEqual(child.statistics.late_frames, 2)

    def test_a_command_that_makes_no_sense(self) -> None:
        """A malformed command is answered by name; the third one of a neighbor ends the link."""
        root, child = self.pair()
        request = CommandRequest(source=child.bus_id, destination=ROOT, sequence=77)
        broken = bytearray(codec.encode(request))
        broken[48:50] = b"\x09\x00"
        for turn in range(3):
            self.assertIn(child.bus_id, root.endpoints, turn)
            self.say_raw(child, root, bytes(broken), data=False)
        first_channel: Any = self.diaries[root].of("on_new_connection")[0][0].channel
        answers = self.frames(first_channel, MessageType.COMMAND_RESPONSE)
        self.assertEqual({answer.status for answer in answers}, {Status.MALFORMED_FRAME})
        self.network.settle(1)
        self.assertIn("MALFORMED_FRAME", [s for _, s in self.diaries[root].removed()])
