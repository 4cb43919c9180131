"""Hostile texts: none of their readers lets anything out but its own refusals."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.testing.hostile import read_again
from atbus.testing.text_fuzz import hostile_text, read_hostile
from atbus.testing.text_readers import READERS

CORPUS = Path(__file__).with_name("corpus.txt")


class TextTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Each reader reads its own examples."""
        for reader in READERS:
            for example in reader.examples:
                self.assertEqual(read_hostile(reader, example), f"{reader.name} read")

    def test_nothing_is_found(self) -> None:
        """Of some thousand damaged texts each is read or refused, for every reader both."""
        random = Random(5)
        outcomes = Counter(read_hostile(*hostile_text(random)) for _ in range(6000))
        for reader in READERS:
            self.assertGreater(outcomes[f"{reader.name} read"], 0, reader.name)
            if reader.refuses:
                self.assertGreater(outcomes[f"{reader.name} refused"], 0, reader.name)

    def test_what_was_found_before(self) -> None:
        """Whatever was worth a thought once is refused, or read as what it is."""
        lines = CORPUS.read_text(encoding="utf-8").splitlines()
        kept = [line.split() for line in lines if line and not line.startswith("#")]
        self.assertGreater(len(kept), 10)
        for name, data in kept:
            self.assertEqual(read_again(name, bytes.fromhex(data)), "", (name, data))

    def test_what_an_input_costs(self) -> None:
        """As much of anything as a frame may hold costs 4 MiB at most, and little time."""
        for reader in READERS:
            for example in reader.examples:
                data = example * (limits.FRAME_BYTES // len(example))
                for damaged in (data, data[:-1], example[:-1] + data):
                    began = time.process_time()
                    read_hostile(reader, damaged)
                    self.assertLess(time.process_time() - began, 1.0, reader.name)
                    tracemalloc.start()
                    try:
                        read_hostile(reader, damaged)
                        _, peak = tracemalloc.get_traced_memory()
                    finally:
                        tracemalloc.stop()
                    self.assertLess(peak, 4 * 1024 * 1024, reader.name)
