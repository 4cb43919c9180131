"""
``atbus demo``: its options.
"""

from __future__ import annotations

import sys

import click

from atbus.cli.options import NumberType, output_option
from atbus.cli.output import Output


@click.command()
@click.option(
    "--seconds",
    metavar="NUMBER",
    type=NumberType(3, 3_600),
    default=20.0,
    show_default=True,
    help="How long messages are sent.",
)
@click.option(
    "--rate",
    metavar="NUMBER",
    type=NumberType(1, 10_000),
    default=200.0,
    show_default=True,
    help="Messages per second of each service.",
)
@click.option(
    "--discovery",
    type=click.Choice(["etcd", "zookeeper"]),
    help="Let the nodes find each other through a server that is installed here.",
)
@click.option("--pairs", is_flag=True, help="Show a line for each pair of nodes.")
@click.option("--keep", is_flag=True, help="Keep configurations, logs and events, and say where.")
@click.option(
    "--relay",
    metavar="MODULE:CALLABLE",
    default="",
    hidden=True,
    help="Run another application in the processes of the proxies.",
)
@output_option
@click.pass_context
def demo(
    ctx: click.Context,
    seconds: float,
    rate: float,
    discovery: str | None,
    pairs: bool,
    keep: bool,
    relay: str,
    output: Output,
) -> None:
    """
    Show a bus of real processes on this machine, with a verdict.

    Two regions, each with two proxies and three services, and a proxy between them. They talk while
    a proxy is added, one leaves, and one is killed and comes back. At the end an independent
    checker says what became of each message. It ends with 0 if nothing was lost, doubled or out of
    order, and nothing refused before the kill.
    """
    from twisted.internet.defer import Deferred

    from atbus.cli.demo.layout import APPLICATION
    from atbus.cli.demo.screen import Lines, Screen, Terminal
    from atbus.cli.demo.story import Story, Wishes
    from atbus.cli.session import run

    stream = sys.stderr if output.is_json else sys.stdout
    screen: Screen = Terminal(stream) if stream.isatty() else Lines(stream)
    wishes = Wishes(
        seconds=seconds,
        rate=rate,
        pairs=pairs,
        keep=keep,
        relay=relay or APPLICATION,
        discovery=discovery or "",
    )
    ending = run(lambda reactor: Deferred.fromCoroutine(Story(reactor, wishes, screen).tell()))
    screen.say(f"\n{ending.words()}")
    if output.is_json:
        output.value(ending.values())
    ctx.exit(0 if ending.ok else 1)
