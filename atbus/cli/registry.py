"""
Look into registries: ``etcd members|watch|lease`` and ``discovery list|watch``.

These commands ask etcd or ZooKeeper themselves, as a node would; they need no node of a bus. Beside
them stands ``discovery services``, which asks a node: the bus is a registry as well.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from atbus.cli.options import NumberType, output_option
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.cli.output import Output
from atbus.cli.services import services

if TYPE_CHECKING:
    from atbus.discovery.etcd.cluster import EtcdCluster
    from atbus.discovery.interfaces import IRecordWatcher

Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")

_PREFIX: Final = "/atbus/"
_TIMEOUT_SECONDS: Final = 5.0
_MEMBERS: Final = ("id", "name", "urls")
_LEASES: Final = ("lease", "left_seconds", "granted_seconds", "keys")
_NODES: Final = ("id", "name", "type", "upstream", "addresses", "labels", "revision")


@attrs.frozen(kw_only=True)
class _Etcd:
    """Which etcd a command asks, and how."""

    endpoints: tuple[str, ...]
    user: str
    password: str
    ca_file: str
    certificate_file: str
    key_file: str
    timeout_seconds: float


_ETCD_OPTIONS: Final = (
    click.option(
        "--endpoint",
        "endpoints",
        metavar="URL",
        multiple=True,
        envvar="ATBUS_ETCD",
        default=("http://127.0.0.1:2379",),
        help="A server of etcd; may be repeated.",
    ),
    click.option("--user", metavar="NAME", default="", help="In whose name it is asked."),
    click.option(
        "--password",
        metavar="SECRET",
        default="",
        envvar=("ATBUS_ETCD_PASSWORD", "ATBUS_ZOOKEEPER_PASSWORD"),
        help="Of that user.",
    ),
    click.option("--ca-file", metavar="FILE", default="", help="Authorities to trust, as PEM."),
    click.option("--certificate-file", metavar="FILE", default="", help="Our certificate, as PEM."),
    click.option("--key-file", metavar="FILE", default="", help="Its key, as PEM."),
    click.option(
        "--timeout",
        "timeout_seconds",
        metavar="SECONDS",
        type=NumberType(min=0.1),
        default=_TIMEOUT_SECONDS,
        help="How long to wait for an answer.",
    ),
)


def etcd_options(command: Command) -> Command:
    """Let a command be told which etcd to ask."""
    for option in reversed(_ETCD_OPTIONS):
        command = option(command)
    return command


def _zookeeper_options(command: Command) -> Command:
    for option in (
        click.option("--sasl", is_flag=True, help="Log in to ZooKeeper by SASL."),
        click.option(
            "--zookeeper",
            metavar="HOST:PORT",
            multiple=True,
            envvar="ATBUS_ZOOKEEPER",
            help="A server of ZooKeeper, which is asked instead of etcd; may be repeated.",
        ),
    ):
        command = option(command)
    return command


def _prefix_option(command: Command) -> Command:
    option = click.option(
        "--prefix",
        metavar="PREFIX",
        default=_PREFIX,
        help="Below what the keys of the bus stand.",
    )
    return option(command)


def _count_option(command: Command) -> Command:
    option = click.option(
        "--count",
        metavar="N",
        type=click.IntRange(min=1),
        help="End after so many changes; otherwise when it is interrupted.",
    )
    return option(command)


@click.group()
def etcd() -> None:
    """Look into an etcd."""


@click.group()
def discovery() -> None:
    """Look at the nodes that an etcd, a ZooKeeper or a running node knows of."""


@etcd.command()
@output_option
@etcd_options
def members(output: Output, **options: Any) -> None:
    """List the servers of the cluster, as it knows them."""

    async def ask(cluster: EtcdCluster) -> list[dict[str, Any]]:
        return [
            {"id": f"{member.member_id:x}", "name": member.name, "urls": list(member.client_urls)}
            for member in await cluster.members()
        ]

    output.rows(_run(_Etcd(**options), ask), _MEMBERS)


@etcd.command()
@click.argument("prefix")
@output_option
@etcd_options
def lease(prefix: str, output: Output, **options: Any) -> None:
    """
    List the leases to which keys are bound, and how long they live.

    PREFIX is what the keys begin with.
    """

    async def ask(cluster: EtcdCluster) -> list[dict[str, Any]]:
        from atbus.cli.registry_view import leases

        return await leases(cluster, prefix.encode())

    output.rows(_run(_Etcd(**options), ask), _LEASES)


@etcd.command()
@click.argument("prefix")
@_count_option
@output_option
@etcd_options
def watch(prefix: str, count: int | None, output: Output, **options: Any) -> None:
    """
    Show the keys that there are, and then every change of them.

    PREFIX is what the keys begin with. As JSON each change is a line.
    """

    async def follow(cluster: EtcdCluster) -> None:
        from atbus.cli.registry_view import KeyView

        await KeyView(output, count).follow(cluster, prefix.encode())

    _run(_Etcd(**options), follow)


@discovery.command("list")
@_prefix_option
@output_option
@_zookeeper_options
@etcd_options
def list_nodes(prefix: str, output: Output, **options: Any) -> None:
    """List the nodes with what they offer."""

    async def ask(watcher: IRecordWatcher) -> list[dict[str, Any]]:
        from atbus.cli.registry_view import NodeView

        return await NodeView(output, None).list(watcher)

    output.rows(_run_anywhere(prefix, options, ask), _NODES)


@discovery.command("watch")
@_prefix_option
@_count_option
@output_option
@_zookeeper_options
@etcd_options
def watch_nodes(prefix: str, count: int | None, output: Output, **options: Any) -> None:
    """
    Show the nodes that there are, and then every change of them.

    As JSON each change is a line.
    """

    async def follow(watcher: IRecordWatcher) -> None:
        from atbus.cli.registry_view import NodeView

        await NodeView(output, count).follow(watcher)

    _run_anywhere(prefix, options, follow)


def _run_anywhere(
    prefix: str,
    options: dict[str, Any],
    ask: Callable[[IRecordWatcher], Coroutine[Any, Any, T]],
) -> T:
    """
    Ask a ZooKeeper if one was named, else an etcd.

    :raises CommandFailed: Nobody answered, or one refused, or the user interrupted it.
    """
    servers, sasl = options.pop("zookeeper"), options.pop("sasl")
    if servers:
        from atbus.cli.registry_zookeeper import run_in_zookeeper

        return run_in_zookeeper(servers, prefix, ask, sasl=sasl, options=options)

    async def ask_etcd(cluster: EtcdCluster) -> T:
        from atbus.cli.registry_view import watcher_in

        return await ask(await watcher_in(cluster, prefix))

    return _run(_Etcd(**options), ask_etcd)


discovery.add_command(services)

COMMANDS: Final[tuple[click.Command, ...]] = (etcd, discovery)


def _run(which: _Etcd, ask: Callable[[EtcdCluster], Coroutine[Any, Any, T]]) -> T:
    """
    Ask a cluster, in a process that does nothing else.

    :raises CommandFailed: Nobody answered, or one refused, or the user interrupted it.
    """
    from random import SystemRandom

    from twisted.internet.defer import Deferred

    from atbus.channels.timers import MonotonicTimers
    from atbus.cli import session
    from atbus.discovery.etcd.cluster import EtcdCluster
    from atbus.discovery.etcd.options import ClusterOptions, TlsFiles
    from atbus.errors import ConfigurationError, DiscoveryError

    options = ClusterOptions(
        endpoints=which.endpoints,
        user=which.user,
        password=which.password,
        tls=TlsFiles(
            ca_file=which.ca_file,
            certificate_file=which.certificate_file,
            key_file=which.key_file,
        ),
        auto_update=False,
        request_seconds=which.timeout_seconds,
    )

    async def talk(reactor: Any) -> T:
        timers = MonotonicTimers(reactor)
        cluster = EtcdCluster(options, reactor, timers, SystemRandom())
        try:
            return await ask(cluster)
        finally:
            await cluster.close()
            timers.stop()

    try:
        return session.run(lambda reactor: Deferred.fromCoroutine(talk(reactor)))
    except ConfigurationError as error:
        faults = tuple(error.faults)
        raise CommandFailed(ExitCode.USAGE, "USAGE", "; ".join(faults), faults) from error
    except DiscoveryError as error:
        raise _failure(error) from error


def _failure(error: Exception) -> CommandFailed:
    from atbus.discovery.etcd.faults import Cause, EtcdRefused, EtcdUnreachable

    if isinstance(error, EtcdUnreachable):
        return CommandFailed(ExitCode.NOBODY, "CONNECT_FAILED", str(error))
    if isinstance(error, EtcdRefused) and error.cause in (Cause.TOKEN, Cause.DENIED):
        return CommandFailed(ExitCode.REFUSED, "ACCESS_DENIED", str(error))
    return CommandFailed(ExitCode.FAILED, "FAILED", str(error))
