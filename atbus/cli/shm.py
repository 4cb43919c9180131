"""
What a node shares with the processes of its host: ``shm list``, ``shm show``.
"""

from __future__ import annotations

from typing import Any

import click

from atbus.cli.options import BUS_ID, output_option, via_of, via_options
from atbus.cli.output import Output

_LANES = ("id", "direction", "lane", "state", "size_bytes", "unread_bytes", "queued_bytes", "owner")


@click.group()
def shm() -> None:
    """Show the lanes of shared memory of a running node."""


@shm.command("list")
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def list_(ctx: click.Context, target: int | None, output: Output) -> None:
    """
    List the lanes that a node reads and writes.

    ID is the node that is asked; without it, the node at --via answers.
    """
    lanes, state = _lanes(ctx, target)
    output.rows(lanes, _LANES)
    _say(output, state)


@shm.command()
@click.argument("peer", metavar="PEER", type=BUS_ID)
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def show(ctx: click.Context, peer: int, target: int | None, output: Output) -> None:
    """
    Show all that is known of the lanes between a node and its neighbor PEER.

    ID is the node that is asked; without it, the node at --via answers. As JSON that is a list of
    lanes, one for each direction at most, and an empty one where there is none.
    """
    lanes, state = _lanes(ctx, target)
    found = [lane for lane in lanes if int(lane["id"], 16) == peer]
    if output.is_json:
        output.value(found)
        return
    for lane in found:
        output.fields(lane)
    if not found:
        output.say(f"no lanes to or from {peer:#x}")
        _say(output, state)


def _say(output: Output, state: str) -> None:
    if state not in ("", "on"):
        output.say(f"shared memory: {state}")


def _lanes(ctx: click.Context, target: int | None) -> tuple[Any, str]:
    """Ask for the lanes of a node, and, if there are none, whether it shares memory."""
    from atbus.cli import session

    async def question(conversation: session.Conversation) -> tuple[Any, str]:
        lanes = await conversation.ask(target or 0, "atbus.shm")
        if lanes:
            return lanes, ""
        status = await conversation.ask(target or 0, "atbus.status")
        # Nodes of earlier releases do not say.
        return lanes, str(status.get("shared_memory", ""))

    return session.ask(via_of(ctx), question)
