"""
A program that embeds a node and leaves its reactor as it is: on the clock on the wall.

``python -m tests.chaos.guest node.toml`` runs the node and its application until a signal.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.python import log, runtime

from atbus.channels import timers
from atbus.node.node import Node
from atbus.node.service import NodeService
from atbus.node.toml import load_config
from atbus.testing.node_record import NodeRecord


def main(reactor: Any, path: str) -> Deferred[None]:
    """Run the node until the process is told to end."""
    log.startLogging(sys.stdout, setStdout=False)
    assert reactor.seconds is runtime.seconds
    config = load_config(path)
    node = Node(config, reactor)
    assert config.record_events is not None
    NodeRecord(node, config.record_events)
    service = NodeService(node)
    service.startService()
    stopped: Deferred[None] = Deferred()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    return stopped


if __name__ == "__main__":
    # libfaketime moves timerfds of every clock by as much as the wall clock, and the kernel refuses
    # what comes of it. A clock that is really set leaves the monotonic one and its timers alone.
    real = ctypes.CDLL("libc.so.6").timerfd_settime
    timers._LIBC.timerfd_settime = real  # type: ignore[attr-defined]
    task.react(main, sys.argv[1:])
