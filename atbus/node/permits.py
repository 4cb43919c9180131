"""
What others may do at this node, in step with its configuration and with files that change.

Two files say who is not wanted any more: that of denied ids, and that of revoked certificates. Both
are looked at every two seconds, so that a link is cut within five whoever changed them. A file that
cannot be used changes nothing: what was known before stays, and the log says why.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atbus.busid import Subnet, merge_subnets
from atbus.errors import ConfigurationError, Status
from atbus.node import bounds
from atbus.node.config import NodeConfig
from atbus.node.credentials import refresh, warn_of
from atbus.node.reading_rights import parse_range
from atbus.rights import Labels, Rights, Who

if TYPE_CHECKING:
    from collections.abc import Callable

    from atbus.channels.interfaces import ChannelOptions
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar


class Permits:
    """
    Keep the rights of one node, and end connections that they do not allow.

    :param options: The channels', which have the credentials.
    :param changed: Called when ways have to be looked up again.
    :raises ConfigurationError: The file of denied ids cannot be used.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        options: ChannelOptions,
        changed: Callable[[], None],
    ) -> None:
        # Set by the node, which wires its parts.
        self.on_used: Callable[[], None] = lambda: None
        self._context = context
        self._registrar = registrar
        self._options = options
        self._changed = changed
        self._looked_at = context.now
        # Of the file of denied ids: which one has been read last, and which one counts.
        self._read_stamp: object = None
        self._stamp: object = None
        # Those that were there when the node was made have been told, or it would not be.
        self._told_faults = [] if options.tls is None else options.tls.faults
        self._has_warned = False
        self.use(self.read(context.config))

    def read(self, config: NodeConfig) -> Rights:
        """
        Make the rights that a configuration gives, with its file as it is now.

        :raises ConfigurationError: The file cannot be used.
        """
        denied = [*config.denied]
        self._read_stamp = None
        if config.denied_file is not None:
            # Before it is read: what is written afterwards is to be read again.
            self._read_stamp = _stamp(config.denied_file)
            denied += read_denied(config.denied_file)
        return Rights(config.rights, merge_subnets(denied), self._labels_of)

    def use(self, rights: Rights) -> None:
        """Ask the rights that have been read from now on, and end what they do not allow."""
        self._stamp = self._read_stamp
        self._context.rights = rights or None
        self._changed()
        self.on_used()
        for endpoint in [*self._registrar.endpoints.values(), *self._registrar.temporary]:
            who = who_is(endpoint)
            if endpoint.temporary:
                refusal = rights.refuses_all(who)
            else:
                refusal = rights.refuses_registration(who, endpoint.position)
            if refusal is not None:
                self._cut(endpoint, refusal)

    def _cut(self, endpoint: Endpoint, refusal: str) -> None:
        self._context.events.on_error(Status.ACCESS_DENIED, f"{endpoint}: {refusal}")
        for connection in endpoint.connections:
            connection.abort(Status.ACCESS_DENIED, refusal)

    def sweep(self) -> None:
        """Look at the files now and then."""
        now = self._context.now
        if now - self._looked_at < bounds.FILES_LOOK_SECONDS:
            return
        self._looked_at = now
        credentials = self._options.tls
        if not self._has_warned:
            self._has_warned = True
            warn_of(credentials, self._context.log)
        if credentials is not None:
            # Each look of a connection refreshes too, so what is new is what was not told yet.
            if credentials.refresh() or credentials.faults is not self._told_faults:
                refresh(credentials, self._context.log, looked=True)
            self._told_faults = credentials.faults
        path = self._context.config.denied_file
        if path is not None and _stamp(path) != self._stamp:
            self._reread()

    def refresh(self) -> None:
        """Use the files for TLS as they are now, and say so: somebody has asked for it."""
        credentials = self._options.tls
        if credentials is not None:
            is_untold = credentials.faults is not self._told_faults
            refresh(credentials, self._context.log, looked=is_untold)
            self._told_faults = credentials.faults

    def _reread(self) -> None:
        try:
            rights = self.read(self._context.config)
        except ConfigurationError as error:
            self._stamp = self._read_stamp
            self._context.log.error(
                "the denied ids stay what they were: {faults}", faults="; ".join(error.faults)
            )
            return
        self.use(rights)
        self._context.log.info("new denied ids are in use")

    def _labels_of(self, bus_id: int) -> Labels:
        """Give the labels that a node says it has, as far as it is known."""
        if bus_id == self._context.bus_id:
            return tuple(self._context.config.labels.items())
        endpoint = self._registrar.endpoints.get(bus_id)
        if endpoint is not None:
            return endpoint.peer.request.labels
        record = self._context.table.registry.get(bus_id)
        return () if record is None else record.labels


def who_is(endpoint: Endpoint) -> Who:
    """
    Say who a registered node is, as far as rights are concerned.

    :param endpoint: The node, temporary or not.
    :returns: Its id and labels; of a temporary node what its certificate names.
    """
    labels = endpoint.peer.request.labels
    if not endpoint.temporary:
        return Who.node(endpoint.bus_id, labels)
    control = endpoint.control
    channel = None if control is None else control.channel
    certified = None if channel is None else channel.identity
    return Who(None if certified is None else certified.subnet, labels, temporary=True)


def read_denied(path: str) -> list[Subnet]:
    """
    Read a file of denied ids: one id or range in a line, what follows a # is a comment.

    :param path: The file, in UTF-8.
    :returns: The ranges.
    :raises ConfigurationError: It cannot be read, or a line is neither.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(bounds.DENIED_FILE_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise ConfigurationError([f"denied_file: {path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"denied_file: {path}: not in UTF-8"]) from error
    if len(content) > bounds.DENIED_FILE_BYTES:
        most = bounds.DENIED_FILE_BYTES
        raise ConfigurationError([f"denied_file: {path}: more than {most} bytes"])
    ranges, faults = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        try:
            ranges.append(parse_range(words))
        except ValueError as error:
            faults.append(f"denied_file: {path}: line {number}: {error}")
    if faults:
        raise ConfigurationError(faults[: bounds.DENIED_FAULTS_TOLD])
    return ranges


def _stamp(path: str) -> object:
    """Tell one content of a file from the next, as far as the file system does."""
    try:
        status = Path(path).stat()
    except OSError as error:
        return error.errno
    # The time of its last change as well: who could not read it may read it now.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
