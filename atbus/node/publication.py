"""A publication, as subscribers get it."""

from __future__ import annotations

import attrs

from atbus.wire.headers import read_headers


@attrs.define(eq=False, slots=True)
class Publication:
    """
    What was published on a subject; all subscribers of a node share it and change nothing.

    :param subject: What it was published on.
    :param payload: The bytes; the receiver's to keep.
    :param reply_to: The subject for answers; empty when none is wanted.
    :param header_block: As it travels (`atbus.wire.headers`); empty for none.
    :param kind: The publisher's number.
    :param source: Bus id of the node that published it.
    :param sequence: Its number among the publications of that node.
    :param origin: What was given as `Node.publish`'s *origin*; None if it comes from another node.
    :param hops: How many nodes have passed it on.
    """

    subject: str
    payload: bytes
    reply_to: str = ""
    header_block: bytes = b""
    kind: int = 0
    source: int = 0
    sequence: int = 0
    origin: object = None
    hops: int = 0

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values of its headers, in order."""
        return read_headers(self.header_block) if self.header_block else ()

    def header(self, name: str) -> str | None:
        """
        Give the first value of a header.

        :param name: In any case.
        """
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def size_bytes(self) -> int:
        """Header block and payload together."""
        return len(self.payload) + len(self.header_block)
