"""What the sites of a gateway have in common, whoever asks."""

from __future__ import annotations

from typing import Any

from twisted.web.http import BAD_REQUEST
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class _Request(Request):
    """A question, whose address is what an address may be."""

    def process(self) -> None:
        """Answer it, unless there are bytes in it that no address has (RFC 3986)."""
        if self.uri.isascii():
            super().process()  # type: ignore[no-untyped-call]  # untyped in Twisted
        else:
            self.setResponseCode(BAD_REQUEST)
            self.finish()  # type: ignore[no-untyped-call]  # likewise


class QuietSite(Site):
    """A site that does not log each question."""

    noisy = False
    requestFactory = _Request  # noqa: N815  # Twisted's name

    def __init__(self, resource: Resource, reactor: Any) -> None:
        super().__init__(resource, reactor=reactor)  # type: ignore[no-untyped-call]  # untyped

    def log(self, request: Any) -> None:
        """Say nothing: monitors ask all the time."""
