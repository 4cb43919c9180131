"""The tables of the machines as text: for the design document, and for the tests that walk them."""

from __future__ import annotations

from typing import Any

from automat import TypeMachine

from atbus.handshake.active import ACTIVE, ACTIVE_AUTOMATIC
from atbus.handshake.machine import Inputs
from atbus.handshake.passive_ring import PASSIVE_RING, RingInputs
from atbus.handshake.passive_stream import PASSIVE_STREAM

STREAM_INPUTS = [name for name in vars(Inputs) if not name.startswith("_")]
RING_INPUTS = [name for name in vars(RingInputs) if not name.startswith("_")]

TABLES: dict[str, tuple[TypeMachine[Any, Any], list[str]]] = {
    "active": (ACTIVE, STREAM_INPUTS),
    "active, automatic": (ACTIVE_AUTOMATIC, STREAM_INPUTS),
    "passive stream": (PASSIVE_STREAM, STREAM_INPUTS),
    "passive ring": (PASSIVE_RING, RING_INPUTS),
}

# The order in which the machines reach them.
_STATES = (
    "unopened",
    "idle",
    "awaiting_hello",
    "awaiting_request",
    "awaiting_name",
    "judging",
    "judging_accepted",
    "awaiting_response",
    "opening",
    "registered",
    "attached",
    "closed",
)


def transitions(machine: TypeMachine[Any, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """
    Read the table of a machine.

    :param machine: What makes machines.
    :returns: For each state and input that has one: the next state, and the name of what is done.
    """
    return {
        (before.name, symbol): (after.name, outputs[-1].name.strip("_"))
        for before, symbol, after, outputs in machine.__automat_automaton__.allTransitions()
    }


def states(machine: TypeMachine[Any, Any]) -> list[str]:
    """
    List the states of a machine.

    :param machine: What makes machines.
    :returns: Their names, in the order in which they are reached.
    """
    names = {state.name for state in machine.__automat_automaton__.states()}
    return sorted(names, key=_STATES.index)


def render(name: str) -> str:
    """
    Write one table, one line for each transition.

    :param name: Which table.
    :returns: Its lines, as they stand in the design document.
    """
    machine, inputs = TABLES[name]
    table = transitions(machine)
    lines: list[str] = []
    for state in states(machine):
        if lines:
            lines.append("")
        lines.append(state)
        if all(table.get((state, symbol), ("", ""))[0] == state for symbol in inputs):
            lines.append("    (whatever comes has no effect)")
            continue
        for symbol in inputs:
            if (state, symbol) in table:
                after, output = table[state, symbol]
                done = "" if output.startswith("returns") else output
                lines.append(f"    {symbol:<10} -> {after:<18} {done}".rstrip())
    return "\n".join(lines)
