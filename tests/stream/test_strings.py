"""Endpoints as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from atbus.errors import LocalProtocolError
from atbus.node.alive import NODES
from atbus.stream import bounds
from atbus.stream.strings import NoNode
from tests.node.bus import CHILD, ROOT
from tests.stream.case import Diaries, StreamTests

HERE = f"node={ROOT:#x}"


class StringTests(StreamTests):
    """A root and a child in one process."""

    def setUp(self) -> None:
        super().setUp()
        # Those of tests before this one that were killed and not forgotten yet.
        NODES.clear()

    def listen(self, text: str, factory: Any) -> Any:
        """Listen as a text says."""
        return serverFromString(self.network.clock, text).listen(factory)

    def connect(self, text: str, factory: Any) -> Any:
        """Connect as a text says."""
        return clientFromString(self.network.clock, text).connect(factory)

    def test_both(self) -> None:
        """With several nodes in a process the text says which one is meant."""
        self.pair()
        served = Diaries(answers=b"welcome")
        port = self.successResultOf(self.listen(f"atbus:web:{HERE}", served))
        self.assertEqual(str(port.getHost()), f"atbus:{ROOT:#x}:web")
        text = f"atbus:{ROOT:#x}:web:node={CHILD:#x}:timeout=5"
        client = self.network.result_of(self.connect(text, Diaries()))
        self.network.settle(1)
        self.assertEqual(client.data, b"welcome")
        self.assertEqual(client.transport.getHost().bus_id, CHILD)

    def test_the_only_node(self) -> None:
        """With one node nothing has to be said; its state is looked at when it is wanted."""
        endpoint = serverFromString(self.network.clock, "atbus:web")
        error = self.failureResultOf(endpoint.listen(Diaries()), NoNode).value
        self.assertIn("no node runs in this process", str(error))
        root = self.root()
        self.failureResultOf(endpoint.listen(Diaries()), NoNode)
        self.network.start(root)
        self.successResultOf(endpoint.listen(Diaries()))
        client = self.network.result_of(self.connect("atbus:0.1.0.0:web", Diaries()))
        self.assertEqual(client.transport.getPeer().bus_id, ROOT)
        client.transport.loseConnection()
        self.network.settle(1)

    def test_which_node(self) -> None:
        """Several nodes and no word which, or a word that means none, is an error that says so."""
        self.pair()
        error = self.failureResultOf(self.listen("atbus:web", Diaries()), NoNode).value
        self.assertEqual(str(error), "node= has to say which of 0x10000, 0x10001 is meant")
        error = self.failureResultOf(self.connect("atbus:0x5:web:node=7", Diaries()), NoNode).value
        self.assertEqual(str(error), "no node 0x7 runs in this process")

    def test_texts_that_are_none(self) -> None:
        """They are refused where they are read, not when they are used."""
        name = "x" * (bounds.SERVICE_BYTES + 1)
        clients = ["", "0x5", "0x5:", "0:web", "zero:web", f"0x5:{name}", "0x5:web:timeout=soon"]
        clients += ["0x5:web:timeout=nan", "0x5:web:node=x", "0x5:web:no=1"]
        clients += ["0x5:web:node=1:config=x"]
        for text in clients:
            with self.assertRaises((ValueError, TypeError, LocalProtocolError)):
                clientFromString(self.network.clock, f"atbus:{text}")
        for text in ("", name, "web:node=x", "web:node=1:config=x", "web:timeout=5", "web:more"):
            with self.assertRaises((ValueError, TypeError, LocalProtocolError)):
                serverFromString(self.network.clock, f"atbus:{text}")

    def test_a_service_is_there_once(self) -> None:
        """A second one of the same name cannot be offered, until the first one is withdrawn."""
        self.pair()
        factory = Diaries()
        port = self.successResultOf(self.listen(f"atbus:web:{HERE}", factory))
        self.assertEqual(factory.numPorts, 1)
        self.failureResultOf(self.listen(f"atbus:web:{HERE}", Factory()), CannotListenError)
        self.successResultOf(port.stopListening())
        self.successResultOf(port.stopListening())
        self.assertEqual(factory.numPorts, 0)
        self.successResultOf(self.listen(f"atbus:web:{HERE}", factory))

    def test_a_file_that_cannot_be_used(self) -> None:
        """What is wrong with it is told."""
        path = Path(self.mktemp())
        path.write_text('id = "none"\n', encoding="utf-8")
        failed = self.listen(f"atbus:web:config={path}", Diaries())
        self.assertIn("id: ", str(self.failureResultOf(failed, NoNode).value))
