"""
Where the ``atbus`` command begins: Ctrl-C shows nobody what is being loaded.
"""

from __future__ import annotations

from atbus.cli.early_signals import end_when_interrupted, raise_when_interrupted


def main() -> None:
    """
    Load the commands, run the one that the process is there for, and end the process.

    :raises SystemExit: Always.
    """
    end_when_interrupted()
    from atbus.cli.main import main as run

    raise_when_interrupted()
    run()
