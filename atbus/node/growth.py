"""
How messages of one flow join the run that a link writes at the end of the turn.

A run grows while nothing else is queued behind it. A flow that has two messages in succession is
*granted* bytes by which its run may grow without asking the link: the link counts them as queued at
once, and `Messaging.send` takes from them. What is not used comes back before anybody looks at what
is queued or how much room there is - the run is *settled* -, so both are exact whenever they
matter. A program that sends to many in turn is granted nothing, for it would be settled as often;
instead its messages join too, each of its kind and counted at once, as long as there is room: such
a flow is *mingled*, from its first message on when the node gathers what several turns bring, from
the second one of a run otherwise.

Nobody counts the messages that join. As many bytes are granted as a run's most messages would have
if all were as long as those before; where much shorter ones have followed, the run is cut in two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from atbus import limits
from atbus.node.outbox import Item, Run

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.observing import MessageObserver
    from atbus.node.sending import Flow

# An entry of a run's table.
_ENTRY_BYTES = 8
_COUNT_MAX = limits.RUN_COUNT_MAX
# A link of a node with very many has little room between two looks at the node's budget: quarters
# of quarters of that would soon be a message each.
_GRANTED_WHOLE_BYTES = 32 * 1024
# How many messages of a run show that more will follow.
_IN_SUCCESSION = 2
# The kind that no message has.
_NO_KIND: Any = object()


class Growth:
    """
    The runs of one link that may still grow.

    :param run_bytes_max: The most bytes of a run, entries included.
    """

    # There are more attributes than instances share the names of, so each would have a dict of its
    # own. There is none until somebody who watches a link puts something in place of a method.
    __slots__ = (
        "__dict__",
        "_context",
        "_granted",
        "_growing",
        "_items",
        "_observer",
        "_open_flows",
        "_turn",
        "room",
        "run_bytes_max",
    )

    def __init__(self, context: Context, run_bytes_max: int) -> None:
        self.run_bytes_max = run_bytes_max
        #: Bytes that may still be queued, as far as was looked; what is granted is taken from it.
        self.room = 0
        self._context = context
        self._turn = context.turn
        self._open_flows = context.open_flows
        self._observer = context.observer
        # What is queued, runs that may still grow among it.
        self._items: list[Item] = []
        # By target the flows that have a run here which may still grow.
        self._growing: dict[int, Flow] = {}
        # Those of them that were granted something.
        self._granted: list[Flow] = []

    def _enqueue(self, item: Item) -> None:
        """Queue an item whose bytes are counted elsewhere."""
        raise NotImplementedError

    def _widen(self) -> None:
        """Have more room where there is little only because very many share the budget."""
        raise NotImplementedError

    def append(self, flow: Flow, kind: int, payload: bytes, size_bytes: int) -> None:
        """
        Queue one message; it joins the flow's run of this turn when there is one with room.

        Order within a flow is the order of calls. The payload is kept until the turn's end.
        """
        cost = size_bytes + _ENTRY_BYTES
        run = flow.run
        if run is not None:
            if flow.granted_bytes:
                run = self._settle(flow)
            elif flow.mingles:
                run = self._part(flow)
            if run.size_bytes + cost > self.run_bytes_max or run.count >= _COUNT_MAX:
                run = None
        if run is None:
            if flow.on is not None:
                flow.close()
            run = self._begin(flow)
        flow.kind = kind
        run.kinds.append(kind)
        run.payloads.append(payload)
        run.count += 1
        run.size_bytes += cost
        self.room -= cost
        if self._observer is not None:
            sequence = run.first_sequence + run.count - 1
            self._observer.accepted(flow.target, sequence, kind, payload)
        turn = self._turn
        turn.queued_bytes += cost
        if turn.last_flow is not flow:
            turn.last_flow = flow
            if flow.grows and (turn.is_gathering or run.count > 1):
                self._mingle(flow, run)
        elif flow.grows and run.count > 1:
            self._grant(flow, run)

    def _grant(self, flow: Flow, run: Run) -> None:
        """
        Let messages of a flow join its run without asking, up to a number of bytes.

        They are counted as queued at once. Others find room beside them: a quarter is granted; or
        all of it when that is little, for who finds none looks, and what is not used comes back.
        Where it is little because very many share the budget, more is held ahead at once.
        """
        room = self.room
        if room < _GRANTED_WHOLE_BYTES and run.count == _IN_SUCCESSION:
            self._widen()
            room = self.room
        granted = min(
            self.run_bytes_max - run.size_bytes,
            (_COUNT_MAX - run.count) * (run.size_bytes // run.count),
            max(room >> 2, min(room, _GRANTED_WHOLE_BYTES)),
        )
        if granted > 0:
            flow.granted_bytes = flow.left_bytes = granted
            self.room -= granted
            self._turn.queued_bytes += granted
            if not self._granted:
                self._turn.unsettled.add(self)
            self._granted.append(flow)
            self._open_flows[flow.target] = flow

    def _mingle(self, flow: Flow, run: Run) -> None:
        """Let messages of a flow that takes turns with others join while the link has room."""
        left = min(
            self.run_bytes_max - run.size_bytes,
            (_COUNT_MAX - run.count) * (run.size_bytes // run.count),
        )
        flow.left_bytes = left
        flow.full_bytes = run.size_bytes + left
        flow.kinds = run.kinds
        flow.kind = _NO_KIND
        flow.mingles = True
        self._open_flows[flow.target] = flow

    def _part(self, flow: Flow) -> Run:
        """
        Count in its run what has joined a mingled flow, and let nothing more join.

        :returns: The run that it may go on with.
        """
        run = flow.run
        assert run is not None
        if self._observer is not None:
            self._show(run, run.count, self._observer)
        run.size_bytes = flow.full_bytes - flow.left_bytes
        run.count = len(run.payloads)
        flow.left_bytes = 0
        flow.mingles = False
        return self._within_bounds(flow, run)

    def _settle(self, flow: Flow) -> Run:
        """
        Take back what a flow was granted and did not use.

        :returns: The run that it may go on with.
        """
        run, left = flow.run, flow.left_bytes
        assert run is not None
        run.size_bytes += flow.granted_bytes - left
        count = len(run.payloads)
        run.kinds += [flow.kind] * (count - len(run.kinds))
        if self._observer is not None:
            self._show(run, run.count, self._observer)
        run.count = count
        flow.granted_bytes = flow.left_bytes = 0
        self.room += left
        self._turn.queued_bytes -= left
        return self._within_bounds(flow, run)

    def _within_bounds(self, flow: Flow, run: Run) -> Run:
        """
        Let others have what a run has beyond the most messages: shorter ones than were expected.

        :returns: The last of them, with which the flow goes on.
        """
        while run.count > _COUNT_MAX:
            payloads = run.payloads[_COUNT_MAX:]
            rest = attrs.evolve(
                run,
                first_sequence=run.first_sequence + _COUNT_MAX,
                kinds=run.kinds[_COUNT_MAX:],
                payloads=payloads,
                count=len(payloads),
                size_bytes=sum(map(len, payloads)) + len(payloads) * _ENTRY_BYTES,
            )
            del run.kinds[_COUNT_MAX:], run.payloads[_COUNT_MAX:]
            run.count = _COUNT_MAX
            run.size_bytes -= rest.size_bytes
            self._items.insert(self._items.index(run) + 1, rest)
            flow.run, flow.payloads, flow.kinds = rest, rest.payloads, rest.kinds
            run = rest
        return run

    def _show(self, run: Run, first: int, observer: MessageObserver) -> None:
        """Show the messages that have joined a run."""
        for place in range(first, len(run.payloads)):
            sequence, payload = run.first_sequence + place, run.payloads[place]
            observer.accepted(run.target, sequence, run.kinds[place], bytes(payload))

    def settle(self) -> None:
        """Take back all that was granted and is not used: what is queued is counted exactly."""
        if not self._granted:
            return
        self._turn.unsettled.discard(self)
        granted, self._granted = self._granted, []
        for flow in granted:
            if flow.on is self and flow.granted_bytes:
                self._settle(flow)

    def close_run(self, flow: Flow) -> None:
        """Let nothing more join the run of a flow that is queued here."""
        if flow.granted_bytes:
            self._settle(flow)
        elif flow.mingles:
            self._part(flow)
        flow.run = flow.on = None
        del self._growing[flow.target]
        self._open_flows.pop(flow.target, None)

    def _close_runs(self) -> None:
        """Let nothing more join what is queued."""
        if self._granted:
            self.settle()
        growing, self._growing = self._growing, {}
        open_flows = self._open_flows
        for target, flow in growing.items():
            if flow.mingles:
                self._part(flow)
            flow.run = flow.on = None
            open_flows.pop(target, None)

    def _begin(self, flow: Flow) -> Run:
        run = Run(
            source=self._context.bus_id,
            target=flow.target,
            first_sequence=flow.next_sequence,
            epoch=self._context.epoch,
            hop_limit=self._context.config.hops,
        )
        self._enqueue(run)
        flow.run, flow.payloads, flow.on = run, run.payloads, self
        self._growing[flow.target] = flow
        return run
