"""
Questions of monitoring systems: ``check config``, ``check cert``, ``check link``.

Each prints one line that begins with a verdict, and ends with its number, as such systems expect.
"""

from __future__ import annotations

import enum
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atbus.cli import cert as certificates
from atbus.cli import config as configurations
from atbus.cli.options import BUS_ID, certificate_options, output_option, via_of, via_options
from atbus.cli.output import Output

if TYPE_CHECKING:
    from atbus.node.config import NodeConfig


class Verdict(enum.IntEnum):
    """What there is to say; the number is what the command ends with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@click.group()
def check() -> None:
    """Tell a monitoring system whether all is well: 0 yes, 1 look, 2 no, 3 nobody knows."""


_file = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))


@check.command()
@_file
@click.option(
    "--memory",
    "memory_bytes",
    metavar="BYTES",
    type=click.IntRange(1),
    help="What the node's control group has; it warns where others could make the node hold more.",
)
@output_option
def config(path: Path, memory_bytes: int | None, output: Output) -> int:
    """
    Tell whether a node could be started with a configuration file.

    Its application is imported, from the current directory if it is there. It warns of listeners
    that other hosts can reach without TLS, of private keys that every user can read, also of the
    gateway for clients of NATS, and of the file itself, if it has secrets and every user can read
    it; and of too little memory, if it is told how much there is (atbus config memory).
    """
    from atbus.cli.outcome import CommandFailed
    from atbus.node.credentials import credentials_of
    from atbus.node.footprint import holdings

    found: list[tuple[Verdict, str]] = []
    try:
        loaded = configurations.load(path, (), with_all_it_names=True)
        found += [
            (Verdict.CRITICAL, f"{file}: it has expired, or is not valid yet")
            for file in _ended_certificates(loaded)
        ]
    except CommandFailed as failure:
        # Of a file that cannot be read the fault begins with its name.
        faults = "; ".join(failure.faults or (failure.message,)).removeprefix(f"{path}: ")
        return _tell(output, Verdict.CRITICAL, f"{path}: {faults}")
    credentials = credentials_of(loaded)
    outlook = None if credentials is None else credentials.outlook()
    if outlook is not None and outlook.faults:
        # Those who believe somebody else may take what nobody has signed whom this node believes.
        verdict = Verdict.WARNING if outlook.is_foreign else Verdict.CRITICAL
        refused = f"nodes like this one would refuse {loaded.tls_certificate}"
        found.append((verdict, f"{refused}: {'; '.join(outlook.faults)}"))
    found += [
        (Verdict.WARNING, f"{key}: every user of this host may read it")
        for key in _open_keys(loaded)
    ]
    if _holds_secrets(loaded) and _is_open(path):
        found.append((Verdict.WARNING, "it has secrets, and every user of this host may read it"))
    plain = _plain_listeners(loaded)
    if plain:
        found.append((Verdict.WARNING, f"without TLS at {', '.join(plain)}"))
    most_bytes = sum(each.most_bytes for each in holdings(loaded))
    if memory_bytes is not None and memory_bytes < most_bytes:
        found.append((Verdict.WARNING, f"others can make it hold {most_bytes} bytes"))
    if not found:
        return _tell(output, Verdict.OK, f"{path}: a valid configuration")
    # The gravest first.
    found.sort(key=lambda each: each[0], reverse=True)
    return _tell(output, found[0][0], f"{path}: {'; '.join(text for _, text in found)}")


@check.command()
@_file
@certificate_options
@output_option
def cert(path: Path, realm: str, authorities: Path | None, days: float, output: Output) -> int:
    """Tell whether a node could use a certificate, and for long enough."""
    from atbus.cli.outcome import CommandFailed

    try:
        chain = certificates.load_certificates(path)
        faults, left_days = certificates.judge(chain, realm, authorities)
    except CommandFailed as failure:
        # As of a configuration: no node could read it.
        return _tell(output, Verdict.CRITICAL, failure.message)
    if faults:
        return _tell(output, Verdict.CRITICAL, f"{path}: {'; '.join(faults)}")
    verdict = Verdict.WARNING if left_days < days else Verdict.OK
    return _tell(output, verdict, f"{path}: good for {left_days:.1f} days")


@check.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@output_option
@via_options
@click.pass_context
def link(ctx: click.Context, target: int, output: Output) -> int:
    """
    Tell whether the node at --via is connected to a node, and data can flow.

    It warns when there is no way for data, or the other side does not take what it is sent.
    """
    from atbus.busid import format_bus_id
    from atbus.cli import session
    from atbus.cli.outcome import CommandFailed

    async def question(conversation: session.Conversation) -> Any:
        return await conversation.ask(0, "atbus.links")

    name = format_bus_id(target)
    try:
        links = session.ask(via_of(ctx), question)
        return _tell(output, *_judge_links(name, links))
    except CommandFailed as failure:
        return _tell(output, Verdict.UNKNOWN, failure.message)
    except (AttributeError, KeyError, TypeError):
        # Whoever is at --via may be anybody.
        return _tell(output, Verdict.UNKNOWN, "an answer that is no list of links")


def _judge_links(name: str, links: Any) -> tuple[Verdict, str]:
    ours = [each for each in links if each["id"] == name]
    if not ours:
        return Verdict.CRITICAL, f"no connection to {name}"
    used = [each for each in ours if each["used"]]
    if not used:
        return Verdict.WARNING, f"{name}: no way for data"
    if any(each["slow"] for each in ours):
        return Verdict.WARNING, f"{name}: does not take what it is sent"
    age = round(used[0]["age_seconds"])
    return Verdict.OK, f"{name}: {used[0]['channel']}, for {age} s"


def _open_keys(loaded: NodeConfig) -> list[str]:
    """Name the private keys of a node and its gateway that are not their owner's alone."""
    keys = [loaded.tls_key]
    for table in _gateway_tables(loaded):
        keys += [table.get(name) for name in ("key_file", "nkey_file", "credentials_file")]
    return [key for key in keys if key and _is_open(Path(key))]


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _holds_secrets(loaded: NodeConfig) -> bool:
    """Tell whether a configuration has a secret itself, and not only names files with some."""
    from atbus.node.option import OPTIONS, TABLES_WITH_SECRETS

    given = loaded.given()
    return any(given[name] for name, option in OPTIONS.items() if option.secret) or any(
        _has_secret(given[name]) for name in TABLES_WITH_SECRETS
    )


def _has_secret(value: object) -> bool:
    from atbus.node.reading import is_secret

    if isinstance(value, Mapping):
        return any(
            (is_secret(key) and not key.endswith("_file") and bool(inner)) or _has_secret(inner)
            for key, inner in value.items()
        )
    return isinstance(value, list | tuple) and any(map(_has_secret, value))


def _ended_certificates(loaded: NodeConfig) -> list[str]:
    """Name the certificates of a gateway that nobody would believe, whoever has signed them."""
    from atbus.channels.outlook import is_current

    files = [table.get("certificate_file") for table in _gateway_tables(loaded)]
    return [
        file
        for file in files
        if file and not is_current(certificates.load_certificates(Path(file))[0])
    ]


def _gateway_tables(loaded: NodeConfig) -> list[Mapping[str, Any]]:
    """Give the tables of a gateway that name files: its own, and those about its servers."""
    nats = loaded.nats
    return [nats, nats.get("cluster", {}), *nats.get("leaf_remotes", ())]


def _plain_listeners(loaded: NodeConfig) -> list[str]:
    from atbus.node.reading_nats import plain_listeners

    plain = [
        str(address)
        for address in loaded.listen
        if address.is_tcp and not (address.is_tls or address.is_loopback)
    ]
    return [*plain, *plain_listeners(loaded.nats)]


def _tell(output: Output, verdict: Verdict, message: str) -> int:
    from atbus.errors import printable

    if output.is_json:
        output.value({"verdict": verdict.name, "code": int(verdict), "message": message})
    else:
        # One line, whatever is in the names of files and in what others have said.
        click.echo(printable(f"{verdict.name}: {message}"))
    return int(verdict)
