"""
What a node knows: ``status``, ``nodes``, ``links``, ``routes``.
"""

from __future__ import annotations

from typing import Any, Final

import click

from atbus.cli.options import BUS_ID, output_option, via_of, via_options
from atbus.cli.output import Output

_NODES = ("id", "relation", "state", "channel", "rtt_seconds", "queued_bytes", "waiting", "labels")
_LINKS = ("id", "role", "channel", "address", "dialled", "used", "queued_bytes", "age_seconds")
_ROUTES = ("subnet", "via", "rule")


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
@output_option
@via_options
@click.pass_context
def nodes(ctx: click.Context, target: int | None, output: Output) -> None:
    """
    List the nodes that are registered with a node.

    ID is the node that is asked; without it, the node at --via answers.
    """
    output.rows(_ask(ctx, target, "atbus.nodes"), _NODES)


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def links(ctx: click.Context, target: int | None, output: Output) -> None:
    """
    List the connections of a node, control and data.

    ID is the node that is asked; without it, the node at --via answers. Id 0x0 is a temporary
    node: at least the one that asks.
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
@output_option
@via_options
@click.pass_context
def routes(ctx: click.Context, target: int | None, destination: int | None, output: Output) -> None:
    """
    List where a node sends what is for others.

    ID is the node that is asked; without it, the node at --via answers.
    """
    if destination is None:
        output.rows(_ask(ctx, target, "atbus.routes"), _ROUTES)
        return
    decision = _ask(ctx, target, "atbus.route", str(destination))
    output.fields(decision)
    if "refused" in decision:
        from atbus.cli.outcome import code_for
        from atbus.errors import Status

        ctx.exit(code_for(Status[decision["refused"]]))


COMMANDS: Final[tuple[click.Command, ...]] = (status, nodes, links, routes)


def _ask(ctx: click.Context, target: int | None, *words: str) -> Any:
    from atbus.cli import session

    async def question(conversation: session.Conversation) -> Any:
        return await conversation.ask(target or 0, *words)

    return session.ask(via_of(ctx), question)
