"""
Shared memory between processes of one host: ``shm://name``.

A name is announced and opens nothing. The memory itself, one lane for each writer that deserves
one, is made by the reader (`atbus.channels.incoming_lane`) and handed to the writer over the unix
socket of its registration (`atbus.channels.outgoing_lane`): who has it has it from us, and is on
this host.
"""

from __future__ import annotations

import itertools
import os
import platform
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from atbus.address import AUTO_NAME, Address
from atbus.channels.interfaces import (
    Accept,
    ChannelOptions,
    IChannel,
    IChannelListener,
    IChannelReceiver,
    IChannelScheme,
)
from atbus.errors import ConnectFailed, ListenFailed

_STRONG_ORDER: Final = frozenset({"x86_64", "amd64", "i386", "i486", "i586", "i686"})


def has_strong_order() -> bool:
    """
    Tell whether this processor shows stores in the order in which they were made.

    :returns: Whether it is known to.
    """
    return platform.machine().lower() in _STRONG_ORDER


def why_unavailable(*, weak_memory: bool) -> str:
    """
    Say why there is no shared memory here.

    :param weak_memory: Use it also on processors of weaker memory order than x86's.
    :returns: The reason; empty when it can be used.
    """
    if not (weak_memory or has_strong_order()):
        return (
            f"a processor of type {platform.machine()} may show stores in another order than they"
            " were made; shm.weak_memory = true shares memory all the same"
        )
    if not (hasattr(os, "memfd_create") and hasattr(os, "eventfd")):
        return "this system has no memory without a name (memfd) or no fences (eventfd)"
    try:
        os.close(os.memfd_create("atbus", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    except OSError as error:
        return f"memory cannot be made: {error.strerror}"
    return ""


@implementer(IChannelListener)
@attrs.define(eq=False)
class ShmListener:
    """
    A name under which lanes are offered.

    :param address: The real address.
    """

    address: Address

    def stop(self) -> Deferred[None]:
        """
        Do nothing: lanes end with their endpoints.

        :returns: Has fired.
        """
        return succeed(None)


_numbers = itertools.count(1)


@implementer(IChannelScheme)
@attrs.frozen(eq=False)
class ShmScheme:
    """
    Announce that lanes are offered; they are made over a registered connection.

    :param reactor: Not asked.
    :param options: The node's options.
    :param timers: Not asked.
    """

    _reactor: Any
    _options: ChannelOptions
    _timers: IReactorTime

    def listen(self, address: Address, accept: Accept) -> Deferred[IChannelListener]:
        """
        Take a name, which tells one node's lanes from another's and opens nothing.

        :param address: With the name ``auto`` one is chosen.
        :param accept: Never called.
        :returns: As `IChannelScheme.listen` promises; fails where there is no shared memory.
        """
        reason = why_unavailable(weak_memory=self._options.shm_weak_memory)
        if reason:
            return fail(ListenFailed(address, reason))
        if address.host == AUTO_NAME:
            name = f"{AUTO_NAME}-{os.getpid()}-{next(_numbers)}"
            address = attrs.evolve(address, host=name)
        return succeed(ShmListener(address))

    def connect(
        self, address: Address, receiver: IChannelReceiver, timeout_seconds: float | None = None
    ) -> Deferred[IChannel]:
        """
        Refuse: a lane is offered by its reader, over the connection of its endpoint.

        :param address: Where the reader listens.
        :param receiver: Never called.
        :param timeout_seconds: Of no use here.
        :returns: Fails with `ConnectFailed`.
        """
        return fail(ConnectFailed(address, "shared memory is offered by its reader, not dialed"))
