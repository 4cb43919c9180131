"""What a program says about nodes that is no id, no address and no text is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atbus.address import as_address
from atbus.busid import ID_MAX
from atbus.errors import (
    AddressError,
    AtbusError,
    LocalProtocolError,
    SubjectError,
    Undeliverable,
)
from atbus.node.node import Node
from atbus.routing.relation import Relation
from tests.node.bus import ROOT, ROOT_ADDRESS, BusTests

NO_IDS: tuple[Any, ...] = ("0x100", 256.0, None, b"1", -1, ID_MAX + 1)
NO_TEXTS: tuple[Any, ...] = (256.0, None, b"x", 7)

Call = Callable[[Node, Any], object]

OF_IDS: dict[str, Call] = {
    "send": lambda node, id_: node.send(id_, b""),
    "send, exclude": lambda node, id_: node.send(5, b"", exclude=[id_]),
    "writable": lambda node, id_: node.writable(id_),
    "outlet": lambda node, id_: node.outlet(id_),
    "deliver": lambda node, id_: node.deliver(id_, b""),
    "request": lambda node, id_: node.request(id_, b""),
    "reply": lambda node, id_: node.reply(id_, 1, b""),
    "command": lambda node, id_: node.command(id_, b"status"),
    "disconnect": lambda node, id_: node.disconnect(id_),
    "wanted_by": lambda node, id_: node.wanted_by(id_),
    "next_hop, exclude": lambda node, id_: node.next_hop(5, exclude=[id_]),
}

OF_NUMBERS: dict[str, Call] = {
    "relation_to": lambda node, id_: node.relation_to(id_),
    "next_hop": lambda node, id_: node.next_hop(id_),
}

OF_ADDRESSES: dict[str, Call] = {
    "listen": lambda node, address: node.listen(address),
    "connect": lambda node, address: node.connect(address),
}

OF_SUBJECTS: dict[str, Call] = {
    "publish": lambda node, text: node.publish(text, b""),
    "publish_many": lambda node, text: node.publish_many(text, [b""]),
    "subscribe": lambda node, text: node.subscribe(text, print),
    "request_subject": lambda node, text: node.request_subject(text),
    "request_many": lambda node, text: node.request_many(text),
}

OTHERS: dict[str, tuple[Call, tuple[Any, ...]]] = {
    "send, exclude": (lambda node, x: node.send(5, b"", exclude=x), (5, "0x5", {3.0})),
    "next_hop, exclude": (lambda node, x: node.next_hop(5, exclude=x), (5, None, "", b"")),
    "outlet, kind": (lambda node, kind: node.outlet(5, kind), ("1", None, 2**31)),
    "reply, sequence": (lambda node, number: node.reply(5, number, b""), ("1", None, -1)),
    "watch_nodes": (lambda node, callback: node.watch_nodes(callback), (None, 5)),
    "watch_nodes, where": (lambda node, where: node.watch_nodes(print, where), ("eu", 5)),
    "offer": (lambda node, service: node.offer(service), ("chat", 5)),
    "select": (lambda node, where: node.select(where), (None, "chat")),
    "select, key": (lambda node, key: node.select(key=key), (3.5, ["a"])),
    "send_by": (lambda node, where: node.send_by(where, b""), (None, "chat")),
    "publish, headers": (lambda node, x: node.publish("a", b"", headers=x), (5, 3.5)),
    "publish_many, payloads": (lambda node, x: node.publish_many("a", x), (5, None)),
    "subscribe, accepts": (lambda node, x: node.subscribe("a", print, accepts=x), (5, "x")),
    "subscribe, run_callback": (lambda node, x: node.subscribe("a", run_callback=x), (5, "x")),
    "subscribe, waiting": (lambda node, x: node.subscribe("a", waiting_count_max=x), ("5", None)),
}


class WrongArgumentsTests(BusTests):
    """A node that is up, and a program with mistakes."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.node(ROOT, listen=[ROOT_ADDRESS])
        self.network.start(self.one)

    def assert_refused(
        self, calls: dict[str, Call], values: tuple[Any, ...], error: type[AtbusError]
    ) -> None:
        """Each call refuses each value at once, and its error has the value in it."""
        for name, call in calls.items():
            for value in values:
                told = str(self.assertRaises(error, call, self.one, value))
                self.assertIn(str(value), told, name)

    def test_ids(self) -> None:
        """What is no bus id is named by each method that takes one; equal is not enough."""
        self.assert_refused(OF_IDS, NO_IDS, LocalProtocolError)

    def test_who_only_asks(self) -> None:
        """Of a number that no node can have there is no way to it to be told; else as above."""
        self.assert_refused(OF_NUMBERS, NO_IDS[:4], LocalProtocolError)
        for nobody in (0, *NO_IDS[4:]):
            self.assertIs(self.one.relation_to(nobody), Relation.INVALID)
            told = str(self.assertRaises(Undeliverable, self.one.next_hop, nobody))
            self.assertIn("NO_ROUTE", told)

    def test_addresses(self) -> None:
        """What is no address is named, whether it is a text or not."""
        self.assert_refused(OF_ADDRESSES, (*NO_TEXTS, "here"), AddressError)
        address = as_address(ROOT_ADDRESS)
        self.assertIs(as_address(address), address)

    def test_subjects(self) -> None:
        """What is no text is no subject."""
        self.assert_refused(OF_SUBJECTS, NO_TEXTS, SubjectError)

    def test_everything_else(self) -> None:
        """So is what is no collection, number, callback, filter, key or service."""
        for name, (call, values) in OTHERS.items():
            for value in values:
                told = str(self.assertRaises(LocalProtocolError, call, self.one, value))
                named = next(iter(value)) if isinstance(value, set | list) else value
                self.assertIn(str(named), told, name)
