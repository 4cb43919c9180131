"""
Which of several servers is asked: decided here, without asking anybody.

1. One server is asked until it does not answer. A refusal is an answer.
2. Then another one, drawn among those that have not failed since one last answered; when all have
   failed, among all others.
3. What a cluster says of its members is added to what was configured, for a cluster can move away
   from all that was configured, and a member can say nonsense of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import SplitResult, urlsplit

import attrs

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.packer import Document
from atbus.errors import ConfigurationError


def read_url(text: str) -> str:
    """
    Check the URL of a server, and give it its one form.

    :param text: ``http://host:port`` or ``https://host:port``.
    :returns: The same, without a slash at its end.
    :raises ValueError: It is something else; says what.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text!r} does not begin with http:// or https://")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is more than scheme, host and port")
    return f"{parts.scheme}://{_place(text, parts)}"


def _place(text: str, parts: SplitResult) -> str:
    """Give host and port."""
    try:
        host, port = parts.hostname, parts.port
    except ValueError as fault:
        raise ValueError(f"{text!r}: {fault}") from fault
    if not host or not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"{text!r} names no host")
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@attrs.frozen(kw_only=True)
class Member:
    """
    One server, as the cluster knows it.

    :param member_id: Its id.
    :param name: Its name; empty while it has never been up.
    :param client_urls: Where it can be asked.
    """

    member_id: int
    name: str
    client_urls: tuple[str, ...]

    @classmethod
    def parse(cls, document: Document) -> Member:
        """
        Read a member.

        :param document: An object of ``members``.
        :returns: The member.
        :raises EtcdUnreadable: When something in it is not what it should be.
        """
        urls = document.get("clientURLs")
        texts = urls if isinstance(urls, list) else []
        return cls(
            member_id=packer.read_number(document, "ID"),
            name=packer.read_text(document, "name"),
            client_urls=tuple(url for url in texts if isinstance(url, str)),
        )


class Servers:
    """
    The servers of one cluster.

    :param configured: Their URLs.
    :param choose: Draws one of several.
    :raises ConfigurationError: There is none, or one is not a URL; names every fault.
    """

    def __init__(self, configured: Sequence[str], choose: Callable[[Sequence[str]], str]) -> None:
        faults = []
        urls = []
        for text in configured:
            try:
                urls.append(read_url(text))
            except ValueError as fault:
                faults.append(f"etcd: {fault}")
        if not configured:
            faults.append("etcd: no server")
        if faults:
            raise ConfigurationError(faults)
        self._configured = tuple(dict.fromkeys(urls))
        self._members: tuple[str, ...] = ()
        self._choose = choose
        self._failed: set[str] = set()
        #: The one that is asked.
        self.current = choose(self._configured)

    def __len__(self) -> int:
        return len(self.known)

    @property
    def known(self) -> tuple[str, ...]:
        """All that may be asked."""
        return tuple(dict.fromkeys([*self._members, *self._configured]))

    @property
    def members(self) -> tuple[str, ...]:
        """What the cluster said last of its members."""
        return self._members

    def answered(self, url: str) -> None:
        """
        Note that a server is there.

        :param url: Which.
        """
        if url == self.current:
            self._failed.clear()

    def failed(self, url: str) -> bool:
        """
        Ask another one from now on.

        :param url: The one that did not answer; nothing happens when another is asked already.
        :returns: Whether another one is asked now.
        """
        if url != self.current:
            return False
        self._failed.add(url)
        others = [known for known in self.known if known != url]
        if not others:
            return False
        fresh = [other for other in others if other not in self._failed]
        if not fresh:
            self._failed = {url}
        self.current = self._choose(fresh or others)
        return True

    def learned(self, urls: Iterable[str]) -> None:
        """
        Take what the cluster says of its members.

        A member is not asked in the clear when all that was configured is asked through TLS.

        :param urls: Their URLs; those that are none are left out.
        """
        is_safe = all(url.startswith("https:") for url in self._configured)
        members: dict[str, None] = {}
        for text in urls:
            try:
                url = read_url(text)
            except ValueError:
                continue
            if (url.startswith("https:") or not is_safe) and len(members) < bounds.ETCD_MEMBERS_MAX:
                members[url] = None
        self._members = tuple(members)
        if self.current not in self.known:
            self.current = self._choose(self.known)
