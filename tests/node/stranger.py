"""Somebody who speaks the wire protocol by hand: it is in `atbus.testing.stranger`."""

from __future__ import annotations

from atbus.testing.stranger import HalfWay, Stranger

__all__ = ["HalfWay", "Stranger"]
