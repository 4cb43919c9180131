"""
Questions of monitoring systems: ``check config``, ``check cert``, ``check link``.

Each prints one line that begins with a verdict, and ends with its number, as such systems expect.
"""

from __future__ import annotations

import enum
import stat
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
@output_option
def config(path: Path, output: Output) -> int:
    """
    Tell whether a node could be started with a configuration file.

    Its application is imported, from the current directory if it is there. It warns of listeners
    that other hosts can reach without TLS, and of private keys that every user can read.
    """
    from atbus.cli.outcome import CommandFailed
    from atbus.node.credentials import credentials_of

    try:
        loaded = configurations.load(path, (), with_all_it_names=True)
    except CommandFailed as failure:
        # Of a file that cannot be read the fault begins with its name.
        faults = "; ".join(failure.faults).removeprefix(f"{path}: ")
        return _tell(output, Verdict.CRITICAL, f"{path}: {faults}")
    verdict, found = Verdict.OK, []
    credentials = credentials_of(loaded)
    outlook = None if credentials is None else credentials.outlook()
    if outlook is not None and outlook.faults:
        # Those who believe somebody else may take what nobody has signed whom this node believes.
        verdict = Verdict.WARNING if outlook.is_foreign else Verdict.CRITICAL
        refused = f"nodes like this one would refuse {loaded.tls_certificate}"
        found.append(f"{refused}: {'; '.join(outlook.faults)}")
    found += [f"{key}: every user of this host may read it" for key in _open_keys(loaded)]
    plain = _plain_listeners(loaded)
    if plain:
        found.append(f"without TLS at {', '.join(plain)}")
    if found:
        return _tell(output, verdict or Verdict.WARNING, f"{path}: {'; '.join(found)}")
    return _tell(output, Verdict.OK, f"{path}: a valid configuration")


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
    except CommandFailed as failure:
        return _tell(output, Verdict.UNKNOWN, failure.message)
    ours = [each for each in links if each["id"] == name]
    if not ours:
        return _tell(output, Verdict.CRITICAL, f"no connection to {name}")
    used = [each for each in ours if each["used"]]
    if not used:
        return _tell(output, Verdict.WARNING, f"{name}: no way for data")
    if any(each["slow"] for each in ours):
        return _tell(output, Verdict.WARNING, f"{name}: does not take what it is sent")
    age = round(used[0]["age_seconds"])
    return _tell(output, Verdict.OK, f"{name}: {used[0]['channel']}, for {age} s")


def _open_keys(loaded: NodeConfig) -> list[str]:
    """Name the private keys, of nodes and of a gateway, that are not their owner's alone."""
    keys = (loaded.tls_key, loaded.nats.get("key_file"))
    return [key for key in keys if key and Path(key).stat().st_mode & stat.S_IROTH]


def _plain_listeners(loaded: NodeConfig) -> list[str]:
    return [
        str(address)
        for address in loaded.listen
        if address.is_tcp and not (address.is_tls or address.is_loopback)
    ]


def _tell(output: Output, verdict: Verdict, message: str) -> int:
    if output.is_json:
        output.value({"verdict": verdict.name, "code": int(verdict), "message": message})
    else:
        click.echo(f"{verdict.name}: {message}")
    return int(verdict)
