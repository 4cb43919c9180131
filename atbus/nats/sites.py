"""What the sites of a gateway have in common, whoever asks."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

from twisted.python.failure import Failure
from twisted.web.http import BAD_REQUEST, HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from atbus.nats import bounds

#: An address with its host, as one asks a proxy.
_WHOLE: Final = re.compile(rb"(?i:https?)://([^/]*)(/.*)?")


class _Request(Request):
    """A question, whose address is what an address may be."""

    is_lost = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802  # Twisted's name
        """Keep nothing of what comes with it, however long that is: nobody reads it."""
        super().gotLength(0)  # type: ignore[no-untyped-call]  # untyped in Twisted

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  # likewise
        """Forget a piece of that."""

    def process(self) -> None:
        """Answer it, when it is its turn."""
        self.channel.site.take(self)  # type: ignore[attr-defined]  # it is of a site

    def answer(self) -> None:
        """Answer it, unless there are bytes in it that no address has (RFC 3986)."""
        if self.uri.isascii():
            whole = _WHOLE.fullmatch(self.path)
            if whole is not None:
                # Then this is the host, whatever the header says (RFC 9112, 3.2.2).
                self.requestHeaders.setRawHeaders(b"host", [whole[1]])
                self.path = whole[2] or b"/"
            super().process()  # type: ignore[no-untyped-call]  # untyped in Twisted
        else:
            self.setResponseCode(BAD_REQUEST)
            self.finish()  # type: ignore[no-untyped-call]  # likewise

    def connectionLost(self, reason: Failure) -> None:
        """Nobody hears an answer any more."""
        self.is_lost = True
        super().connectionLost(reason)  # type: ignore[no-untyped-call]  # likewise


class _Channel(HTTPChannel):
    """A connection whose headers have names of some length: Twisted remembers those for ever."""

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802  # Twisted's name
        """Read a header; one whose name is too long is none, as one without a name is."""
        is_long = line.find(b":") > bounds.HEADER_NAME_BYTES
        good = super().headerReceived(  # type: ignore[no-untyped-call]  # untyped in Twisted
            b"" if is_long else line
        )
        return bool(good)


class QuietSite(Site):
    """
    A site that does not log each question, and begins one answer in a turn of the reactor: a chunk
    of 64 KiB may hold three thousand questions.

    Who asks while nobody else does is answered at once. Others wait in the order in which they have
    asked, one of each connection.
    """

    noisy = False
    protocol = _Channel  # type: ignore[assignment]  # Twisted's own may become one of HTTP/2
    requestFactory = _Request  # noqa: N815  # Twisted's name

    def __init__(self, resource: Resource, reactor: Any) -> None:
        super().__init__(resource, reactor=reactor)  # type: ignore[no-untyped-call]  # untyped
        self._waiting: deque[_Request] = deque()
        self._has_answered = False

    def take(self, request: _Request) -> None:
        """
        Answer a question, in this turn or a later one.

        :param request: The question.
        """
        if self._has_answered:
            self._waiting.append(request)
            return
        self._has_answered = True
        self.reactor.callLater(0, self._take_next)
        request.answer()

    def _take_next(self) -> None:
        self._has_answered = False
        while self._waiting and not self._has_answered:
            request = self._waiting.popleft()
            if not request.is_lost:
                self.take(request)

    def log(self, request: Any) -> None:
        """Say nothing: monitors ask all the time."""
