"""
A node and its application as one service.

In this order: the application is called with the node, the node starts, the service that the
application may have returned starts. At the end the node stops first, and only when what others had
sent is delivered or answered does the application's service stop. An application that has last
words says them when it sees the state ``draining``: sends are refused only after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from atbus.errors import AtbusError, ConfigurationError
from atbus.node.application import Application, load_application
from atbus.node.config import NodeConfig
from atbus.node.footprint import memory_limit
from atbus.node.journal import Journal
from atbus.node.life import LOST_UPSTREAM, RUNNING, STARTING
from atbus.node.node import Node
from atbus.node.option import OPTIONS
from atbus.node.reload import reconfigure


class NodeService(MultiService):
    """
    Run a node, write its log, and run its application.

    Any number of them live in one process.

    :param node: The node, not started yet; its configuration names the application.
    :param ended: Called with the reason when the node could not come up and has stopped. By then
        the log tells it.
    :raises ConfigurationError: When the application cannot be imported.
    """

    name = "atbus"

    def __init__(self, node: Node, *, ended: Callable[[Failure], object] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.node = node
        self._application: Application | None = None
        if node.config.application is not None:
            self._application = load_application(node.config.application)
        self._log = Logger(namespace="atbus.node")
        self._ended = ended
        self._journal: Journal | None = None
        self._leaving: Deferred[None] | None = None

    def startService(self) -> None:  # Twisted's name
        """Start; a node that cannot come up says so in the log, then to ``ended``."""
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        timers = self.node._parts.context.timers  # noqa: SLF001  # the parts are this package's
        self._journal = Journal(self.node, timers, self._log)
        application, self._application = self._application, None
        if application is not None:
            service = application(self.node, self.node.config.application_settings)
            if service is not None:
                service.setServiceParent(self)
        starting = self.node.start()
        if self.node.state in (STARTING, RUNNING):
            self._journal.started(memory_limit())
        starting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if self._leaving is not None:
            # Stopped before it was up, as somebody wanted.
            return
        journal = self._journal
        text = str(failure.value)
        if not failure.check(AtbusError):
            self._log.failure("the node cannot start", failure=failure)
        elif journal is not None and text not in journal.last_error:
            journal.write("error", f"cannot start: {text}", LogLevel.error)
        self._close_journal()
        if self._ended is not None:
            self._ended(failure)

    def stopService(self) -> Deferred[None]:  # Twisted's name
        """
        Stop the node in good order, then the application.

        :returns: Fires when both have stopped; never fails.
        """
        leaving: Deferred[None] = Deferred()
        self._leaving = leaving
        stopping = self.node.stop()
        stopping.addCallback(lambda _: self._stop_application())
        stopping.addBoth(lambda _: self._left())
        return leaving

    def _stop_application(self) -> Deferred[list[tuple[bool, object]]]:
        """Stop the services of the application, the last one first; log those that fail."""
        Service.stopService(self)

        def failed(failure: Failure) -> None:
            self._log.failure("stopping failed", failure=failure)

        # MultiService itself would leave a failure to the garbage collector.
        services = reversed(list(self))
        return DeferredList(
            [maybeDeferred(each.stopService).addErrback(failed) for each in services]
        )

    def reconfigure(self, config: NodeConfig) -> None:
        """
        Let the node run with another configuration, as far as it can, and say so in the log.

        :param config: Everything that it would be told if it were made now.
        :raises ConfigurationError: When the new values do not go together with those that stay.
        """
        reload = reconfigure(self.node, config)
        journal = self._journal
        if journal is not None and reload.applied:
            journal.write("reload", f"runs with another {_names(reload.applied)}")
        if journal is not None and reload.waiting:
            sentence = f"has to be started again for another {_names(reload.waiting)}"
            journal.write("reload", sentence, LogLevel.warn)
        if journal is not None and not (reload.applied or reload.waiting):
            journal.write("reload", "finds nothing new in its configuration")

    def drain(self) -> None:
        """Let the nodes below this one move; one that is not up has nobody below it."""
        if self.node.state in (RUNNING, LOST_UPSTREAM):
            self.node.drain()

    def refuse_configuration(self, why: ConfigurationError) -> None:
        """
        Say in the log that a new configuration cannot be used, and go on with the old one.

        :param why: All its faults.
        """
        if self._journal is not None:
            self._journal.write("reload", f"keeps its configuration: {why}", LogLevel.error)

    def stop_at_once(self) -> None:
        """Wait no longer for a stop that is under way; what is not delivered by now is lost."""
        self._left()

    def _left(self) -> None:
        self._close_journal()
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.callback(None)

    def _close_journal(self) -> None:
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()


def _names(options: Iterable[str]) -> str:
    """List options by the names that they have in a file."""
    return ", ".join(sorted(OPTIONS[name].key or name for name in options))
