"""
Storms over subscribers, as many as one wants: ``python -m tests.simulation.subject_storm``.

What is wrong in one of them is printed with its seed and the command that repeats it; `make
simulate` runs many.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import attrs

from atbus.testing.seeds import run_seeds
from atbus.testing.virtual_bus import FAULTS, VirtualBus
from tests.simulation.field import Field


@attrs.frozen
class Weather:
    """
    What happens to a field.

    :param kinds: Which faults.
    :param peers: How many links there are beside the tree.
    :param faults: How many faults.
    :param zones: In which zones nodes are.
    :param siblings: Whether the links beside the tree are between nodes of one upstream only.
    """

    kinds: tuple[str, ...]
    peers: int
    faults: int = 8
    zones: tuple[str, ...] = ()
    siblings: bool = False


#: A seed has one of these, in turn.
WEATHERS = (
    Weather(("cut",), peers=3, faults=0),
    Weather(FAULTS, peers=0),
    Weather(FAULTS, peers=3),
    Weather(("cut", "half_cut", "clog"), peers=3, faults=20),
    Weather(FAULTS, peers=3, zones=("x", "y", "z")),
    Weather(FAULTS, peers=4, zones=("x", "y"), siblings=True),
)


def tell(seed: int, weather: Weather | None = None) -> str:
    """
    Let one seed happen.

    :returns: What was done, what was wrong and how to have it again; nothing if all was well.
    """
    bus = VirtualBus(seed)
    try:
        found = _live(bus, weather or WEATHERS[seed % len(WEATHERS)])
    except AssertionError as error:
        found = [str(error)]
    finally:
        bus.close()
    again = f"python -m tests.simulation.subject_storm --seeds {seed}-{seed}"
    return "\n".join([*found[:10], bus.story(), again]) if found else ""


def _live(bus: VirtualBus, weather: Weather) -> list[str]:
    field = Field(bus, weather.zones)
    field.plant(count=9, peers=weather.peers, siblings=weather.siblings)
    field.live(seconds=6, often=3)
    bus.weather(seconds=6, faults=weather.faults, kinds=weather.kinds)
    bus.run(70)
    field.mend()
    bus.run(20)
    field.check_interest()
    field.check_confirmations()
    field.check()
    if not any(field.subscriptions.values()):
        field.faults.append("there is nobody")
    bus.finish()
    return field.faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many seeds; give 1 when one failed."""
    return run_seeds("tests.simulation.subject_storm", tell, arguments)


if __name__ == "__main__":
    sys.exit(main())
