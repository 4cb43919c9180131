"""
``atbus bench``: its commands and their options.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from atbus import limits
from atbus.cli.bench.task import CHANNELS, SIZE_BYTES_MIN, Wishes
from atbus.cli.options import NumberType, output_option
from atbus.cli.output import Output

Command = TypeVar("Command", bound=Callable[..., Any])

_PARTIES_MAX: Final = 64
_COUNT_MAX: Final = 1_000_000_000
_PUSHED: Final = 200_000
_ASKED: Final = 10_000
_COLUMNS: Final = (
    *("party", "id", "process", "sent", "forwarded", "received", "lost"),
    *("cpu_per_message_seconds", "peak_bytes"),
)


@click.group()
def bench() -> None:
    """Measure this machine, with real processes whose every message is checked."""


def _measured(default_count: int) -> Callable[[Command], Command]:
    """Give a command what all measurements can be told."""

    def decorate(command: Command) -> Command:
        for option in reversed(
            (
                click.option(
                    "--channel",
                    type=click.Choice(list(CHANNELS)),
                    default="unix",
                    show_default=True,
                    help="What data takes between the processes; with mem all are one process.",
                ),
                click.option(
                    "--size",
                    metavar="BYTES",
                    type=click.IntRange(SIZE_BYTES_MIN, limits.MESSAGE_BYTES_MAX),
                    default=128,
                    show_default=True,
                    help="How long each message is.",
                ),
                click.option(
                    "--count",
                    metavar="NUMBER",
                    type=click.IntRange(1, _COUNT_MAX),
                    default=default_count,
                    show_default=True,
                    help="How many messages there are.",
                ),
                click.option(
                    "--targets",
                    metavar="NUMBER",
                    type=click.IntRange(1, _PARTIES_MAX),
                    default=1,
                    show_default=True,
                    help="How many processes they go to, in turn.",
                ),
            )
        ):
            command = option(command)
        return output_option(command)

    return decorate


_rate_option = click.option(
    "--rate",
    metavar="NUMBER",
    type=NumberType(0, 10_000_000),
    default=0.0,
    show_default=True,
    help="Messages per second; 0 for as many as go.",
)
_window_option = click.option(
    "--window",
    metavar="NUMBER",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="How many answers are waited for at a time.",
)


@bench.command()
@_measured(_PUSHED)
@_rate_option
@click.pass_context
def send(ctx: click.Context, /, output: Output, **wishes: Any) -> None:
    """Measure messages that nobody answers."""
    _measure(ctx, output, Wishes(work="send", **wishes))


@bench.command()
@_measured(_ASKED)
@_window_option
@click.pass_context
def deliver(ctx: click.Context, /, output: Output, **wishes: Any) -> None:
    """Measure messages whose arrival is confirmed."""
    _measure(ctx, output, Wishes(work="deliver", **wishes))


@bench.command()
@_measured(_ASKED)
@_window_option
@click.pass_context
def request(ctx: click.Context, /, output: Output, **wishes: Any) -> None:
    """Measure requests, each answered with what it said."""
    _measure(ctx, output, Wishes(work="request", **wishes))


@bench.command()
@_measured(_PUSHED)
@_rate_option
@click.pass_context
def relay(ctx: click.Context, /, output: Output, **wishes: Any) -> None:
    """Measure messages that a third process passes on."""
    _measure(ctx, output, Wishes(work="relay", **wishes))


def _measure(ctx: click.Context, output: Output, wishes: Wishes) -> None:
    from atbus.cli.bench.course import is_clean, measure

    found = measure(wishes)
    if output.is_json:
        output.value(found)
    else:
        output.rows(found["parties"], _COLUMNS)
        click.echo()
        output.fields({name: value for name, value in found.items() if name != "parties"})
    ctx.exit(0 if is_clean(found) else 1)
