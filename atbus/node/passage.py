"""What passes through this node to one destination: the way it takes, and how much is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from atbus import limits

if TYPE_CHECKING:
    from atbus.node.endpoint import Endpoint

#: Fewer frames than this are never too many.
CALM_FRAMES = limits.DESTINATION_FRAMES_SOFT // 32


@attrs.define(eq=False, slots=True)
class Passage:
    """
    One destination, as a relay sees it.

    :param destination: Its bus id.
    :param hop: Where its frames go, as of *generation* of the routes.
    :param frames: How many of its frames this node answers for.
    :param mark: From so many on it is looked at with each frame whether they are too many.
    :param watched: Whether it is congested, so that each frame that leaves may be the end of that.
    :param on_left: Called then.
    """

    destination: int
    on_left: Callable[[Passage], None]
    hop: Endpoint | None = None
    generation: int = -1
    frames: int = 0
    mark: int = CALM_FRAMES
    frames_mark: int = limits.DESTINATION_FRAMES_SOFT
    watched: bool = False

    def left(self) -> None:
        """Count a frame for which this node answers no longer."""
        self.frames -= 1
        if self.watched:
            self.on_left(self)
