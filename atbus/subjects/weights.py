"""
How many members of a queue group there are in each place, and which place is drawn (7.20).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from atbus.subjects.interest import Interests, Taker


def weights_of(
    interests: Interests, takers: Sequence[Taker], counted: Collection[int], zone: str = ""
) -> dict[int, int]:
    """
    Count the members of a group in each place.

    :param takers: Where it has members.
    :param counted: The siblings that have told of theirs themselves: these are taken off what our
        upstream tells.
    :param zone: Only those in this zone; empty for all.
    """
    weights: dict[int, int] = {}
    for taker in takers:
        weight = interests.weight(taker, zone)
        weights[taker.neighbor] = weights.get(taker.neighbor, 0) + weight
    above, siblings = interests.above, interests.siblings
    if above is not None and siblings and weights.get(above):
        twice = sum(weights.get(place, 0) for place in counted)
        weights[above] = max(0, weights[above] - twice)
        if weights[above]:
            # The others among them are in what is left.
            weights.update(dict.fromkeys((siblings & weights.keys()).difference(counted), 0))
    return weights


def drawn(
    weights: dict[int, int], last: Collection[int], draw: Callable[[int], int]
) -> int | None:
    """
    Draw a place, each as often as it has members.

    :param last: Those that get it only if nobody else has any.
    :param draw: Gives a random number from 0 to below its argument.
    :returns: None when nobody has.
    """
    if last:
        others = {each: weights[each] for each in weights if each not in last}
        weights = others if any(others.values()) else weights
    total = sum(weights.values())
    if not total:
        return None
    number = draw(total)
    for place, weight in weights.items():
        number -= weight
        if number < 0:
            return place
    raise AssertionError("a number was drawn that is not below the sum of all weights")
