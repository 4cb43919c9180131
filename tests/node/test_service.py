"""A node and its application as one service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from unittest.mock import patch

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from atbus.errors import ConfigurationError, ListenFailed, RegistrationRefused, Status
from atbus.node.node import Node
from atbus.node.service import NodeService
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, BusTests, Keeper

HERE = "tests.node.test_service"


class Application(Service):
    """Notes what happens to it, and what state its node is in then."""

    made: ClassVar[list[Application]] = []

    def __init__(self, node: Node, settings: Mapping[str, object]) -> None:
        self.node = node
        self.settings = settings
        self.notes: list[str] = []
        self.stopping: Deferred[None] | None = None
        self.note("made")
        self.made.append(self)
        node.events.on_state_changed.observe(self._state_changed)

    def note(self, what: str) -> None:
        self.notes.append(f"{what} {self.node.state}")

    def _state_changed(self, state: str) -> None:
        if state == "draining":
            self.node.send(ROOT, b"last words")

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.note("started")

    def stopService(self) -> Deferred[None] | None:
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self.note("stopped")
        return self.stopping


def without_service(node: Node, settings: Mapping[str, object]) -> None:
    """Be an application that is no service."""
    node.on_request(lambda _, payload: payload)


def broken(node: Node, settings: Mapping[str, object]) -> None:
    """Be an application that fails."""
    raise KeyError("target")


class ServiceTests(BusTests):
    """The service of one node."""

    def setUp(self) -> None:
        super().setUp()
        self.ends: list[Failure] = []
        Application.made.clear()

    def serve(self, node: Node) -> NodeService:
        service = NodeService(node, ended=self.ends.append)
        service.startService()
        return service

    def test_the_order_of_things(self) -> None:
        """
        The application is made before its node starts, and stops after it.

        What it says when the node begins to stop still goes out.
        """
        root, keeper = self.root(), Keeper()
        root.receiver = keeper
        self.network.start(root)
        child = self.child(application=f"{HERE}:Application", application_settings={"answer": 42})
        service = self.serve(child)
        (application,) = Application.made
        self.assertEqual(application.settings, {"answer": 42})
        self.assertIs(application.parent, service)
        self.network.settle()
        self.network.result_of(service.stopService())
        self.assertEqual(application.notes, ["made created", "started created", "stopped stopped"])
        self.assertEqual(keeper.payloads, [b"last words"])
        self.assertEqual(self.ends, [])

    def test_waiting_for_the_application(self) -> None:
        """The service has stopped when the application's service has."""
        service = self.serve(self.root(application=f"{HERE}:Application"))
        stopping = Application.made[0].stopping = Deferred()
        stopped = service.stopService()
        self.network.settle()
        self.assertFalse(stopped.called)
        stopping.callback(None)
        self.assertTrue(stopped.called)

    def test_an_application_without_a_service(self) -> None:
        """A callable that gives nothing has done what it wanted with the node."""
        root = self.root(application=f"{HERE}:without_service")
        self.serve(root)
        self.assertEqual(self.network.result_of(root.request(ROOT, b"echo")), b"echo")

    def test_an_application_that_fails(self) -> None:
        """Its exception is nobody else's: the service does not start."""
        root = self.root(application=f"{HERE}:broken")
        self.assertRaises(KeyError, NodeService(root).startService)
        self.assertEqual(root.state, "created")

    def test_an_application_that_is_not_there(self) -> None:
        """It is told when the service is made."""
        for name in ("no.such.module:make", f"{HERE}:nothing", f"{HERE}:HERE"):
            error = self.assertRaises(ConfigurationError, NodeService, self.root(application=name))
            self.assertTrue(error.faults[0].startswith("application: "), error.faults)

    def test_several_in_one_process(self) -> None:
        """Any number of nodes, each with its service, live under one parent."""
        family: Any = MultiService()
        nodes = [self.root(), self.child(), self.child(CHILD + 1)]
        for node in nodes:
            service: Any = NodeService(node)
            service.setName(f"{node.bus_id:#x}")
            service.setServiceParent(family)
        family.startService()
        self.network.settle(5)
        self.assertEqual([node.state for node in nodes], ["running"] * 3)
        self.assertIs(family.getServiceNamed("0x10001").node, nodes[1])
        self.network.result_of(family.stopService())
        self.assertEqual([node.state for node in nodes], ["stopped"] * 3)

    def test_once_more(self) -> None:
        """A service that has stopped can be started again, with the same application."""
        service = self.serve(self.root(application=f"{HERE}:Application"))
        for _ in range(2):
            self.assertEqual(service.node.state, "running")
            self.network.result_of(service.stopService())
            service.startService()
        self.assertEqual(len(Application.made), 1)
        self.assertEqual(len(Application.made[0].notes), 6)

    def test_the_memory_of_its_control_group(self) -> None:
        """It is looked at when the node starts; what is too little is told."""
        with (
            capturedLogs() as events,
            patch("atbus.node.service.memory_limit", return_value=2**28),
        ):
            self.serve(self.root())
        told = [event["sentence"] for event in events if event.get("event") == "memory"]
        self.assertEqual(len(told), 1)
        self.assertIn("control group has 268435456", told[0])

    def test_what_cannot_start(self) -> None:
        """A node that cannot listen, or is refused, ends its service with the reason, once."""
        self.network.start(self.root(access_tokens=["a"]))
        self.serve(self.root())
        self.serve(self.child())
        self.network.settle()
        listening, registering = (failure.value for failure in self.ends)
        assert isinstance(listening, ListenFailed)
        self.assertEqual(str(listening.address), ROOT_ADDRESS)
        assert isinstance(registering, RegistrationRefused)
        self.assertIs(registering.status, Status.ACCESS_DENIED)

    def test_stopped_before_it_was_up(self) -> None:
        """A service that is told to stop while its node waits for an upstream did not fail."""
        service = self.serve(self.child())
        self.network.settle(5)
        self.network.result_of(service.stopService())
        self.assertEqual(self.ends, [])

    def test_at_once(self) -> None:
        """Who has no more patience for a stop is rid of the service, whatever the node does."""
        root, child = self.root(), self.child()
        service = self.serve(root)
        self.network.start(child)
        root.on_request(lambda _, __: Deferred())
        child.request(ROOT, b"?").addErrback(lambda _: None)
        self.network.settle()
        stopped = service.stopService()
        self.network.settle()
        self.assertFalse(stopped.called)
        service.stop_at_once()
        self.assertTrue(stopped.called)
        service.stop_at_once()

    def test_stopping_that_fails(self) -> None:
        """A failure of the application at its end is logged, and is no reason to hang."""
        service = self.serve(self.root(application=f"{HERE}:Application"))
        Application.made[0].stopping = Deferred()
        Application.made[0].stopping.errback(OSError("no"))
        self.network.result_of(service.stopService())
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_a_defect_is_told_as_one(self) -> None:
        """A start that fails for no reason that the bus knows is logged with all there is."""
        root = self.root()
        failing: Deferred[None] = Deferred()
        with patch.object(root, "start", return_value=failing):
            self.serve(root)
        failing.errback(ZeroDivisionError())
        self.assertEqual(len(self.ends), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
