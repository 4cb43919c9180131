"""One process of a measurement: ``python -m benchmarks.child SYSTEM JOB``, the job as JSON."""

from __future__ import annotations

import json
import sys
from importlib import import_module

from benchmarks.job import Job


def main() -> None:
    """Do what the command line says."""
    system, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    getattr(import_module(f"benchmarks.systems.{system}"), job.role)(job)


if __name__ == "__main__":
    main()
