"""
How much the program may have been given that it has not dealt with.

A receiver that returns a Deferred deals with its message later. Above the window its senders are
told to pause, at half of it to go on; what was on its way meanwhile still comes, and counts. At a
multiple of the window (`Window.is_full`) messages are refused.
"""

from __future__ import annotations

import attrs

from atbus import limits


@attrs.define(eq=False)
class Window:
    """
    The open messages of one node.

    :param bytes_max: Payload bytes at which it closes.
    :param count_max: Messages at which it closes.
    """

    bytes_max: int = attrs.field(validator=attrs.validators.ge(1))
    count_max: int = attrs.field(validator=attrs.validators.ge(1))
    #: Payload bytes of the messages that are open.
    open_bytes: int = attrs.field(default=0, init=False)
    #: How many they are.
    count: int = attrs.field(default=0, init=False)
    #: Whether the program has said that it wants nothing for the moment.
    shut: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    @property
    def closed(self) -> bool:
        """Whether senders are to pause."""
        return self._closed or self.shut

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be taken, paused or not."""
        factor = limits.WINDOW_HARD_FACTOR
        return self.open_bytes >= self.bytes_max * factor or self.count >= self.count_max * factor

    def enter(self, size_bytes: int) -> None:
        """Count a message that is open from now on."""
        self.open_bytes += size_bytes
        self.count += 1
        if self.open_bytes > self.bytes_max or self.count > self.count_max:
            self._closed = True

    def leave(self, size_bytes: int) -> bool:
        """
        Count a message that has been dealt with.

        :returns: Whether this has opened the window.
        """
        self.open_bytes -= size_bytes
        self.count -= 1
        if not self._closed:
            return False
        if self.open_bytes * 2 > self.bytes_max or self.count * 2 > self.count_max:
            return False
        self._closed = False
        return not self.shut
