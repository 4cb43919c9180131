"""What comes of hostile inputs: counts, and what must not happen."""

from __future__ import annotations

from collections import Counter

import attrs


@attrs.frozen
class Failure:
    """
    What must not happen.

    :param batch: In which batch.
    :param number: Which input of it.
    :param text: What it was.
    :param kept: The input, as a line of the corpus; empty when it is not known.
    """

    batch: int
    number: int
    text: str
    kept: str = ""


@attrs.define
class Findings:
    """
    What came of some inputs.

    :param inputs: How many there were.
    :param frames: How many frames were cut out of them.
    :param outcomes: How often a frame was read as what, or refused with which status.
    :param slowest_seconds: Processor time of the slowest input.
    :param hungriest_bytes: Memory of the sampled input that took most of it.
    :param failures: What must not happen.
    """

    inputs: int = 0
    frames: int = 0
    outcomes: Counter[str] = attrs.field(factory=Counter)
    slowest_seconds: float = 0.0
    hungriest_bytes: int = 0
    failures: list[Failure] = attrs.field(factory=list)

    def add(self, other: Findings) -> None:
        """
        Add what came of other inputs.

        :param other: Their findings.
        """
        self.inputs += other.inputs
        self.frames += other.frames
        self.outcomes += other.outcomes
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        self.hungriest_bytes = max(self.hungriest_bytes, other.hungriest_bytes)
        self.failures += other.failures
