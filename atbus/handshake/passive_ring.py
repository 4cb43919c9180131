"""
Attach a one-way channel (mem, shm) to an endpoint that is registered already.

The peer announced an address at which it reads. We open it *for its endpoint*::

    (OpenRing)        -->  connect(address, endpoint)
    (opened)               on_new_connection
    (RingAttached)         data, in our direction only

There is no request and no response: who we are was settled on the stream over which the address
came, and nothing comes back on a ring. So everything that can be wrong is known before it is
opened, or is the business of the channel.

Rules
=====

1. Only an address of a one-way scheme is a ring.
2. An address means something only where it was made: mem in the same process, shm on the same host.
   One from further away is never opened, whatever it looks like.
3. Without its endpoint a ring is nobody's: when the endpoint goes, the ring goes.

Everything here is said by our own node, so an input that has no transition is our bug
(`LocalProtocolError`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
from automat import NoTransition, TypeMachine, TypeMachineBuilder

from atbus.address import Address, Locality
from atbus.errors import LocalProtocolError, RegistrationRefused, Status
from atbus.handshake.effects import Close, OpenRing, Refused, RingAttached, RingEffect

if TYPE_CHECKING:
    # Automat makes states but does not export their type.
    from automat._typed import TypedState


class RingInputs(Protocol):
    """What can happen to a ring."""

    def begun(self, now: float) -> None:
        """Begin."""

    def opened(self) -> None:
        """Learn that the channel is open."""

    def failed(self, status: Status, detail: str) -> None:
        """End it before it carried anything: it cannot be opened, or not in time."""

    def orphaned(self, status: Status, detail: str) -> None:
        """Learn that the endpoint is gone."""


@attrs.define
class Ring:
    """
    Hold what is known of one ring, and collect what it wants done.

    :param address: Where the peer reads.
    :param endpoint_id: Bus id of its endpoint, `None` if there is none.
    :param distance: How far away the peer is.
    :param timeout_seconds: How long opening may take.
    """

    address: Address
    endpoint_id: int | None
    distance: Locality
    timeout_seconds: float
    effects: list[RingEffect] = attrs.field(init=False, factory=list)
    deadline: float | None = attrs.field(init=False, default=None)
    finished: bool = attrs.field(init=False, default=False)

    def check(self) -> int:
        """
        Check what can be known before the channel is opened.

        :returns: The bus id of the endpoint.
        :raises RegistrationRefused: If the channel must not be opened.
        """
        if self.address.is_duplex:
            raise RegistrationRefused(
                Status.POLICY_DENIED, f"{self.address} is a stream, not a ring"
            )
        if self.distance > self.address.locality:
            raise RegistrationRefused(
                Status.POLICY_DENIED,
                f"{self.address} means nothing to us: its reader is as far as "
                f"{self.distance.name.lower()}",
            )
        if self.endpoint_id is None:
            raise RegistrationRefused(
                Status.UNKNOWN_ENDPOINT, f"nobody is registered to read {self.address}"
            )
        return self.endpoint_id

    def end(self, status: Status, detail: str) -> None:
        """
        Give up.

        :param status: Why.
        :param detail: For people.
        """
        self.effects.append(Refused(status, detail, by_peer=False))
        self.close(status, detail)

    def close(self, status: Status, detail: str) -> None:
        """
        Close the channel.

        :param status: Why.
        :param detail: For people.
        """
        self.deadline = None
        self.finished = True
        self.effects.append(Close(status, detail))


def _begin(_inputs: RingInputs, ring: Ring, now: float) -> None:
    endpoint_id = ring.check()
    ring.deadline = now + ring.timeout_seconds
    ring.effects.append(OpenRing(address=ring.address, endpoint_id=endpoint_id))


def _attach(_inputs: RingInputs, ring: Ring) -> None:
    endpoint_id = ring.check()
    ring.deadline = None
    ring.finished = True
    ring.effects.append(RingAttached(address=ring.address, endpoint_id=endpoint_id))


def _end(_inputs: RingInputs, ring: Ring, status: Status, detail: str) -> None:
    ring.end(status, detail)


def _close(_inputs: RingInputs, ring: Ring, status: Status, detail: str) -> None:
    ring.close(status, detail)


def _build() -> TypeMachine[RingInputs, Ring]:
    """
    Build the table.

    :returns: What makes machines.
    """
    builder = TypeMachineBuilder(RingInputs, Ring)
    idle: TypedState[RingInputs, Ring] = builder.state("idle")
    opening: TypedState[RingInputs, Ring] = builder.state("opening")
    attached: TypedState[RingInputs, Ring] = builder.state("attached")
    closed: TypedState[RingInputs, Ring] = builder.state("closed")

    idle.upon(RingInputs.begun).to(opening)(_begin)
    opening.upon(RingInputs.opened).to(attached)(_attach)
    opening.upon(RingInputs.failed).to(closed)(_end)
    opening.upon(RingInputs.orphaned).to(closed)(_end)
    attached.upon(RingInputs.orphaned).to(closed)(_close)
    closed.upon(RingInputs.opened).loop().returns(None)
    closed.upon(RingInputs.failed).loop().returns(None)
    closed.upon(RingInputs.orphaned).loop().returns(None)
    return builder.build()


PASSIVE_RING = _build()


class RingAttachment:
    """
    Attach a one-way channel to a registered endpoint.

    :param address: Where the peer reads: it announced this.
    :param endpoint_id: Bus id of the peer's endpoint, `None` if it has none.
    :param distance: How far away the peer is: `Locality.PROCESS` if it is in our process.
    :param timeout_seconds: How long opening may take.
    """

    def __init__(
        self,
        *,
        address: Address,
        endpoint_id: int | None,
        distance: Locality,
        timeout_seconds: float,
    ) -> None:
        self._ring = Ring(address, endpoint_id, distance, timeout_seconds)
        self._machine = PASSIVE_RING(self._ring)

    @property
    def deadline(self) -> float | None:
        """When to call `tick` at the latest, or `None` if nothing is awaited."""
        return self._ring.deadline

    @property
    def finished(self) -> bool:
        """Whether the ring is attached, or has ended."""
        return self._ring.finished

    def open(self, now: float) -> list[RingEffect]:
        """
        Begin.

        :param now: Seconds on a clock that only goes forward.
        :returns: `OpenRing`, or why not: `Refused`, `Close`.
        :raises LocalProtocolError: If it has begun already.
        """
        return self._give(lambda: self._machine.begun(now))

    def opened(self) -> list[RingEffect]:
        """
        Learn that the channel is open.

        :returns: `RingAttached`; nothing if it has ended meanwhile.
        :raises LocalProtocolError: If it was not being opened.
        """
        return self._give(self._machine.opened)

    def failed(self, status: Status, detail: str) -> list[RingEffect]:
        """
        Learn that the channel cannot be opened.

        :param status: Why.
        :param detail: For people.
        :returns: `Refused`, `Close`; nothing if it has ended meanwhile.
        :raises LocalProtocolError: If it was not being opened.
        """
        return self._give(lambda: self._machine.failed(status, detail))

    def endpoint_removed(self, status: Status, detail: str) -> list[RingEffect]:
        """
        Learn that the endpoint is gone.

        :param status: Why it went.
        :param detail: For people.
        :returns: `Close`, after `Refused` if the ring was not attached yet.
        :raises LocalProtocolError: If it has not begun.
        """
        return self._give(lambda: self._machine.orphaned(status, detail))

    def tick(self, now: float) -> list[RingEffect]:
        """
        Let time pass.

        :param now: Seconds on the same clock.
        :returns: What to do: nothing before the deadline, the end of it from then on.
        """
        if self._ring.deadline is None or now < self._ring.deadline:
            return []
        seconds = self._ring.timeout_seconds
        return self.failed(Status.HANDSHAKE_TIMEOUT, f"not open within {seconds:g} s")

    def _give(self, step: Callable[[], None]) -> list[RingEffect]:
        try:
            step()
        except NoTransition as fault:
            raise LocalProtocolError(f"{fault.symbol} while {fault.state.name}") from fault
        except RegistrationRefused as fault:
            self._machine.failed(fault.status, fault.detail)
        effects, self._ring.effects = self._ring.effects, []
        return effects
