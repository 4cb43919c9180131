"""``python -m atbus`` is the ``atbus`` command."""

from __future__ import annotations

from atbus.cli.start import main

if __name__ == "__main__":
    main()
