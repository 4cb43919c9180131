"""
``atbus node run``: a node in the foreground, the same as ``twistd -n atbus``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.group()
def node() -> None:
    """Run a node."""


@node.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("arguments", metavar="[OPTION]...", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """
    Run a node in the foreground until it is told to stop.

    This is "twistd -n atbus"; all OPTIONs are those of the plug-in, for example
    "atbus node run --config node.toml". "twistd atbus --help" lists them.
    """
    words = [*twistd(), "-n", "atbus", *arguments]
    sys.stdout.flush()
    os.execv(words[0], words)  # noqa: S606  # a list of words, no shell


def twistd() -> list[str]:
    """
    Say how to run twistd with the interpreter and the packages of this process.

    :returns: The first words of a command.
    """
    script = Path(sys.executable).with_name("twistd")
    if script.exists():
        return [sys.executable, str(script)]
    # Installed without scripts, or with scripts elsewhere.
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
