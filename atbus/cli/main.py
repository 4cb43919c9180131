"""
The ``atbus`` command: what it is made of, and how it ends.

Nothing of Twisted is loaded before the command is known, so that ``--help`` is there at once. Each
command is a file beside this one, and ends in one of the ways of `atbus.cli.outcome`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise

import click

from atbus import __version__
from atbus.cli import cert, check, config, foreground, inspect, registry, shm, subjects, talk
from atbus.cli.bench.command import bench
from atbus.cli.demo.command import demo
from atbus.cli.lasting_objects import put_off_collecting
from atbus.cli.outcome import CommandFailed, ExitCode
from atbus.cli.output import JSON, TABLE, Output


class _InOrder(click.Group):
    """Lists commands as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="atbus %(version)s")
def atbus() -> None:
    """
    Run, watch and use a message bus.

    Commands that talk to a bus do so through one of its nodes: --via ADDRESS, or ATBUS_URL.
    """


for _command in (
    demo,
    foreground.node,
    *talk.COMMANDS,
    *subjects.COMMANDS,
    *inspect.COMMANDS,
    shm.shm,
    *registry.COMMANDS,
    bench,
    config.config,
    cert.cert,
    check.check,
):
    atbus.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command and end the process.

    :param arguments: Its words; None: those of the process.
    :raises SystemExit: Always.
    """
    # Until a reactor runs: what runs none is over soon, or waits for processes of its own.
    put_off_collecting()
    fill_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(int(run(words)))


def fill_standard_streams() -> None:
    """
    Put nothing where a standard stream of the process has been closed.

    What is opened next would take its number, a connection to the bus above all; and Python has no
    object where there is no stream.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            nowhere = os.open(os.devnull, os.O_RDWR)
            # Also for what takes the place of this process.
            os.set_inheritable(nowhere, True)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8"))  # noqa: SIM115, PTH123


def run(words: Sequence[str]) -> int:
    """
    Run a command.

    :param words: Its name, options and arguments.
    :returns: The exit code.
    """
    output = Output(JSON if _wants_json(words) else TABLE)
    try:
        code = _run(words, output)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read along has enough. What Python would write at its end goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        # For example a full disk behind stdout.
        click.echo(f"atbus: {error}", err=True)
        return ExitCode.FAILED
    return code


def _run(words: Sequence[str], output: Output) -> int:
    try:
        code = atbus.main(list(words), prog_name="atbus", standalone_mode=False)
    except click.UsageError as error:
        if not output.is_json:
            error.show()
            return ExitCode.USAGE
        output.error(CommandFailed(ExitCode.USAGE, "USAGE", error.format_message()))
        return ExitCode.USAGE
    except click.ClickException as error:
        output.error(CommandFailed(ExitCode.FAILED, "FAILED", error.format_message()))
        return ExitCode.FAILED
    except (click.Abort, KeyboardInterrupt):
        output.error(CommandFailed(ExitCode.INTERRUPTED, "INTERRUPTED", "interrupted"))
        return ExitCode.INTERRUPTED
    except CommandFailed as failure:
        output.error(failure)
        return failure.code
    # What ctx.exit() was given; a command that returns nothing has done it.
    return code if isinstance(code, int) else ExitCode.DONE


def _wants_json(words: Sequence[str]) -> bool:
    """Look for ``-o json`` where the words could not be understood, to answer in kind."""
    pairs = pairwise(words)
    apart = any(first in {"-o", "--output"} and second == JSON for first, second in pairs)
    return apart or not {f"-o{JSON}", f"--output={JSON}", f"-o={JSON}"}.isdisjoint(words)
