"""
The life of a node.

::

    created --start--> starting --up--> running --upstream_lost--> lost_upstream
                                        running <----- up -------- lost_upstream
    (starting | running | lost_upstream) --drain--> draining --stopped--> stopped
    starting --stopped--> stopped          stopped --start--> starting

Rules:

1. A node without upstreams is up as soon as it listens; one with upstreams when it is registered
   with one of them. The first time is ``on_node_up``, later ones are not.
2. A lost upstream is retried for ever; the node stays alive.
3. ``on_node_down`` is called once per life, and only of a node that has been up.
4. The program is told when the step has been made, in order; what it asks for then, also to start
   again, is the next step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
from automat import NoTransition, TypeMachineBuilder

from atbus.errors import LocalProtocolError, Status

CREATED = "created"
STARTING = "starting"
RUNNING = "running"
LOST_UPSTREAM = "lost_upstream"
DRAINING = "draining"
STOPPED = "stopped"


class Inputs(Protocol):
    """What happens to a node."""

    def start(self) -> None:
        """The program starts it."""

    def up(self) -> None:
        """It listens and, if it has upstreams, is registered with one."""

    def upstream_lost(self) -> None:
        """It is registered with no upstream any more."""

    def drain(self) -> None:
        """It is to stop in good order."""

    def stopped(self, status: Status) -> None:
        """It has stopped."""


@attrs.define(eq=False)
class Core:
    """
    What the machine works on.

    :param entered: Called with the name of each state that is entered.
    :param went_up: Called when the node is up for the first time.
    :param went_down: Called when a node that has been up has stopped.
    """

    entered: Callable[[str], object]
    went_up: Callable[[], object]
    went_down: Callable[[Status], object]
    has_been_up: bool = False


def _build() -> Callable[[Core], Inputs]:
    builder = TypeMachineBuilder(Inputs, Core)
    created = builder.state(CREATED)
    starting = builder.state(STARTING)
    running = builder.state(RUNNING)
    lost = builder.state(LOST_UPSTREAM)
    draining = builder.state(DRAINING)
    ended = builder.state(STOPPED)

    def begin(_: Inputs, core: Core) -> None:
        core.has_been_up = False
        core.entered(STARTING)

    def rise(_: Inputs, core: Core) -> None:
        core.entered(RUNNING)
        if not core.has_been_up:
            core.has_been_up = True
            core.went_up()

    def fall(_: Inputs, core: Core) -> None:
        core.entered(LOST_UPSTREAM)

    def leave(_: Inputs, core: Core) -> None:
        core.entered(DRAINING)

    def end(_: Inputs, core: Core, status: Status) -> None:
        core.entered(STOPPED)
        if core.has_been_up:
            core.went_down(status)

    for state in (created, ended):
        state.upon(Inputs.start).to(starting)(begin)
        state.upon(Inputs.drain).loop().returns(None)
        state.upon(Inputs.stopped).loop()(_nothing)
        state.upon(Inputs.upstream_lost).loop().returns(None)
    for state in (starting, running, lost):
        state.upon(Inputs.drain).to(draining)(leave)
        state.upon(Inputs.stopped).to(ended)(end)
        state.upon(Inputs.start).loop().returns(None)
    starting.upon(Inputs.up).to(running)(rise)
    lost.upon(Inputs.up).to(running)(rise)
    running.upon(Inputs.up).loop().returns(None)
    running.upon(Inputs.upstream_lost).to(lost)(fall)
    for state in (starting, lost, draining):
        state.upon(Inputs.upstream_lost).loop().returns(None)
    draining.upon(Inputs.up).loop().returns(None)
    draining.upon(Inputs.drain).loop().returns(None)
    draining.upon(Inputs.stopped).to(ended)(end)
    return builder.build()


def _nothing(_: Inputs, _core: Core, status: Status) -> None:
    """What has stopped, or never started, cannot stop."""


_machine = _build()


class Life:
    """
    Where a node is in its life.

    :param entered: Called with the name of each state that is entered.
    :param went_up: Called the first time the node is up.
    :param went_down: Called once when a node that has been up has stopped.
    """

    def __init__(
        self,
        *,
        entered: Callable[[str], object],
        went_up: Callable[[], object],
        went_down: Callable[[Status], object],
    ) -> None:
        self.state = CREATED
        self._entered = entered
        self._core = Core(
            self._enter,
            lambda: self._news.append(went_up),
            lambda status: self._news.append(lambda: went_down(status)),
        )
        self._inputs = _machine(self._core)
        # What the program is to be told once the machine is at rest: it may ask for the next step.
        self._news: list[Callable[[], object]] = []
        self._is_telling = False

    @property
    def has_been_up(self) -> bool:
        """Whether the node has been up since it was started."""
        return self._core.has_been_up

    @property
    def is_alive(self) -> bool:
        """Whether the node takes part: started, and not about to stop."""
        return self.state in (STARTING, RUNNING, LOST_UPSTREAM)

    def start(self) -> None:
        """
        Begin.

        :raises LocalProtocolError: The node is draining.
        """
        try:
            self._inputs.start()
        except NoTransition as error:
            raise LocalProtocolError(f"a node cannot start while it is {self.state}") from error
        self._tell()

    def up(self) -> None:
        """Note that the node is up; one that has stopped in the meantime stays stopped."""
        if self.state not in (CREATED, STOPPED):
            self._inputs.up()
            self._tell()

    def upstream_lost(self) -> None:
        """Note that no upstream is left."""
        self._inputs.upstream_lost()
        self._tell()

    def drain(self) -> None:
        """Note that the node is to stop."""
        self._inputs.drain()
        self._tell()

    def stopped(self, status: Status) -> None:
        """Note that it has stopped."""
        self._inputs.stopped(status)
        self._tell()

    def _enter(self, state: str) -> None:
        self.state = state
        self._news.append(lambda: self._entered(state))

    def _tell(self) -> None:
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._news:
                self._news.pop(0)()
        finally:
            self._is_telling = False
