"""The codes of the C++ original."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Status
from atbus.libatbus import LIBATBUS_CODES, libatbus_text


class LibatbusTests(SynchronousTestCase):
    """What our outcomes are called there."""

    def test_texts(self) -> None:
        """
        A code is written with its name and number, an unknown one as unknown, always the same.

        Scenario: G7
        """
        for _ in range(2):
            self.assertEqual(libatbus_text(0), "EN_ATBUS_ERR_SUCCESS(0): success")
            self.assertEqual(libatbus_text(12345), "ATBUS_ERROR_TYPE(12345): unknown")
            for code, name in ((-607, "NOT_READY"), (-504, "PIPE_ADDR_TOO_LONG")):
                start, _, text = libatbus_text(code).partition(": ")
                self.assertEqual(start, f"EN_ATBUS_ERR_{name}({code})")
                self.assertTrue(text)

    def test_every_outcome_has_a_code(self) -> None:
        """Each of our outcomes has a code that libatbus knows; only success has 0."""
        self.assertEqual(set(LIBATBUS_CODES), set(Status))
        for status, code in LIBATBUS_CODES.items():
            self.assertNotIn("unknown", libatbus_text(code), status)
            self.assertEqual(code == 0, status is Status.OK)
