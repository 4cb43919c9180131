"""A bar chart as SVG, without a library: few enough lines to read, and it draws the same always."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

_COLORS = (
    *("#0b5fa5", "#5aa9e6", "#c44e1c", "#f2a97c", "#3b7d3b", "#93c47d"),
    *("#6a4c93", "#b39cd0", "#8a6d00", "#d9b300", "#777777", "#bbbbbb"),
)
_WIDTH, _HEIGHT = 960, 420
_LEFT, _TOP, _BOTTOM = 70, 40, 110
_LEGEND_COLUMNS = 4


def bars(title: str, series: Mapping[str, Mapping[str, float]]) -> str:
    """
    Draw groups of bars on a logarithmic scale.

    :param series: For each name a value above 0 for each group; groups may be missing.
    :returns: A whole SVG document.
    """
    groups = list(dict.fromkeys(group for values in series.values() for group in values))
    found = [value for values in series.values() for value in values.values()] or [1.0]
    low = math.floor(math.log10(min(found)))
    high = max(low + 1, math.ceil(math.log10(max(found))))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        _text(_WIDTH / 2, 20, title, anchor="middle"),
    ]
    floor = _HEIGHT - _BOTTOM

    def height_of(value: float) -> float:
        return (math.log10(value) - low) / (high - low) * (floor - _TOP)

    for power in range(low, high + 1):
        y = floor - height_of(10.0**power)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, f"{10**power:,}", anchor="end"))
    room = (_WIDTH - _LEFT - 10) / max(1, len(groups))
    width = room * 0.86 / max(1, len(series))
    for place, group in enumerate(groups):
        start = _LEFT + room * (place + 0.07)
        parts.append(_text(_LEFT + room * (place + 0.5), floor + 16, group, anchor="middle"))
        for number, (name, values) in enumerate(series.items()):
            if group in values:
                tall = height_of(values[group])
                parts.append(
                    f'<rect x="{start + width * number:.1f}" y="{floor - tall:.1f}" '
                    f'width="{width * 0.92:.1f}" height="{tall:.1f}" fill="{_color(number)}">'
                    f"<title>{escape(name)}, {group}: {values[group]:,.0f}</title></rect>"
                )
    for number, name in enumerate(series):
        x = _LEFT + number % _LEGEND_COLUMNS * (_WIDTH - _LEFT) / _LEGEND_COLUMNS
        y = floor + 36 + number // _LEGEND_COLUMNS * 18
        parts.append(f'<rect x="{x:.0f}" y="{y}" width="10" height="10" fill="{_color(number)}"/>')
        parts.append(_text(x + 15, y + 9, name))
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]
