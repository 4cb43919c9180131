"""
What a node tells its program: one signal per event, observed one by one.

The names are libatbus's. An observer that raises is logged and counted; it disturbs neither the
node nor the other observers. Observers run in the order in which they were added; one added or
cancelled while a signal is being sent takes effect with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, ParamSpec

import attrs
from twisted.logger import Logger

from atbus.errors import Status

if TYPE_CHECKING:
    from atbus.address import Address
    from atbus.channels.tls_fault import TlsFault
    from atbus.node.connection import Connection
    from atbus.node.endpoint import Endpoint
    from atbus.node.subscription import Subscription
    from atbus.routing.drain import Drained
    from atbus.routing.services import Service

P = ParamSpec("P")


@attrs.define(eq=False)
class Observation(Generic[P]):
    """One observer of one signal; `cancel` ends it, twice does no harm."""

    _signal: Signal[P]
    callback: Callable[P, object]

    def cancel(self) -> None:
        """Stop observing."""
        self._signal.forget(self)


class Signal(Generic[P]):
    """
    Tell observers of one kind of event.

    :param name: The event's name, as it appears in the log when an observer fails.
    """

    def __init__(self, name: str, log: Logger) -> None:
        self.name = name
        self._log = log
        self._observations: tuple[Observation[P], ...] = ()

    def observe(self, callback: Callable[P, object]) -> Observation[P]:
        """
        Call *callback* at each event from now on.

        :param callback: What it returns is ignored.
        :returns: A handle whose `cancel` ends the observation.
        """
        observation = Observation(self, callback)
        self._observations = (*self._observations, observation)
        return observation

    def forget(self, observation: Observation[P]) -> None:
        """Remove *observation*; one that is not there is ignored."""
        self._observations = tuple(o for o in self._observations if o is not observation)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every observer with the event's values; none of their exceptions gets out."""
        for observation in self._observations:
            try:
                observation.callback(*args, **kwargs)
            except Exception:  # noqa: BLE001 - whatever an observer does stays its own matter
                self._log.failure("observer of {event} failed", event=self.name)


@attrs.frozen(kw_only=True)
class Fate:
    """
    What became of messages that were not simply delivered, or whose delivery was asked for.

    :param target: The bus id that they were sent to.
    :param first_sequence: Sequence of the first message.
    :param count: How many consecutive messages share this fate.
    :param status: `Status.OK` only when an answer was asked for.
    :param gave_up_at: Bus id of the node that decided it.
    :param detail: A short text for people.
    """

    target: int
    first_sequence: int
    count: int
    status: Status
    gave_up_at: int
    detail: str = ""


class NodeEvents:
    """
    The events of one node; observe them with ``node.events.on_endpoint_added.observe(callback)``.

    ========================  ==================================  =================================
    signal                    arguments                           moment
    ========================  ==================================  =================================
    on_new_connection         connection                          a channel is open, both flows
    on_close_connection       connection, status                  an opened channel has ended
    on_invalid_connection     connection, status                  it ended before it was registered
    on_register               endpoint id, connection, status     a registration succeeded or failed
    on_endpoint_added         endpoint                            once per remote node
    on_endpoint_removed       endpoint, status                    once per added endpoint
    on_node_up                -                                   first time fully up
    on_node_down              status                              stopped after having been up
    on_forward_response       fate                                a failure, or an answer asked for
    on_custom_command         source, arguments                   a command for this node
    on_upstream_changed       bus id or None                      upstream registered, or lost
    on_resumed                -                                   all know again what it wants
    on_endpoint_ping          endpoint, sequence                  a ping was sent
    on_endpoint_pong          endpoint, sequence, rtt seconds     its answer came
    on_state_changed          state                               the node's life
    on_slow_endpoint          endpoint, queued bytes              it does not take what it is sent
    on_backpressure           bus id                              nothing more is accepted for it
    on_writable               bus id                              something is accepted again
    on_slow_consumer          subscription                        it misses what it is too slow for
    on_channel_changed        endpoint, connection                data takes another channel to it
    on_lag                    seconds, callback name              something blocked the reactor
    on_drained                how it ended                        nobody is below it any more
    on_discovery              name, whether it is in sync         a registry is there, or away
    on_service_found          service                             a node offers something else now
    on_service_gone           service                             what it offered is gone
    on_tls_refused            address, peer, fault, why           TLS came to nothing, either side
    on_error                  status, detail                      anything else that went wrong
    ========================  ==================================  =================================
    """

    def __init__(self, log: Logger) -> None:
        self.on_new_connection: Signal[[Connection]] = Signal("on_new_connection", log)
        self.on_close_connection: Signal[[Connection, Status]] = Signal("on_close_connection", log)
        self.on_invalid_connection: Signal[[Connection, Status]] = Signal(
            "on_invalid_connection", log
        )
        self.on_register: Signal[[int, Connection, Status]] = Signal("on_register", log)
        self.on_endpoint_added: Signal[[Endpoint]] = Signal("on_endpoint_added", log)
        self.on_endpoint_removed: Signal[[Endpoint, Status]] = Signal("on_endpoint_removed", log)
        self.on_node_up: Signal[[]] = Signal("on_node_up", log)
        self.on_node_down: Signal[[Status]] = Signal("on_node_down", log)
        self.on_forward_response: Signal[[Fate]] = Signal("on_forward_response", log)
        self.on_custom_command: Signal[[int, tuple[bytes, ...]]] = Signal("on_custom_command", log)
        self.on_upstream_changed: Signal[[int | None]] = Signal("on_upstream_changed", log)
        self.on_resumed: Signal[[]] = Signal("on_resumed", log)
        self.on_endpoint_ping: Signal[[Endpoint, int]] = Signal("on_endpoint_ping", log)
        self.on_endpoint_pong: Signal[[Endpoint, int, float]] = Signal("on_endpoint_pong", log)
        self.on_state_changed: Signal[[str]] = Signal("on_state_changed", log)
        self.on_slow_endpoint: Signal[[Endpoint, int]] = Signal("on_slow_endpoint", log)
        self.on_backpressure: Signal[[int]] = Signal("on_backpressure", log)
        self.on_writable: Signal[[int]] = Signal("on_writable", log)
        self.on_slow_consumer: Signal[[Subscription]] = Signal("on_slow_consumer", log)
        self.on_channel_changed: Signal[[Endpoint, Connection]] = Signal("on_channel_changed", log)
        self.on_lag: Signal[[float, str]] = Signal("on_lag", log)
        self.on_drained: Signal[[Drained]] = Signal("on_drained", log)
        self.on_discovery: Signal[[str, bool]] = Signal("on_discovery", log)
        self.on_service_found: Signal[[Service]] = Signal("on_service_found", log)
        self.on_service_gone: Signal[[Service]] = Signal("on_service_gone", log)
        self.on_tls_refused: Signal[[Address, str, TlsFault, str]] = Signal("on_tls_refused", log)
        self.on_error: Signal[[Status, str]] = Signal("on_error", log)
