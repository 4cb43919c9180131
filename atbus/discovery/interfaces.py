"""
The seams between a node and the registries that tell of others.

Three roles: an *announcer* writes what a node says of itself, a *watcher* reads what others say of
themselves, an *address source* turns one name into addresses and knows no records. One conformance
suite, `atbus.testing.discovery`, is run against every implementation.

What all of them promise:

- nothing blocks, and no method calls back before it returns;
- a registry that is away is no error: it is waited for, with growing pauses, and what shall be
  there is there again when it is back;
- what a registry says may be anything. What cannot be read is named, counted and left out.
"""

# ruff: noqa: N805 - the methods of a zope interface have no self.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from atbus.errors import DiscoveryConflict
from atbus.routing.record import Record
from atbus.routing.services import Service, Version


@attrs.frozen
class RecordFound:
    """
    A node has announced itself, or something else of itself than before.

    :param record: What it says.
    :param version: How new that is, in this registry.
    """

    record: Record
    version: Version


@attrs.frozen
class RecordGone:
    """
    A node has withdrawn its record, or was silent for too long.

    :param bus_id: The node.
    """

    bus_id: int


@attrs.frozen
class ServiceFound:
    """
    A node has announced a service, or something else of it than before.

    :param service: What it says.
    :param version: How new that is, in this registry.
    """

    service: Service
    version: Version


@attrs.frozen
class ServiceGone:
    """
    A node has withdrawn its service, or was silent for too long.

    :param service: What was said of it last.
    """

    service: Service


DiscoveryChange: TypeAlias = RecordFound | RecordGone | ServiceFound | ServiceGone
"""What a watcher tells."""


class IAnnouncer(Interface):
    """
    Writes what one node says of itself.

    What is announced is *desired*: it is written when the registry is there, written again when the
    registry has lost it, and not written when it is there already. The record is written before
    the service, always, and both go together: with one lease, or one session.
    """

    is_announced: bool = Attribute("Whether everything that was announced last is there now.")
    conflict: DiscoveryConflict | None = Attribute("Who else has our id, if somebody has.")
    fence: int = Attribute(
        "A number that grows from owner to owner of this id; 0 while nothing is written. Of two"
        " that believe to be the owner, the one with the larger number is."
    )

    def announce(record: Record, service: Service | None = None) -> Deferred[None]:
        """
        Have a record and a service there, in place of those announced before.

        Content that has not changed is not written. Changes that follow each other closely are
        written together.

        :param record: Of the node; its id must not change while something is announced.
        :param service: What it offers; None for nothing.
        :returns: Fires when all of it is there, which may take for ever; fails with
            `DiscoveryConflict` when another owns the id. Then nothing was overwritten, and what
            was asked for stays desired: it is tried again until `withdraw` or `stop`. To cancel it
            means not to wait, no more.
        :raises LocalProtocolError: After `stop`, or with another id than before.
        """

    def on_conflict(callback: Callable[[DiscoveryConflict], None]) -> Callable[[], None]:
        """
        Have something called each time another is found to own our id.

        :param callback: That.
        :returns: Ends it.
        """

    def withdraw() -> Deferred[None]:
        """
        Take everything back.

        What another has written meanwhile stays.

        :returns: Fires when it is gone, or when the registry is not there to be asked; then it goes
            by itself after the time of the lease. Does not fail.
        """

    def stop(*, keep: bool = False) -> Deferred[None]:
        """
        Withdraw, and use the registry no more; twice does no harm.

        :param keep: Leave everything there until the time of the lease is over, for another
            process that takes over.
        :returns: Fires when nothing of the announcer is left; does not fail.
        """


class IRecordReceiver(Interface):
    """What a watcher tells to. One that raises is logged, and told the next news all the same."""

    def discovered(changes: Sequence[DiscoveryChange]) -> None:
        """
        Learn what has changed.

        For each node: news in the order in which they happened, none twice, and nothing that is
        older than what was told before. A node's record and its service may come in either order,
        and a while apart.

        :param changes: At least one.
        """

    def in_sync() -> None:
        """
        Learn that everything that the registry has was told, and changes are told as they happen.

        Called after the start, and each time the registry is there again. What had gone in between
        was told as gone before this.
        """

    def out_of_sync(reason: str) -> None:
        """
        Learn that the registry is not there. What was told stays true as far as anybody knows.

        :param reason: Why, in words.
        """

    def refused(key: str, fault: str) -> None:
        """
        Learn of something in the registry that cannot be used.

        :param key: Where it stands; safe to print.
        :param fault: What is wrong with it; safe to print.
        """


class IRecordWatcher(Interface):
    """Reads what nodes say of themselves; what this node has announced is among it."""

    is_in_sync: bool = Attribute("Whether `IRecordReceiver.in_sync` was called last.")
    refused_count: int = Attribute("How often something was found that cannot be used.")

    def start(receiver: IRecordReceiver) -> None:
        """
        Begin to tell.

        :param receiver: Whom.
        :raises LocalProtocolError: It was started before.
        """

    def stop() -> Deferred[None]:
        """
        Tell nothing more; twice does no harm.

        :returns: Fires when nothing of the watcher is left; does not fail.
        """


class IAddressSource(Interface):
    """Turns one name into addresses."""

    def start(found: Callable[[tuple[str, ...]], None]) -> None:
        """
        Begin to look.

        :param found: Called with all addresses, ours not among them, in order of preference: once
            when they are known, and again when they have changed. An answer that cannot be had is
            not an answer; the last one stays true.
        :raises LocalProtocolError: It was started before.
        """

    def refresh() -> None:
        """Look again now."""

    def stop() -> Deferred[None]:
        """
        Look no more; twice does no harm.

        :returns: Fires when nothing of it is left; does not fail.
        """
