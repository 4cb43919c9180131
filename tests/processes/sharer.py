"""A node in a process of its own that writes to its upstream, or lets itself be written to."""

from __future__ import annotations

import sys

from twisted.internet import reactor  # noqa: TID251,TID253 - a program of its own
from twisted.internet.task import LoopingCall

from atbus import Node, NodeConfig, Undeliverable
from tests.node.bus import CHILD, ROOT, Keeper


def write(path: str) -> None:
    """Send numbered messages to the root, for ever."""
    node = Node(NodeConfig(id=CHILD, upstream=path, listen=["shm://auto"]), reactor=reactor)
    number = 0

    def send() -> None:
        nonlocal number
        try:
            for _ in range(20):
                node.send(ROOT, b"%d " % number + b"x" * 1000)
                number += 1
        except Undeliverable:
            # The queue is full: later.
            return

    node.start().addCallback(lambda _: LoopingCall(send).start(0.005))


def read(path: str) -> None:
    """Take what comes."""
    listen = [path, "shm://auto"]
    node = Node(NodeConfig(id=ROOT, listen=listen, subnets=[(0, 16)]), reactor=reactor)
    node.receiver = Keeper()
    node.start()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](sys.argv[2])
    reactor.run()
