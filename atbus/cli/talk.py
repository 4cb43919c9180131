"""
Say something to a node, or find out how far it is: ``send``, ``request``, ``command``, ``ping``,
``trace``.
"""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from atbus import limits
from atbus.cli.options import BUS_ID, NumberType, output_option, via_of, via_options
from atbus.cli.output import Output, duration

if TYPE_CHECKING:
    from atbus.cli.session import Conversation

_HOPS = ("hop", "id", "rtt_seconds", "status")


@click.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@click.argument("payload", metavar="[TEXT]", required=False)
@click.option(
    "--kind",
    metavar="NUMBER",
    type=click.IntRange(-(2**31), 2**31 - 1),
    default=0,
    show_default=True,
    help="A number for the receiver.",
)
@output_option
@via_options
@click.pass_context
def send(ctx: click.Context, target: int, payload: str | None, kind: int, output: Output) -> None:
    """
    Send a message and wait until its target has it.

    The node at --via is its sender. Without TEXT, or when it is "-", stdin is sent.
    """
    body = _payload(payload)
    answer = _ask(ctx, "atbus.send", str(target), body, str(kind), _seconds(ctx))
    if output.is_json:
        output.value({"target": f"{target:#x}", **answer})
    else:
        took = duration(answer["seconds"])
        output.say(f"delivered to {target:#x} in {took}, sequence {answer['sequence']}")


@click.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@click.argument("payload", metavar="[TEXT]", required=False)
@output_option
@via_options
@click.pass_context
def request(ctx: click.Context, target: int, payload: str | None, output: Output) -> None:
    """
    Ask a node's program a question and print its reply.

    The node at --via is who asks. Without TEXT, or when it is "-", stdin is sent.
    """
    answer = _ask(ctx, "atbus.request", str(target), _payload(payload), _seconds(ctx))
    reply = str(answer["reply"]).encode("latin-1")
    if output.is_json:
        encoded = base64.b64encode(reply).decode("ascii")
        text = reply.decode("utf-8", "replace")
        output.value({"target": f"{target:#x}", "reply": text, "reply_base64": encoded})
    else:
        click.echo(reply, nl=sys.stdout.isatty() or not reply.endswith(b"\n"))


@click.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@click.argument("words", metavar="WORD...", nargs=-1, required=True)
@output_option
@via_options
@click.pass_context
def command(ctx: click.Context, target: int, words: tuple[str, ...], output: Output) -> None:
    """
    Have a node execute a command and print the lines of its answer.

    WORDs are the command's name and its arguments; "--" before them lets them begin with "-".
    """
    answer = _ask(ctx, "atbus.command", _seconds(ctx), str(target), *words)
    if output.is_json:
        output.value({"target": f"{target:#x}", "lines": answer["lines"]})
    else:
        for line in answer["lines"]:
            click.echo(line)


@click.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@click.option(
    "-c",
    "--count",
    metavar="NUMBER",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="How often.",
)
@click.option(
    "--interval",
    "interval_seconds",
    metavar="SECONDS",
    type=NumberType(0, 3_600),
    default=1.0,
    show_default=True,
    help="How long to wait between two pings.",
)
@output_option
@via_options
@click.pass_context
def ping(
    ctx: click.Context, target: int, count: int, interval_seconds: float, output: Output
) -> None:
    """
    Measure how long a node takes to answer.

    It ends well if every ping is answered; --timeout is for each of them.
    """
    from atbus.cli.outcome import CommandFailed

    took: list[float] = []
    failures: list[CommandFailed] = []

    async def question(conversation: Conversation) -> None:
        for number in range(1, count + 1):
            if number > 1:
                await conversation.pause(interval_seconds)
            try:
                answer = await conversation.ask(0, "atbus.ping", str(target), _seconds(ctx))
            except CommandFailed as failure:
                failures.append(failure)
                if count > 1:
                    output.say(f"{number}: {failure}")
            else:
                took.append(answer["rtt_seconds"])
                if not output.is_json:
                    click.echo(f"{number}: {target:#x} answered in {duration(took[-1])}")

    _talk(ctx, question, patience_seconds=count * (interval_seconds + via_of(ctx).timeout_seconds))
    if output.is_json and took:
        output.value(
            {"target": f"{target:#x}", "sent": count, "answered": len(took), "rtt_seconds": took}
        )
    if count > 1 and took:
        times = f"{duration(min(took))} / {duration(sum(took) / len(took))} / {duration(max(took))}"
        output.say(f"{len(took)} of {count} answered; least / mean / most {times}")
    if failures and not took:
        raise failures[-1]
    ctx.exit(1 if failures else 0)


@click.command()
@click.argument("target", metavar="ID", type=BUS_ID)
@output_option
@via_options
@click.pass_context
def trace(ctx: click.Context, target: int, output: Output) -> None:
    """
    Show the nodes on the way to a node and how far each is.

    The way begins at the node at --via. A hop's status is HOP_LIMIT where the question was only
    meant to come that far, OK at the target.
    """
    from atbus.cli.outcome import code_for
    from atbus.errors import Status

    async def question(conversation: Conversation) -> tuple[str, list[dict[str, Any]]]:
        here = await conversation.ask(0, "atbus.ping")
        hops = await conversation.ask(0, "atbus.trace", str(target), _seconds(ctx))
        return here["id"], hops

    begin, hops = _talk(ctx, question, patience_seconds=16 * via_of(ctx).timeout_seconds)
    if output.is_json:
        output.value({"source": begin, "target": f"{target:#x}", "hops": hops})
    else:
        output.say(f"from {begin} to {target:#x}")
        output.rows(hops, _HOPS)
    ctx.exit(code_for(Status[hops[-1]["status"]]))


@click.command()
@click.argument("target", metavar="[ID]", type=BUS_ID, required=False)
@output_option
@via_options
@click.pass_context
def drain(ctx: click.Context, target: int | None, output: Output) -> int:
    """
    Let the nodes below a node move to other upstreams.

    ID is the node that is drained; without it, the node at --via. It stays, and takes in nobody
    new. The command ends when nobody is left who can move: with 0 if all have moved.
    """
    from atbus.cli.outcome import ExitCode

    patience = via_of(ctx).timeout_seconds + limits.DRAIN_SECONDS

    async def question(conversation: Conversation) -> Any:
        return await conversation.ask(target or 0, "atbus.drain")

    answer = _talk(ctx, question, patience_seconds=patience)
    output.fields(answer)
    return ExitCode.FAILED if answer["stayed"] else ExitCode.DONE


COMMANDS: Final[tuple[click.Command, ...]] = (send, request, command, ping, trace, drain)


def _payload(text: str | None) -> bytes:
    if text is None or text == "-":
        return sys.stdin.buffer.read()
    return text.encode("utf-8", "surrogateescape")


def _seconds(ctx: click.Context) -> str:
    """Give the node that asks in our stead a little less time than we have."""
    return str(via_of(ctx).timeout_seconds * 0.9)


def _ask(ctx: click.Context, *words: str | bytes) -> Any:
    async def question(conversation: Conversation) -> Any:
        return await conversation.ask(0, *words)

    return _talk(ctx, question)


def _talk(ctx: click.Context, question: Any, patience_seconds: float | None = None) -> Any:
    from atbus.cli import session

    return session.ask(via_of(ctx), question, patience_seconds)
