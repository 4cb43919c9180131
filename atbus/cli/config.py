"""
Configuration files: ``config check``, ``config show``, ``config memory``, ``config default``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from atbus.cli.options import output_option
from atbus.cli.output import Output

if TYPE_CHECKING:
    from atbus.node.config import NodeConfig


@click.group()
def config() -> None:
    """Look at configuration files without starting a node."""


_file = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
_set = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="A line stronger than those of the file; may be repeated.",
)


@config.command()
@_file
@_set
@output_option
def check(path: Path, overrides: tuple[str, ...], output: Output) -> None:
    """
    Tell every fault of a configuration file.

    It ends with 0 when there is none, with 2 when a node could not be started with it. Its
    application is imported, from the current directory if it is there.
    """
    node_config = load(path, overrides, with_all_it_names=True)
    if output.is_json:
        output.value({"file": str(path), "valid": True, "id": _id_of(node_config)})
    else:
        output.say(f"{path}: a valid configuration of {_id_of(node_config)}")


@config.command()
@_file
@_set
@output_option
def show(path: Path, overrides: tuple[str, ...], output: Output) -> None:
    """
    Print a configuration file as it is understood, with every default.

    Secrets are left out.
    """
    node_config = load(path, overrides)
    from atbus.node.toml import dump, plain_values

    if output.is_json:
        output.value(plain_values(node_config))
    else:
        click.echo(dump(node_config), nl=False)


@config.command()
@_file
@_set
@output_option
def memory(path: Path, overrides: tuple[str, ...], output: Output) -> None:
    """
    Show what others can make a node hold, kind by kind.

    Each kind has a bound, and here they are added up: a container with as much memory is enough
    whatever neighbors do. What the node's own program has asked for and does not take comes on top:
    each subscription, stream and client of a gateway has a bound of its own. So does each lane of
    shared memory that a neighbor of the same host offers.
    """
    node_config = load(path, overrides)
    from atbus.node.footprint import holdings

    rows = [
        {"what": each.what, "most_bytes": each.most_bytes, "option": each.option}
        for each in holdings(node_config)
    ]
    total_bytes = sum(each.most_bytes for each in holdings(node_config))
    if output.is_json:
        output.value({"most_bytes": total_bytes, "parts": rows})
        return
    rows.append({"what": "all together", "most_bytes": total_bytes, "option": None})
    output.rows(rows, ("what", "most_bytes", "option"))


@config.command()
@output_option
def default(output: Output) -> None:
    """Print a file with every option, its default and what it means."""
    from atbus.node.config import NodeConfig
    from atbus.node.option import OPTIONS
    from atbus.node.toml import KEYS, dump_default, plain_values

    if not output.is_json:
        click.echo(dump_default(), nl=False)
        return
    values = plain_values(NodeConfig())
    output.value(
        {
            key: {
                "default": values[key],
                "kind": OPTIONS[name].kind,
                "unit": OPTIONS[name].unit,
                "meaning": OPTIONS[name].meaning,
            }
            for key, name in KEYS.items()
        }
    )


def load(path: Path, overrides: tuple[str, ...], *, with_all_it_names: bool = False) -> NodeConfig:
    """
    Read a configuration, and on demand the other files that it names.

    :param path: The file.
    :param overrides: Lines stronger than those of the file.
    :param with_all_it_names: Whether certificates, those for a gateway and registries as well, and
        denied ids are looked at, and the application is imported.
    :returns: The configuration.
    :raises CommandFailed: A node could not be started with it.
    """
    from atbus.cli.outcome import CommandFailed, ExitCode
    from atbus.errors import ConfigurationError
    from atbus.node.credentials import credentials_of
    from atbus.node.permits import read_denied
    from atbus.node.toml import load_config

    try:
        node_config = load_config(path, overrides)
        if with_all_it_names:
            credentials_of(node_config)
            if node_config.denied_file is not None:
                read_denied(node_config.denied_file)
            _check_registries(node_config)
            _check_gateway(node_config)
            _check_application(node_config)
        return node_config
    except ConfigurationError as error:
        count = len(error.faults)
        message = f"{path}: {count} {'fault' if count == 1 else 'faults'}"
        raise CommandFailed(
            ExitCode.USAGE, "INVALID_CONFIGURATION", message, tuple(error.faults)
        ) from error


def _check_registries(node_config: NodeConfig) -> None:
    """
    Look at the files with which registries are reached.

    :raises ConfigurationError: One of them cannot be used.
    """
    from atbus.errors import ConfigurationError
    from atbus.node.directory import check_files
    from atbus.node.reading_discovery import read_registries

    faults: list[str] = []
    for places in read_registries(node_config):
        try:
            check_files(places)
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError([f"discovery.{fault}" for fault in faults])


def _check_gateway(node_config: NodeConfig) -> None:
    """
    Look at what the gateway for clients of NATS would need, if there is to be one.

    :raises ConfigurationError: It could not be made.
    """
    if not node_config.nats:
        return
    from atbus.nats.leafs import equip
    from atbus.nats.settings import read_gateway
    from atbus.nats.tls import listener_contexts, route_contexts

    settings = read_gateway(node_config)
    if settings is None:
        return
    if settings.tls is not None:
        listener_contexts(settings.tls)
    for remote in settings.leafs.remotes:
        equip(remote)
    if settings.cluster is not None and settings.cluster.has_tls:
        route_contexts(settings.cluster)


def _check_application(node_config: NodeConfig) -> None:
    """
    Import the application, if there is to be one.

    :raises ConfigurationError: It cannot be found.
    """
    if node_config.application is None:
        return
    from atbus.node.application import load_application

    # As twistd does: what lies in the directory in which it is started comes first.
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        load_application(node_config.application)
    finally:
        sys.path.remove(here)


def _id_of(node_config: NodeConfig) -> str:
    from atbus.busid import format_bus_id
    from atbus.wire.messages import Mode

    match node_config.mode:
        case Mode.AUTO:
            return "a node whose id its upstream assigns"
        case Mode.TEMPORARY:
            return "a temporary node"
        case _:
            return f"node {format_bus_id(node_config.id)}"
