"""``python -m atbus`` is the ``atbus`` command."""

from __future__ import annotations

from atbus.cli.main import main

if __name__ == "__main__":
    main()
