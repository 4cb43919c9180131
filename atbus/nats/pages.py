"""
Pages for monitors, in JSON. A list of clients may be long, so it is written in portions, one in
each turn of the reactor, and each is sent before the next is made: who asks for all of them keeps
nobody waiting, and who does not read what he has asked for costs no more than one portion.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import FORBIDDEN, MOVED_PERMANENTLY, NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from atbus.nats import bounds
from atbus.nats.browsers import seal
from atbus.nats.questions import Arguments, BadArgument

#: What is told behind the last portion.
_END: Final = object()


@attrs.frozen
class Listed:
    """
    A list of a page, or of an entry of another list.

    :param items: What is in it.
    :param describe: Makes of one what is written, when it is written: an entry, whose lists stand
        behind everything else that it has, or text.
    """

    items: Sequence[Any]
    describe: Callable[[Any], Any]


Chosen = Generator[None, None, Mapping[str, Any]]
"""The content of a page whose entries are chosen in turns of the reactor, a portion in each."""

Content = Mapping[str, Any] | Chosen
"""What a page tells, by its names."""


class _AnyMethod(Resource):
    """What is answered alike whatever is to be done with it."""

    def render(self, request: Request) -> Any:
        """Show it."""
        return self.render_GET(request)  # type: ignore[attr-defined]  # everything here has it


class Moved(_AnyMethod):
    """
    What would be a page in a shorter form.

    :param path: That form.
    """

    isLeaf = True

    def __init__(self, path: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._path = path

    def render_GET(self, request: Request) -> bytes:
        """Say where it is."""
        seal(request)
        query = request.uri.partition(b"?")[1:]
        request.redirect(b"".join((self._path, *query)))
        request.setResponseCode(MOVED_PERMANENTLY)
        return b""


class Nowhere(_AnyMethod):
    """What is no page, told in the words of nats-server."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Say so."""
        seal(request)
        request.setResponseCode(NOT_FOUND)
        return b"404 page not found\n"


def _nowhere(request: Request) -> Resource:
    """Give what is in the place of a page: another place, where the path has a shorter form."""
    path: bytes = request.path
    shorter = b"/" + posixpath.normpath(path).lstrip(b"/")
    if path.endswith(b"/") and shorter != b"/":
        shorter += b"/"
    if shorter != path:
        return Moved(shorter)
    return Nowhere()  # type: ignore[no-untyped-call]  # untyped in Twisted


class Index(_AnyMethod):
    """
    The page at ``/``, with the way to the others, which are its children.

    :param refusal_of: Says why a question is not answered; None: it is.
    :param note_request: Called for each that is.
    :param titles: For people, by the names of the pages.
    """

    def __init__(
        self,
        refusal_of: Callable[[Request], str | None],
        note_request: Callable[[], None],
        titles: Mapping[str, str],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._refusal_of = refusal_of
        self._note_request = note_request
        links = [f'<a href="./{name}">{title}</a><br>' for name, title in titles.items()]
        page = ["<!DOCTYPE html>", '<html lang="en">', "<title>atbus</title>", *links, "</html>"]
        self._text = "\n".join([*page, ""]).encode()

    def getChild(self, path: bytes, request: Request) -> Resource:  # Twisted's name
        """Give this page for ``/``, and nothing for what is no page."""
        return _nowhere(request) if path or request.postpath else self

    def render_GET(self, request: Request) -> bytes:
        """Show it."""
        seal(request)
        refusal = self._refusal_of(request)
        if refusal is not None:
            request.setResponseCode(FORBIDDEN)
            return refusal.encode()
        self._note_request()
        request.setHeader("content-type", "text/html; charset=utf-8")
        return self._text


class Page(_AnyMethod):
    """
    One page; there is nothing behind it.

    :param reactor: Its turns.
    :param refusal_of: Says why a question is not answered; None: it is.
    :param note_request: Called for each that is.
    :param page: Makes its content.
    :param is_short: Whether that is written in one line, without blanks.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        refusal_of: Callable[[Request], str | None],
        note_request: Callable[[], None],
        page: Callable[[Arguments], Content],
        *,
        is_short: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._reactor = reactor
        self._refusal_of = refusal_of
        self._note_request = note_request
        self._page = page
        self._is_short = is_short

    def getChild(self, path: bytes, request: Request) -> Resource:  # Twisted's name
        """Give nothing, also for a ``/`` behind the name."""
        return _nowhere(request)

    def render_GET(self, request: Request) -> bytes | int:
        """Answer; a question that makes no sense is told what is wrong with it."""
        seal(request)
        refusal = self._refusal_of(request)
        if refusal is not None:
            request.setResponseCode(FORBIDDEN)
            return refusal.encode()
        given: dict[bytes, list[bytes]] = request.args or {}
        arguments = {
            name.decode(errors="replace"): values[0].decode(errors="replace")
            for name, values in given.items()
        }
        self._note_request()
        try:
            content = self._page(arguments)
        except BadArgument as fault:
            request.setResponseCode(400)
            return str(fault).encode()
        if isinstance(content, Mapping) and content.get("status") == "unavailable":
            request.setResponseCode(503)
        callback = arguments.get("callback", "")
        if not callback.replace(".", "").replace("_", "").isalnum():
            callback = ""
        writing = _ShortWriting if self._is_short else _Writing
        writing(self._reactor, request, content, callback).go_on()
        return NOT_DONE_YET


def _lists_of(entry: Mapping[str, Any]) -> dict[str, Listed]:
    return {name: value for name, value in entry.items() if isinstance(value, Listed)}


@implementer(IPushProducer)
class _Writing:
    """
    The answer to one question.

    An answer of one portion is told with its length; a longer one is sent in chunks.

    :param reactor: Its turns.
    :param request: The question.
    :param content: What the answer says.
    :param callback: The function of who asks that gets it; empty for none.
    """

    def __init__(
        self, reactor: IReactorTime, request: Request, content: Content, callback: str
    ) -> None:
        self._reactor = reactor
        self._request = request
        self._callback = callback
        self._texts: list[str] = []
        self._portions = self._write(content)
        self._turn: IDelayedCall | None = None
        self._is_paused = False
        self._is_long = False
        self._written = 0
        request.setHeader("content-type", f"application/{'javascript' if callback else 'json'}")
        request.notifyFinish().addErrback(self._stop)

    def go_on(self) -> None:
        """Write a portion, and send it."""
        self._turn = None
        is_more = next(self._portions, _END) is None
        body = "".join(self._texts).encode()
        self._texts.clear()
        if not is_more:
            self._end(body)
            return
        if body:
            if not self._is_long:
                self._is_long = True
                self._request.registerProducer(self, True)
            self._request.write(body)
        if not self._is_paused:
            self._turn = self._reactor.callLater(0, self.go_on)

    def _end(self, body: bytes) -> None:
        if self._is_long:
            self._request.unregisterProducer()
        else:
            self._request.setHeader("content-length", str(len(body)))
        self._request.write(body)
        self._request.finish()

    def pauseProducing(self) -> None:  # Twisted's name
        """Write no more until what was sent is taken, nor wait for that for long."""
        if not self._is_paused:
            self._is_paused = True
            self._cancel()
            self._turn = self._reactor.callLater(bounds.PAGE_STALLED_SECONDS, self._give_up)

    def resumeProducing(self) -> None:  # Twisted's name
        """Go on, in the next turn."""
        if self._is_paused:
            self._is_paused = False
            self._cancel()
            self._turn = self._reactor.callLater(0, self.go_on)

    def stopProducing(self) -> None:  # Twisted's name
        """Write no more: nobody hears it."""
        self._cancel()

    def _write(self, content: Content) -> Iterator[None]:
        """Choose what is told, and write it; stop behind each portion."""
        if not isinstance(content, Mapping):
            content = yield from content
        add = self._texts.append
        if self._callback:
            add(f"{self._callback}(")
        yield from self._write_chosen(content)
        if self._callback:
            add(")")

    def _write_chosen(self, content: Mapping[str, Any]) -> Iterator[None]:
        """Write the content, an entry of a list in each line; stop behind each portion."""
        add = self._texts.append
        opening = "{\n  "
        for name, value in content.items():
            add(f"{opening}{json.dumps(name)}: ")
            opening = ",\n  "
            if not isinstance(value, Listed):
                add(json.dumps(value))
                continue
            if len(value.items) > bounds.LISTED_PER_TURN:
                # To choose and to sort so many has taken a turn of its own.
                yield
            # Without indentation: that costs four times as much as the rest.
            yield from self._write_list(value, "\n    ", "\n  ")
        add("\n}")

    def _write_list(self, listed: Listed, before: str, behind: str) -> Iterator[None]:
        add, opening = self._texts.append, f"[{before}"
        for item in listed.items:
            if self._written == bounds.LISTED_PER_TURN:
                self._written = 0
                yield
            self._written += 1
            add(opening)
            opening = f",{before}"
            entry = listed.describe(item)
            lists = {} if isinstance(entry, str) else _lists_of(entry)
            if not lists:
                add(json.dumps(entry))
                continue
            rest = {name: value for name, value in entry.items() if name not in lists}
            add(json.dumps(rest)[: -len("}")])
            for name, value in lists.items():
                add(f", {json.dumps(name)}: ")
                yield from self._write_list(value, "", "")
            add("}")
        add(f"{behind}]" if listed.items else "[]")

    def _give_up(self) -> None:
        self._turn = None
        self._request.channel.forceAbortClient()

    def _stop(self, _: Failure) -> None:
        """Write no more: nobody hears it."""
        self._cancel()

    def _cancel(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None


class _ShortWriting(_Writing):
    """The answer to one question in one line, as who only looks for a word in it expects it."""

    def _write_chosen(self, content: Mapping[str, Any]) -> Iterator[None]:
        self._texts.append(json.dumps(content, separators=(",", ":")))
        return iter(())
