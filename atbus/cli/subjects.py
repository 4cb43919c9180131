"""
Publish, listen and ask on subjects: ``pub``, ``sub``, ``req``.
"""

from __future__ import annotations

import base64
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from atbus.cli.options import NumberType, output_option, via_of, via_options
from atbus.cli.output import Output

if TYPE_CHECKING:
    from atbus.cli.session import Conversation

# A command that listens ends when it is interrupted, or has got enough.
_FOR_EVER_SECONDS: Final = 10 * 365 * 86_400.0


class SubjectType(click.ParamType[str]):
    """
    A subject, a pattern of subjects, or a queue group.

    :param is_pattern: Which of the first two.
    :param is_queue: Whether it is the third; that, as any other that is optional, may be empty.
    """

    name = "subject"

    def __init__(self, *, is_pattern: bool = False, is_queue: bool = False) -> None:
        self._is_pattern = is_pattern
        self._is_queue = is_queue

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Check it.

        :param value: The text.
        :param param: Whose value it is.
        :param ctx: Of which command.
        :returns: It.
        :raises click.BadParameter: It is none.
        """
        from atbus.errors import SubjectError
        from atbus.subjects.pattern import check_queue, parse_pattern, parse_subject

        if not value and isinstance(param, click.Option):
            return ""
        try:
            if self._is_queue:
                check_queue(value)
            else:
                (parse_pattern if self._is_pattern else parse_subject)(value)
        except SubjectError as error:
            self.fail(str(error), param, ctx)
        return str(value)


@click.command()
@click.argument("subject", metavar="SUBJECT", type=SubjectType())
@click.argument("payload", metavar="[TEXT]", required=False)
@click.option(
    "--reply-to",
    metavar="SUBJECT",
    type=SubjectType(),
    default="",
    help="Where answers are awaited.",
)
@click.option(
    "-H", "--header", "headers", metavar="NAME:VALUE", multiple=True, help="May be repeated."
)
@click.option(
    "-c",
    "--count",
    metavar="NUMBER",
    type=click.IntRange(1, 1_000_000),
    default=1,
    show_default=True,
    help="How often.",
)
@output_option
@via_options
@click.pass_context
def pub(
    ctx: click.Context,
    subject: str,
    payload: str | None,
    reply_to: str,
    headers: tuple[str, ...],
    count: int,
    output: Output,
) -> None:
    """
    Publish on a subject.

    The node at --via is the publisher. Without TEXT, or when it is "-", stdin is published.
    """
    body, block = _payload(payload), read_pairs(*headers)

    async def question(conversation: Conversation) -> Any:
        for _ in range(count):
            answer = await conversation.ask(0, "atbus.publish", subject, body, reply_to, block)
        return answer

    patience = count * via_of(ctx).timeout_seconds
    answer = _talk(ctx, question, patience)
    if output.is_json:
        output.value({"subject": subject, "published": count, **answer})
    else:
        output.say(f"published {count} on {subject}, sequence {answer['sequence']}")


@click.command()
@click.argument("pattern", metavar="PATTERN", type=SubjectType(is_pattern=True))
@click.option(
    "--queue",
    metavar="NAME",
    type=SubjectType(is_queue=True),
    default="",
    help="Share with others of this group.",
)
@click.option(
    "-c",
    "--count",
    metavar="NUMBER",
    type=click.IntRange(1, 1_000_000_000),
    help="End after so many.",
)
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=NumberType(0.01, 86_400),
    help="End when nothing came for so long; with --count that is a failure.",
)
@click.option("--raw", is_flag=True, help="Print payloads and nothing else, as they are.")
@output_option
@via_options
@click.pass_context
def sub(
    ctx: click.Context,
    pattern: str,
    queue: str,
    count: int | None,
    wait_seconds: float | None,
    raw: bool,
    output: Output,
) -> None:
    """
    Print what is published.

    It begins when the node at --via listens; that it does is said on stderr. Without --count and
    --wait it ends when it is interrupted. As JSON each publication is one line.
    """
    got = 0
    patience = via_of(ctx).timeout_seconds

    async def question(conversation: Conversation) -> None:
        nonlocal got
        listening = await conversation.ask(0, "atbus.subscribe", pattern, queue)
        output.say(f"listening to {pattern}")
        waits = min(patience * 0.8, wait_seconds or patience)
        quiet = 0.0
        while count is None or got < count:
            answer = await conversation.ask(0, "atbus.fetch", listening["handle"], str(waits))
            if answer["missed"]:
                output.say(f"missed {answer['missed']}: too slow")
            quiet = 0.0 if answer["publications"] else quiet + waits
            for publication in answer["publications"]:
                if count is None or got < count:
                    got += 1
                    _print(output, got, publication, raw=raw)
            if wait_seconds is not None and quiet >= wait_seconds:
                break
        await conversation.ask(0, "atbus.fetch", listening["handle"], "0")

    _talk(ctx, question, _FOR_EVER_SECONDS)
    ctx.exit(1 if count is not None and got < count else 0)


@click.command()
@click.argument("subject", metavar="SUBJECT", type=SubjectType())
@click.argument("payload", metavar="[TEXT]", required=False)
@click.option(
    "-H", "--header", "headers", metavar="NAME:VALUE", multiple=True, help="May be repeated."
)
@click.option(
    "--all", "everybody", is_flag=True, help="Take the answers of all, until it is quiet."
)
@click.option(
    "--quiet",
    "quiet_seconds",
    metavar="SECONDS",
    type=NumberType(0.01, 3_600),
    default=0.3,
    show_default=True,
    help="With --all: how long after an answer the next one may come.",
)
@output_option
@via_options
@click.pass_context
def req(
    ctx: click.Context,
    subject: str,
    payload: str | None,
    headers: tuple[str, ...],
    everybody: bool,
    quiet_seconds: float,
    output: Output,
) -> None:
    """
    Ask a question on a subject and print the answer.

    The node at --via is who asks. Without TEXT, or when it is "-", stdin is the question.
    """
    body, block = _payload(payload), read_pairs(*headers)
    seconds = str(via_of(ctx).timeout_seconds * 0.9)

    async def question(conversation: Conversation) -> Any:
        if everybody:
            quiet = str(quiet_seconds)
            return await conversation.ask(0, "atbus.ask-all", subject, body, block, seconds, quiet)
        return [await conversation.ask(0, "atbus.ask", subject, body, block, seconds)]

    answers = _talk(ctx, question, None)
    if output.is_json:
        shown = [_with_text(answer) for answer in answers]
        output.value(shown if everybody else shown[0])
        return
    for answer in answers:
        if everybody:
            output.say(f"from {answer['source']}:")
        _echo(answer)


COMMANDS: Final[tuple[click.Command, ...]] = (pub, sub, req)


def _print(output: Output, number: int, publication: dict[str, Any], *, raw: bool) -> None:
    if output.is_json:
        output.value(_with_text(publication))
    else:
        if not raw:
            hops = publication["hops"]
            way = f"{hops} hop{'' if hops == 1 else 's'}"
            subject, source = publication["subject"], publication["source"]
            output.say(f'[#{number}] on "{subject}" from {source} ({way})')
            for name, value in publication["headers"]:
                output.say(f"{name}: {value}")
        _echo(publication)
    sys.stdout.flush()


def _echo(publication: dict[str, Any]) -> None:
    body = base64.b64decode(publication["payload_base64"])
    click.echo(body, nl=sys.stdout.isatty() or not body.endswith(b"\n"))


def _with_text(publication: dict[str, Any]) -> dict[str, Any]:
    body = base64.b64decode(publication["payload_base64"])
    return {**publication, "payload": body.decode("utf-8", "replace")}


def _payload(text: str | None) -> bytes:
    if text is None or text == "-":
        return sys.stdin.buffer.read()
    return text.encode("utf-8", "surrogateescape")


def read_pairs(*headers: str) -> bytes:
    """
    Write headers as they travel.

    :param headers: Each as ``NAME:VALUE``.
    :returns: The block that stands before a payload.
    :raises click.UsageError: One of them is none.
    """
    from atbus.errors import LocalProtocolError
    from atbus.wire.headers import pack_headers

    pairs = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"{header!r} is no header: NAME:VALUE is one")
        pairs.append((name, value.strip()))
    try:
        return pack_headers(pairs)
    except LocalProtocolError as error:
        raise click.UsageError(str(error)) from error
    except UnicodeEncodeError:
        raise click.UsageError("a header that is no UTF-8") from None


def _talk(ctx: click.Context, question: Any, patience_seconds: float | None) -> Any:
    from atbus.cli import session

    return session.ask(via_of(ctx), question, patience_seconds)
