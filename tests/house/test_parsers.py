"""What reads something that others have made is fuzzed."""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Callable, Iterator
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FrameType

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing import hostile
from atbus.testing.text_readers import READERS
from tests.house.repository import ROOT

#: What a function is called that reads, and what it reads.
NAMES = re.compile(
    r"_*(parse|read|decode|unpack|feed|split|restore|receive|dataReceived|lineReceived)(_|$)"
)
#: How one reads values out of a text, whatever the function that does so is called.
VALUES = re.compile(r"\b(json\.loads?|literal_eval)\(")
GIVEN = re.compile(r"\b(bytes|memoryview|str|Document|Frame)\b")

#: What reads, and is not come to; and why not.
OURS = {
    ("atbus/channels/tls_files.py", "Reading._read"): "a file of who runs the node",
    ("atbus/discovery/addresses.py", "read_addresses"): "likewise",
    ("atbus/nats/own_certificate.py", "_read"): "likewise",
    ("atbus/node/permits.py", "read_denied"): "likewise",
    ("atbus/stream/strings.py", "read_client"): "a text of who runs the program",
    ("atbus/stream/strings.py", "read_server"): "likewise",
    ("atbus/cli/demo/watch.py", "_read"): "what nodes of the demo say, which it has started",
    ("atbus/cli/options.py", "SecretType.split_envvar_value"): "takes any text as it is",
    ("atbus/discovery/etcd/gateway.py", "_Body.dataReceived"): "keeps it, up to a bound",
    ("atbus/discovery/etcd/gateway.py", "_Lines.dataReceived"): "hands it on to LineSplitter",
    ("atbus/discovery/etcd/heads.py", "_Connection.dataReceived"): "counts it, for Twisted",
    ("atbus/cli/bench/party.py", "Lines.lineReceived"): "hands it on to read_line",
    ("atbus/cli/bench/task.py", "Task.from_json"): "what our own process has written",
    ("atbus/cli/demo/story.py", "Story._counts_of"): "likewise",
    ("atbus/nats/server_link.py", "ServerLink.dataReceived"): "hands it on to ServerSession",
    ("atbus/nats/tcp.py", "TcpClient.dataReceived"): "hands it on to Session",
    ("atbus/discovery/zookeeper/client.py", "Client.read"): "asks: the text is ours",
    ("atbus/routing/fragments.py", "split"): "cuts what we send",
    ("atbus/node/connection.py", "Machine.receive"): "says what others do",
    ("atbus/node/courier.py", "_read_response"): "asks the codec, of what is for others",
    ("atbus/node/delivery.py", "Inbox._receive_too_much"): "asks the codec, and refuses",
}

#: What reads files of others, though it is among what tests are made of.
EVENTS = ("history.py", "seeds.py")

#: Enough of each kind to come to everything once.
INPUTS = 1_000
RARE = {"neighbor": 60, "tls": 4}


class ParserTests(SynchronousTestCase):
    """`atbus.testing.hostile`, and everything that reads."""

    def test_each_parser_is_fuzzed(self) -> None:
        """A run of the fuzzer comes to each function that reads bytes or texts of others."""
        parsers = set(functions_that_read())
        forget()
        reached = called_by(self.run_all)
        self.assertEqual(sorted(parsers - reached - set(OURS)), [], "add them to the fuzzer")
        self.assertEqual(sorted(set(OURS) - parsers), [], "they are gone")

    def test_whoever_was_first(self) -> None:
        """What something before has read, and is kept, is read again and found."""
        reader = ("atbus/channels/authority.py", "_read_key")
        for _ in range(2):
            forget()
            self.assertIn(reader, called_by(lambda: hostile.read_again("tls", b"0")))

    def run_all(self) -> None:
        """Have inputs of all kinds read, rare ones more often than they are drawn."""
        self.assertEqual(hostile.run_batch(0, 0, INPUTS).failures, [])
        for reader in READERS:
            for example in reader.examples:
                self.assertEqual(hostile.read_again(reader.name, example), "")
        for kind, count in RARE.items():
            for number in range(count):
                self.assertEqual(hostile.read_again(kind, b"%d" % number), "")


def forget() -> None:
    """Let everything of ours be made and read anew, as in a process that has just begun."""
    for each in gc.get_objects():
        if type(each) is _lru_cache_wrapper and str(each.__module__).startswith("atbus."):
            each.cache_clear()


def functions_that_read() -> Iterator[tuple[str, str]]:
    """Find them, by name and arguments, or by what they do: file and qualified name."""
    for path in sorted((ROOT / "atbus").rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[1] != "testing" or place.name in EVENTS:
            for name, function in _functions(ast.parse(path.read_text(encoding="utf-8")), ""):
                given = [ast.unparse(each) for each in function.args.args]
                is_named = NAMES.match(function.name) and any(map(GIVEN.search, given))
                if is_named or VALUES.search(ast.unparse(function)):
                    yield str(place), name


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield prefix + child.name, child
        elif isinstance(child, ast.If):
            yield from _functions(child, prefix)


def called_by(run: Callable[[], object]) -> set[tuple[str, str]]:
    """Tell which functions of ours are called: file and qualified name."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, _event: str, _argument: object) -> None:
        # Nothing but calls: their lines are of no interest.
        codes.add(frame.f_code)

    before = sys.gettrace()
    sys.settrace(note)
    try:
        run()
    finally:
        sys.settrace(before)
    return {
        (str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname)
        for code in codes
        if code.co_filename.startswith(f"{ROOT}/atbus/")
    }
