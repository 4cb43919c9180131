"""
What a running node knows of services: ``discovery services``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from atbus.cli.options import BUS_ID, output_option, via_of, via_options
from atbus.cli.output import Output
from atbus.errors import printable

if TYPE_CHECKING:
    from atbus.cli.session import Conversation

Row = dict[str, Any]

_COLUMNS: Final = ("id", "name", "type", "version", "labels", "gateways")
# How long between two looks.
_PAUSE_SECONDS: Final = 0.5
_FOR_EVER_SECONDS: Final = 10 * 365 * 86_400.0


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@click.option("--watch", "is_watching", is_flag=True, help="Go on with every change of them.")
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(min=1),
    help="With --watch: end after so many lines; otherwise when it is interrupted.",
)
@output_option
@via_options
@click.pass_context
def services(
    ctx: click.Context,
    target: int | None,
    is_watching: bool,
    count: int | None,
    output: Output,
) -> None:
    """
    List the services that a running node knows, wherever it has heard of them.

    ID is the node that is asked; without it, the node at --via answers. With --watch each line
    begins with ``is``, ``found``, ``changed`` or ``gone``; as JSON each change is a line.
    """
    if count is not None and not is_watching:
        raise click.UsageError("--count is for --watch")
    from atbus.cli import session

    via = via_of(ctx)
    if not is_watching:

        async def once(conversation: Conversation) -> list[Row]:
            return list((await _known(conversation, target or 0)).values())

        output.rows(session.ask(via, once), _COLUMNS)
        return

    async def follow(conversation: Conversation) -> None:
        left, before, is_first = count, await _known(conversation, target or 0), True
        changes = [("is", row) for row in before.values()]
        while True:
            for event, row in changes[:left]:
                _show(output, event, row)
            left = None if left is None else left - len(changes)
            if left is not None and left <= 0:
                return
            if is_first:
                output.say("that is all; changes follow")
                is_first = False
            await conversation.pause(_PAUSE_SECONDS)
            now = await _known(conversation, target or 0)
            changes, before = differences(before, now), now

    session.ask(via, follow, _FOR_EVER_SECONDS)


async def _known(conversation: Conversation, target: int) -> dict[tuple[str, str], Row]:
    """Ask for everything that a node knows, page by page."""
    known: dict[tuple[str, str], Row] = {}
    page = await conversation.ask(target, "atbus.services")
    while page:
        known |= {(row["id"], row["name"]): row for row in page}
        page = await conversation.ask(target, "atbus.services", page[-1]["id"], page[-1]["name"])
    return known


def differences(
    before: dict[tuple[str, str], Row], now: dict[tuple[str, str], Row]
) -> list[tuple[str, Row]]:
    """
    Say what has changed between two looks.

    :param before: What was known, by id and name.
    :param now: What is known.
    :returns: Pairs of event and row: what is gone first, each other change in the order of *now*.
    """
    changes = [("gone", row) for key, row in before.items() if key not in now]
    for key, row in now.items():
        if key not in before:
            changes.append(("found", row))
        elif row != before[key]:
            changes.append(("changed", row))
    return changes


def _show(output: Output, event: str, row: Row) -> None:
    if output.is_json:
        output.value({"event": event} | row)
        return
    said = [f"{key}={printable(row[key])}" for key in ("name", "type", "version") if row[key]]
    output.line(" ".join([event, row["id"], *said]))
