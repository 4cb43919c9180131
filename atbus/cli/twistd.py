"""
``twistd -n atbus --config node.toml``: one node as a process.

The process ends with code 1 when the configuration has faults (all of them are named), when an
address cannot be listened on, and when the first upstream refuses the node by name. It ends by the
signal that stopped it otherwise, as every process of ``twistd`` does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from secrets import randbelow
from typing import TYPE_CHECKING, Any, ClassVar, Final

from OpenSSL.SSL import OPENSSL_VERSION, OpenSSL_version
from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.python import runtime
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

import twisted
from atbus import __version__
from atbus.cli.busy_polling import BUSY_POLL_SECONDS, poll_before_sleep
from atbus.cli.exit_code import exit_with
from atbus.cli.freed_memory import keep_freed_memory
from atbus.cli.lasting_objects import set_aside_lasting_objects
from atbus.cli.short_turns import shorten_turns
from atbus.cli.signals import Signals
from atbus.errors import ConfigurationError, ListenFailed
from atbus.node.application import load_application
from atbus.node.config import NodeConfig
from atbus.node.credentials import credentials_of
from atbus.node.life import DRAINING
from atbus.node.node import Node
from atbus.node.service import NodeService
from atbus.node.toml import load_config, parse_config

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway

#: The largest id that a node gives itself: TOML has no larger numbers.
AUTO_ID_MAX: Final = 2**63 - 1

#: More would keep a processor from everything else, for what a sleep costs a twentieth of.
BUSY_POLL_MAX_US: Final = 1000


def read_microseconds(text: str) -> int:
    """
    Read how long a process looks for more before it sleeps.

    :param text: Microseconds.
    :returns: The number.
    :raises UsageError: It is none, or out of bounds.
    """
    try:
        microseconds = int(text)
    except ValueError:
        microseconds = -1
    if not 0 <= microseconds <= BUSY_POLL_MAX_US:
        raise UsageError(f"--busy-poll: a whole number from 0 to {BUSY_POLL_MAX_US}, not {text!r}")
    return microseconds


class Options(UsageOptions):
    """What may stand behind ``twistd atbus``."""

    longdesc = (
        "Run a node of a message bus. What is given here is stronger than the file; everything "
        "that can stand in a file can be given with --set."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "The configuration, a TOML file."],
        ["id", None, None, 'The bus id: a number, 0x.., 1.2.3.4, or "auto".'],
        [
            *("busy-poll", None, round(BUSY_POLL_SECONDS * 1e6)),
            "Microseconds for which a busy process looks for more before it sleeps; 0: not at all.",
            read_microseconds,
        ],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.node_config: NodeConfig | None = None
        self._listen: list[str] = []
        self._upstream: list[str] = []
        self._set: list[str] = []
        self._own_id = randbelow(AUTO_ID_MAX) + 1

    def opt_listen(self, address: str) -> None:
        """An address to listen on; may be given several times, instead of those of the file."""
        self._listen.append(address)

    def opt_upstream(self, address: str) -> None:
        """The upstream's address; several of them in order of preference."""
        self._upstream.append(address)

    def opt_set(self, assignment: str) -> None:
        """Any option, as KEY=VALUE in TOML: --set limits.hops=4 --set 'name="proxy"'."""
        self._set.append(assignment)

    def opt_version(self) -> None:
        """Print the versions of atbus and of what it runs on, and exit."""
        print(f"atbus {__version__}")
        print(f"Twisted {twisted.__version__}")
        print(f"Python {sys.version.split()[0]}")
        print(OpenSSL_version(OPENSSL_VERSION).decode("ascii", "replace"))
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Read the configuration.

        :raises SystemExit: When it has faults; all of them go to the standard error stream.
        """
        if self["config"] is not None:
            # The process may go to another directory, and it reads the file again on SIGHUP.
            self["config"] = os.path.abspath(self["config"])  # noqa: PTH100 - links stay links
        try:
            self.node_config = self.read()
        except ConfigurationError as error:
            raise SystemExit(self.describe(error)) from None

    def read(self) -> NodeConfig:
        """
        Read the file, and what was given beside it.

        :returns: The configuration, whose application can be imported and whose certificates can
            be used.
        :raises ConfigurationError: When there is anything wrong with it.
        """
        path, overrides = self["config"], self._overrides()
        # The same one each time that the file is read.
        drawn = self._own_id
        if path is None:
            config = parse_config("", overrides, drawn_id=drawn)
        else:
            config = load_config(path, overrides, drawn_id=drawn)
        if config.application is not None:
            load_application(config.application)
        credentials_of(config)
        if config.nats:
            # What a gateway needs is loaded by those who have one.
            from atbus.nats.settings import read_gateway

            read_gateway(config)
        return config

    def describe(self, error: ConfigurationError) -> str:
        """
        Write the faults of a configuration, each on its line behind the name of the file.

        :param error: The faults.
        :returns: Lines.
        """
        path = self["config"] or "twistd atbus"
        return "\n".join(
            fault if fault.startswith((path, "--set")) else f"{path}: {fault}"
            for fault in error.faults
        )

    @property
    def is_daemon(self) -> bool:
        """Whether the process goes into the background, away from who started it."""
        return self.parent is not None and not self.parent.get("nodaemon", True)

    @property
    def goes_elsewhere(self) -> bool:
        """Whether the process will be in another place or somebody else when the node starts."""
        given = {} if self.parent is None else self.parent
        changes = (given.get(name) is not None for name in ("chroot", "uid", "gid"))
        return any(changes) or given.get("rundir", ".") != "."

    def _overrides(self) -> list[str]:
        overrides = [*self._set]
        # The escapes of JSON are among those of TOML.
        if self["id"] is not None:
            overrides.append(f"id={json.dumps(self['id'])}")
        if self._listen:
            overrides.append(f"listen={json.dumps(self._listen)}")
        if len(self._upstream) == 1:
            overrides.append(f"upstream={json.dumps(self._upstream[0])}")
        elif self._upstream:
            overrides.append(f"upstreams={json.dumps(self._upstream)}")
        return overrides


class CannotStart(RuntimeError, SystemExit):
    """
    The process ends before its reactor runs.

    ``twistd`` hands on what any `Exception` says to the process that waits for a daemon's start,
    and on a `SystemExit` the interpreter ends with code 1 and that sentence, without a traceback.

    :param why: The sentence.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.code = why


class NodeProcess(MultiService):
    """
    A process that is there for one node.

    The node is made when the process starts, not before: a daemon is not the process that read its
    options.

    :param options: What was read.
    :param reactor: The process's reactor.
    """

    name = "atbus"

    def __init__(self, options: Options, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._options = options
        self._reactor = reactor
        self._signals = Signals(reactor)
        self.node_service: NodeService | None = None
        self._gateway: Gateway | None = None
        # Whether somebody can wait no longer.
        self._is_at_once = False

    def startService(self) -> None:  # Twisted's name
        """
        Make the node and start it.

        :raises CannotStart: A daemon's node cannot listen: whoever started the daemon waits for
            this moment, and for this moment only. Or the file of ``record_events`` cannot be
            written, a gateway cannot listen, or a file that the configuration names is of no use.
        """
        try:
            self._start()
        except ListenFailed as error:
            raise CannotStart(str(error)) from error
        except ConfigurationError as error:
            raise CannotStart(self._options.describe(error)) from error

    def _start(self) -> None:
        config = self._options.node_config
        assert config is not None
        node = Node(config, self._reactor)
        errors: list[str] = []
        watching = node.events.on_error.observe(lambda _, detail: errors.append(detail))
        if config.record_events is not None:
            from atbus.testing.node_record import NodeRecord

            try:
                NodeRecord(node, config.record_events)
            except OSError as error:
                raise CannotStart(f"record_events: {error}") from error
        service = NodeService(node, ended=self._ended)
        service.setServiceParent(self)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.node_service = service
        self._let_clients_in(node)
        self._signals.on_second_stop = self._stop_at_once
        self._signals.on_hangup = self._reload
        self._signals.on_drain = self._drain
        self._signals.install()
        self._reactor.callWhenRunning(self._signals.install)
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        watching.cancel()
        if self._options.is_daemon and node.state == DRAINING:
            raise CannotStart(errors[-1] if errors else "the node cannot start")

    def _let_clients_in(self, node: Node) -> None:
        """Make the gateway for clients of NATS, if there is to be one; it stops before the node."""
        if not node.config.nats:
            return
        # As above: HTTP and more.
        from atbus.nats.gateway import Gateway
        from atbus.nats.settings import read_gateway

        settings = read_gateway(node.config)
        if settings is not None:
            self._gateway = Gateway(node, settings, self._reactor)
            self._gateway.setServiceParent(self)  # type: ignore[no-untyped-call]  # untyped

    def stopService(self) -> Deferred[None]:  # Twisted's name
        """
        Stop everything in good order, the node when other gateways have taken its servers over.

        :returns: Fires when everything has stopped; never fails.
        """
        leaving = succeed(None) if self._gateway is None else self._gateway.leave_servers()
        return leaving.addCallback(self._stop_all)

    def _stop_all(self, _: None) -> Deferred[None]:
        stopping: Deferred[None] = MultiService.stopService(self)
        if self._is_at_once and self.node_service is not None:
            self.node_service.stop_at_once()
        return stopping

    def _stop_at_once(self) -> None:
        # The second signal may be there before the first one has stopped anything.
        self._is_at_once = True
        if self._gateway is not None:
            for servers in self._gateway.links:
                servers.stop_at_once()
        assert self.node_service is not None
        self.node_service.stop_at_once()

    def _drain(self) -> None:
        """Let everybody go somewhere else: the nodes below, and clients."""
        assert self.node_service is not None
        self.node_service.drain()
        if self._gateway is not None:
            self._gateway.lame_duck()

    def _reload(self) -> None:
        """Read the configuration again; one with faults changes nothing."""
        service = self.node_service
        assert service is not None
        try:
            service.reconfigure(self._options.read())
        except ConfigurationError as error:
            service.refuse_configuration(error)

    def _ended(self, _: Failure) -> None:
        exit_with(1)
        self._reactor.callWhenRunning(self._stop)

    def _stop(self) -> None:
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            # A signal was faster.
            return


def makeService(options: Options) -> IService:
    """
    Make the service that ``twistd atbus`` runs.

    :param options: What was given.
    :returns: A service that is a process's only one.
    """
    from twisted.internet import reactor

    use_monotonic_clock(reactor)
    keep_freed_memory()
    poll_before_sleep(reactor, options["busy-poll"] / 1e6)
    shorten_turns(reactor)
    if options.goes_elsewhere:
        from atbus.cli.everything import load_everything

        load_everything()
    process = NodeProcess(options, reactor)
    set_aside_lasting_objects()
    return process


def use_monotonic_clock(reactor: Any) -> None:
    """
    Keep the reactor's timers from following the wall clock.

    Only for who owns the process, and before the first timer: one that is set by the old clock
    would not fire for decades.

    :param reactor: The process's reactor.
    """
    if reactor.seconds is runtime.seconds and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
