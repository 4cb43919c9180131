"""What a page for monitors tells, all of it at once."""

from __future__ import annotations

from typing import Any

from atbus.nats.pages import Content, Listed


def told(content: Content) -> dict[str, Any]:
    """Give what a monitor reads of a page."""
    assert isinstance(content, dict)
    return {name: _described(value) for name, value in content.items()}


def _described(value: Any) -> Any:
    if not isinstance(value, Listed):
        return value
    entries = [value.describe(item) for item in value.items]
    return [told(entry) if isinstance(entry, dict) else entry for entry in entries]
