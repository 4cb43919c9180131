"""
What a node knows: ``status``, ``nodes``, ``links``, ``routes``, ``route explain``.
"""

from __future__ import annotations

from typing import Any, Final

import click

from atbus.cli.options import BUS_ID, output_option, via_of, via_options
from atbus.cli.output import Output

_NODES = ("id", "relation", "state", "channel", "rtt_seconds", "queued_bytes", "waiting", "labels")
_LINKS = (
    "id",
    "role",
    "channel",
    "address",
    "dialled",
    "used",
    "queued_bytes",
    "waiting",
    "paused",
    "slow",
    "age_seconds",
)
_PEERS = (
    "id",
    "hostname",
    "ip",
    "port",
    "dialled",
    "configured",
    "age_seconds",
    "idle_seconds",
    "rtt_seconds",
    "pending_bytes",
    "subscriptions",
    "in_publications",
    "out_publications",
    "in_bytes",
    "out_bytes",
)
_ROUTES = ("subnet", "via", "rule")
_RECORDS = (
    "id",
    "upstream",
    "relation",
    "known_by",
    "told_by",
    "proxy",
    "draining",
    "labels",
    "addresses",
)


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def status(ctx: click.Context, target: int | None, output: Output) -> None:
    """
    Show what a node is and what it has counted.

    ID is the node that is asked; without it, the node at --via answers.
    """
    output.fields(_ask(ctx, target, "atbus.status"))


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@click.option(
    "--known",
    is_flag=True,
    help="List all nodes that it has a record of, itself included, and what the records say.",
)
@output_option
@via_options
@click.pass_context
def nodes(ctx: click.Context, target: int | None, known: bool, output: Output) -> None:
    """
    List the nodes that are registered with a node.

    ID is the node that is asked; without it, the node at --via answers.
    """
    if not known:
        output.rows(_ask(ctx, target, "atbus.nodes"), _NODES)
        return
    from atbus.cli import session

    async def question(conversation: session.Conversation) -> list[Any]:
        records: list[Any] = []
        page = await conversation.ask(target or 0, "atbus.records")
        while page:
            records += page
            page = await conversation.ask(target or 0, "atbus.records", page[-1]["id"])
        return records

    output.rows(session.ask(via_of(ctx), question), _RECORDS)


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def links(ctx: click.Context, target: int | None, output: Output) -> None:
    """
    List the connections of a node, control and data.

    ID is the node that is asked; without it, the node at --via answers. Id 0x0 is a temporary
    node: at least the one that asks. Of each link: frames that wait for the other side or for a
    destination behind it, how many destinations the other side has asked to pause, and whether it
    does not take what it is sent.
    """
    output.rows(_ask(ctx, target, "atbus.links"), _LINKS)


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@click.option(
    "--to",
    "destination",
    metavar="ID",
    type=BUS_ID,
    help="Tell only where a message to this node would go next, and by which rule.",
)
@click.option(
    "--peers",
    is_flag=True,
    help="List the nodes that it is linked with, as nats-server lists its routes at /routez.",
)
@output_option
@via_options
@click.pass_context
def routes(
    ctx: click.Context,
    target: int | None,
    destination: int | None,
    peers: bool,
    output: Output,
) -> None:
    """
    List where a node sends what is for others.

    ID is the node that is asked; without it, the node at --via answers.
    """
    if peers and destination is not None:
        raise click.UsageError("--peers and --to are different questions")
    if peers:
        output.rows(_ask(ctx, target, "atbus.peers"), _PEERS)
        return
    if destination is None:
        output.rows(_ask(ctx, target, "atbus.routes"), _ROUTES)
        return
    decision = _ask(ctx, target, "atbus.route", str(destination))
    output.fields(decision)
    if "refused" in decision:
        from atbus.cli.outcome import code_for
        from atbus.errors import Status

        ctx.exit(code_for(Status[decision["refused"]]))


@click.group()
def route() -> None:
    """Look into the way of a message."""


@route.command()
@click.argument("origin", metavar="FROM", type=BUS_ID)
@click.argument("destination", metavar="TO", type=BUS_ID)
@output_option
@via_options
@click.pass_context
def explain(ctx: click.Context, origin: int, destination: int, output: Output) -> None:
    """
    Tell where a node would send a message, and by which rule.

    FROM is the node that decides, by all that it knows now; TO is the node that the message is for.
    """
    explanation = _ask(ctx, origin, "atbus.explain", str(destination))
    output.fields(explanation)
    if explanation["refused"]:
        from atbus.cli.outcome import code_for
        from atbus.errors import Status

        ctx.exit(code_for(Status[explanation["refused"]]))


COMMANDS: Final[tuple[click.Command, ...]] = (status, nodes, links, routes, route)


def _ask(ctx: click.Context, target: int | None, *words: str) -> Any:
    from atbus.cli import session

    async def question(conversation: session.Conversation) -> Any:
        return await conversation.ask(target or 0, *words)

    return session.ask(via_of(ctx), question)
