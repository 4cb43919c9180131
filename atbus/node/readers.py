"""Who reads the frames of a link, by what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from atbus.wire.head import Head
from atbus.wire.loose import Frame

if TYPE_CHECKING:
    from atbus.node.link import Link

FrameReader: TypeAlias = Callable[["Link", bytes, Head], None]
"""Takes frames of one type; its link has counted them."""

DataReader: TypeAlias = Callable[["Link", Frame, Head], None]
"""Takes DATA and FRAGMENT frames, or PUBLISH frames, in one piece or not."""
