"""
An etcd cluster: several servers, one lease, one token.

1. A request goes to one server. When that does not answer, it goes to the next one, once to each;
   streams that the silent server was to feed are ended then as well.
2. A server that says that it is cut off from the others counts as one that does not answer.
3. When a server does not take the token, another one is obtained and the request repeated, once.
4. The members are asked for at the start and now and then, so that a cluster may move.
5. The lease is kept from the first `EtcdCluster.keep_lease` on. A reader needs none.
6. The cluster is *up* while servers answer and, if a lease is wanted, there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from atbus.discovery import bounds
from atbus.discovery.etcd import packer
from atbus.discovery.etcd.faults import Cause, EtcdClosed, EtcdRefused, EtcdUnreachable
from atbus.discovery.etcd.gateway import Gateway
from atbus.discovery.etcd.lease import Lease
from atbus.discovery.etcd.login import Login
from atbus.discovery.etcd.options import ClusterOptions, ClusterStatistics
from atbus.discovery.etcd.packer import Document, RangeAnswer
from atbus.discovery.etcd.servers import Member, Servers
from atbus.discovery.waiting import Listeners, Routine, pause
from atbus.errors import DiscoveryError

#: The first look at the members that fails is repeated sooner.
_FIRST_MEMBERS_RETRY_SECONDS: Final = 3.0


class EtcdCluster:
    """
    One cluster.

    :param options: Which, and how.
    :param reactor: Where connections are made.
    :param timers: The clock.
    :param random: Which server is asked, and how long to wait.
    :raises ConfigurationError: URLs or files of *options* cannot be used.
    """

    _log = Logger(namespace="atbus.discovery.etcd")

    def __init__(
        self, options: ClusterOptions, reactor: Any, timers: IReactorTime, random: Random
    ) -> None:
        self.options = options
        self.statistics = ClusterStatistics()
        self.servers = Servers(options.endpoints, random.choice)
        self._gateway = Gateway(reactor, timers, tls=options.tls)
        self.login = Login(
            options.user,
            options.password,
            self._post_in_nobodys_name,
            timers,
            token_seconds=options.token_seconds,
        )
        self.lease = Lease(
            self.call,
            timers,
            random.random,
            seconds=options.lease_seconds,
            renewal_seconds=options.renewal_seconds,
            changed=self._lease_changed,
        )
        #: The clock.
        self.timers = timers
        self._closed = False
        self._reachable = False
        self._is_up = False
        self._up: Listeners[[]] = Listeners()
        self._down: Listeners[[]] = Listeners()
        self._on_lease: Listeners[[int]] = Listeners()
        self._requests: set[Deferred[Any]] = set()
        self._streams: dict[Deferred[None], str] = {}
        self._members_work = Routine()

    # What is known.

    @property
    def is_up(self) -> bool:
        """Whether servers answer and the lease, if one is wanted, is ours."""
        return self._is_up

    @property
    def is_closed(self) -> bool:
        """Whether this was closed."""
        return self._closed

    def on_up(self, callback: Callable[[], None], *, now: bool = False) -> Callable[[], None]:
        """
        Have something called whenever the cluster comes up.

        :param callback: That.
        :param now: Whether to call it at once if the cluster is up already.
        :returns: Ends it; twice does no harm.
        """
        if now and self.is_up:
            callback()
        return self._up.add(callback)

    def on_down(self, callback: Callable[[], None]) -> Callable[[], None]:
        """
        Have something called whenever the cluster goes down.

        :param callback: That.
        :returns: Ends it; twice does no harm.
        """
        return self._down.add(callback)

    def on_lease(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """
        Have something called with the lease's id whenever there is another, 0 when there is none.

        :param callback: That.
        :returns: Ends it; twice does no harm.
        """
        return self._on_lease.add(callback)

    # Life.

    def start(self) -> None:
        """Begin to look after the members, if the options say so; twice does no harm."""
        if self.options.auto_update and not (self._closed or self._members_work.is_running):
            self._members_work.start(self._look_after_members)

    def keep_lease(self) -> None:
        """Have a lease, and keep it, from now on; twice does no harm."""
        if not self._closed:
            self.lease.start()

    def refresh_files(self) -> None:
        """
        Read the files for TLS again; see `Gateway.refresh_files`.

        :raises ConfigurationError: One cannot be used.
        """
        self._gateway.refresh_files()

    def close(self, *, revoke: bool = True) -> Deferred[None]:
        """
        End everything: requests and streams that are under way fail.

        :param revoke: Whether everything written under the lease goes at once; otherwise it stays
            until the lease ends, as it must when another process takes over.
        :returns: Fires when nothing is left; does not fail. Closing twice does no harm.
        """
        return Deferred.fromCoroutine(self._close(revoke))

    async def _close(self, revoke: bool) -> None:
        self._members_work.stop()
        self.lease.stop()
        if revoke and not self._closed:
            try:
                await self.lease.revoke()
            except DiscoveryError as failed:
                self._log.info("the lease ends by itself: {reason}", reason=str(failed))
        self._closed = True
        for url in set(self._streams.values()):
            self._end_streams(url)
        for request in list(self._requests):
            request.cancel()
        self._settle()
        await self._gateway.close()

    # Requests.

    async def call(self, path: str, request: Document) -> dict[str, Any]:
        """
        Ask the cluster: one server, and others when it does not answer.

        Whoever asks to write must bear that it is done twice: a server may have done it, and died
        before it could say so.

        :param path: The path, beginning with ``/v3``.
        :param request: A JSON object.
        :returns: The answer.
        :raises DiscoveryError: Nobody answered, or one refused.
        :raises EtcdClosed: It was closed.
        """
        failed: DiscoveryError | None = None
        for _ in range(len(self.servers)):
            url = self.servers.current
            try:
                return await self.call_at(url, path, request)
            except EtcdUnreachable as unreachable:
                failed = unreachable
            except EtcdRefused as refused:
                if refused.cause is not Cause.UNAVAILABLE:
                    raise
                failed = refused
                self.evict(url)
        self._reachable = False
        self._settle()
        raise failed or EtcdUnreachable("no server")

    async def call_at(self, url: str, path: str, request: Document) -> dict[str, Any]:
        """
        Ask one server, and take another one from then on if it does not answer.

        :param url: The server.
        :param path: The path.
        :param request: A JSON object.
        :returns: The answer.
        :raises DiscoveryError: It did not answer, or refused.
        :raises EtcdClosed: It was closed.
        """
        token = await self.login.token(url)
        try:
            return await self._post(url, path, request, token)
        except EtcdRefused as refused:
            if refused.cause is not Cause.TOKEN or not self.login.is_wanted:
                raise
        self.login.forget(token)
        return await self._post(url, path, request, await self.login.token(url))

    async def _post_in_nobodys_name(
        self, url: str, path: str, request: Document
    ) -> dict[str, Any]:
        return await self._post(url, path, request, "")

    async def _post(self, url: str, path: str, request: Document, token: str) -> dict[str, Any]:
        if self._closed:
            raise EtcdClosed("the cluster was closed")
        self.statistics.created += 1
        asked = self._gateway.post(
            url, path, request, seconds=self.options.request_seconds, token=token
        )
        # What is cancelled at a close is not the Deferred that somebody waits for.
        self._requests.add(asked)
        try:
            answer = await asked
        except EtcdUnreachable:
            self._unanswered(url)
            raise
        except CancelledError:
            if self._closed:
                raise EtcdClosed("the cluster was closed") from None
            raise
        except DiscoveryError:
            self.statistics.refused += 1
            self._answered(url)
            raise
        finally:
            self._requests.discard(asked)
        self.statistics.succeeded += 1
        self._answered(url)
        return answer

    def _answered(self, url: str) -> None:
        self.statistics.failed_in_a_row = 0
        self.servers.answered(url)
        if not self._reachable:
            self._reachable = True
            self._settle()

    def _unanswered(self, url: str) -> None:
        self.statistics.failed += 1
        self.statistics.failed_in_a_row += 1
        self.evict(url)

    def evict(self, url: str) -> None:
        """
        Take another server, and end the streams of this one.

        :param url: The server that cannot be relied on now.
        """
        if self.servers.failed(url):
            self.statistics.evicted += 1
            self._log.info(
                "{failed} does not answer, {url} is asked", failed=url, url=self.servers.current
            )
        self._end_streams(url)

    def _end_streams(self, url: str) -> None:
        for stream, where in list(self._streams.items()):
            if where == url:
                # One that is not there any more was ended by us.
                del self._streams[stream]
                stream.cancel()

    async def stream(
        self,
        path: str,
        request: Document,
        line_received: Callable[[str, bytes], Deferred[None] | None],
    ) -> None:
        """
        Be told something again and again by one server.

        :param path: The path.
        :param request: A JSON object.
        :param line_received: Called with the server's URL and each line; see `Gateway.stream`.
        :raises DiscoveryError: The server does not answer (any more), or refused.
        :raises EtcdClosed: It was closed.
        """
        url = self.servers.current
        token = await self.login.token(url)
        if self._closed:
            raise EtcdClosed("the cluster was closed")
        self.statistics.streams += 1
        told = self._gateway.stream(
            url,
            path,
            request,
            lambda line: line_received(url, line),
            seconds=self.options.request_seconds,
            token=token,
        )
        self._streams[told] = url
        try:
            await told
        except CancelledError:
            if told in self._streams:
                raise
            raise EtcdUnreachable(f"{url}: the stream was given up") from None
        except EtcdUnreachable:
            self._unanswered(url)
            raise
        except EtcdRefused as refused:
            if refused.cause is Cause.TOKEN:
                self.login.forget(token)
            raise
        finally:
            self._streams.pop(told, None)

    # Members.

    async def _look_after_members(self, is_wanted: Callable[[], bool]) -> None:
        retry = _FIRST_MEMBERS_RETRY_SECONDS
        while is_wanted():
            try:
                await self.refresh_members()
                wait = self.options.members_seconds
                retry = bounds.ETCD_MEMBERS_RETRY_SECONDS
            except DiscoveryError as failed:
                self._log.debug("no members: {reason}", reason=str(failed))
                wait = min(retry, self.options.members_seconds)
            await pause(self.timers, wait)

    async def refresh_members(self) -> tuple[str, ...]:
        """
        Ask the cluster for its members, and ask them from now on as well.

        :returns: Their URLs.
        :raises DiscoveryError: Nobody answered, or one refused.
        """
        members = await self.members()
        self.servers.learned(url for member in members for url in member.client_urls)
        return self.servers.members

    async def members(self) -> tuple[Member, ...]:
        """
        Ask the cluster for its members.

        :returns: They, at most so many as are believed.
        :raises DiscoveryError: Nobody answered, or one refused.
        """
        answer = await self.call("/v3/cluster/member/list", {})
        found = packer.read_objects(answer, "members")[: bounds.ETCD_MEMBERS_MAX]
        return tuple(map(Member.parse, found))

    # Keys.

    async def get(self, key: bytes) -> packer.KeyValue | None:
        """
        Read one key.

        :param key: The key.
        :returns: It with its value, or None when it is not there.
        :raises DiscoveryError: Nobody answered, or one refused.
        """
        answer = await self.range({"key": packer.encode(key)})
        return answer.items[0] if answer.items else None

    async def range(self, request: Document) -> RangeAnswer:
        """
        Read keys.

        :param request: Which, and how.
        :returns: What is there.
        :raises DiscoveryError: Nobody answered, or one refused.
        """
        return packer.parse_range(await self.call("/v3/kv/range", request))

    async def write(self, transaction: Document) -> tuple[int, RangeAnswer | None]:
        """
        Write or delete one key, unless it has changed.

        :param transaction: As `packer.put_if_unchanged` or `packer.delete_if_unchanged` makes it.
        :returns: The revision; and, when nothing was done, what is there.
        :raises DiscoveryError: Nobody answered, or one refused.
        """
        return packer.parse_write(await self.call("/v3/kv/txn", transaction))

    # News.

    def _lease_changed(self, lease: int) -> None:
        self._on_lease.tell(lease)
        self._settle()

    def _settle(self) -> None:
        has_lease = bool(self.lease.id) or not self.lease.is_wanted
        is_up = self._reachable and has_lease and not self._closed
        if is_up is not self._is_up:
            self._is_up = is_up
            self._log.info("etcd is {state}", state="up" if is_up else "down")
            (self._up if is_up else self._down).tell()
