"""
How commands ask a ZooKeeper.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib.util import find_spec
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as OutOfTime

from atbus.channels.timers import MonotonicTimers
from atbus.cli import session as sessions
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.discovery.documents import Kind
from atbus.discovery.interfaces import IRecordWatcher
from atbus.discovery.zookeeper.faults import Cause, ZooKeeperRefused
from atbus.discovery.zookeeper.options import Login, SessionOptions, TlsFiles, read_server
from atbus.discovery.zookeeper.states import Connected, Lost, SessionNews
from atbus.errors import DiscoveryError
from atbus.node.reading_zookeeper import read_prefix

if TYPE_CHECKING:
    from atbus.discovery.zookeeper.session import Session

T = TypeVar("T")


def run_in_zookeeper(
    servers: Sequence[str],
    prefix: str,
    ask: Callable[[IRecordWatcher], Coroutine[Any, Any, T]],
    *,
    sasl: bool,
    options: Mapping[str, Any],
) -> T:
    """
    Ask a ZooKeeper, in a process that does nothing else.

    :param servers: Some of its servers.
    :param prefix: Below what the places of the bus stand.
    :param ask: Is given what watches the nodes there.
    :param sasl: Whether to log in by SASL.
    :param options: Those that are the same for etcd.
    :returns: What *ask* returns.
    :raises CommandFailed: Nobody answered, or one refused, or the user interrupted it.
    """
    if find_spec("kazoo") is None:
        raise CommandFailed(
            ExitCode.USAGE, "USAGE", "kazoo is needed for it (pip install atbus[zookeeper])"
        )
    try:
        addresses = tuple(map(read_server, servers))
    except ValueError as fault:
        raise CommandFailed(ExitCode.USAGE, "USAGE", f"--zookeeper: {fault}") from fault
    which = SessionOptions(
        servers=addresses,
        user=options["user"],
        password=options["password"],
        login=Login.SASL if sasl else Login.DIGEST,
        tls=TlsFiles(
            ca_file=options["ca_file"],
            certificate_file=options["certificate_file"],
            key_file=options["key_file"],
        ),
    )
    place, patience_seconds = read_prefix(prefix), options["timeout_seconds"]

    async def talk(reactor: Any) -> T:
        # kazoo is loaded by those who use it.
        from atbus.discovery.zookeeper.records import ZooKeeperRecordWatcher
        from atbus.discovery.zookeeper.session import Session

        timers = MonotonicTimers(reactor)
        random = SystemRandom().random
        session = Session(which, reactor, timers, random)
        connected: Deferred[None] = Deferred()

        def told(news: SessionNews) -> None:
            if isinstance(news, Connected) and not connected.called:
                connected.callback(None)

        session.changed.add(told)
        session.start()
        try:
            await connected.addTimeout(patience_seconds, timers)
            await _may_look(session, place, patience_seconds)
            return await ask(ZooKeeperRecordWatcher(session, place, timers, random))
        except OutOfTime as late:
            raise CommandFailed(
                ExitCode.NOBODY, "CONNECT_FAILED", f"no server at {', '.join(addresses)} answers"
            ) from late
        finally:
            await session.close()
            timers.stop()

    return sessions.run(lambda reactor: Deferred.fromCoroutine(talk(reactor)))


async def _may_look(session: Session, place: str, patience_seconds: float) -> None:
    """
    Ask something small: who one is, and whether he may look, is judged after the connection.

    :raises CommandFailed: One may not.
    """
    asked = session.client.list(f"{place}{Kind.TOPOLOGY.value}")
    try:
        await asked.addTimeout(patience_seconds, session.timers)
    except DiscoveryError as failed:
        if isinstance(failed, ZooKeeperRefused) and failed.cause is Cause.NOTHING:
            return
        lost = session.state
        why = lost.reason if isinstance(lost, Lost) else str(failed)
        raise CommandFailed(ExitCode.REFUSED, "ACCESS_DENIED", why) from failed
