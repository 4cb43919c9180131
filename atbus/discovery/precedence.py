"""
What several registries say of the same thing, and whose word counts.

1. Who spoke first counts, for as long as he says anything. What the others say is kept, and the one
   who spoke next counts when the first one has taken his word back.
2. What is the same thing in a newer state counts before that, whoever says it: a node may have
   announced itself in two registries, one of which is away.

Two nodes with one id are two things: the second one does not replace the first, whatever it says.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Precedence(Generic[K, V]):
    """
    For each key what is said of it (see the rules at the top of this file).

    :param is_newer: Tells of two values whether the first is a newer state of what the second is;
        left out, nothing is.
    """

    def __init__(self, is_newer: Callable[[V, V], bool] = lambda _new, _old: False) -> None:
        # In the order in which they began to speak of it.
        self._said: dict[K, dict[str, V]] = {}
        self._is_newer = is_newer

    def say(self, who: str, key: K, value: V | None) -> V | None:
        """
        Take what somebody says.

        :param who: The registry.
        :param key: Of what.
        :param value: What it says now; None when it has taken its word back.
        :returns: What counts now; None when nobody says anything.
        """
        said = self._said.setdefault(key, {})
        if value is None:
            said.pop(who, None)
        else:
            said[who] = value
        if not said:
            del self._said[key]
        return self.counts(key)

    def counts(self, key: K) -> V | None:
        """
        Look up whose word counts.

        :param key: Of what.
        :returns: What is said; None when nobody says anything.
        """
        counts: V | None = None
        for value in self._said.get(key, {}).values():
            if counts is None or self._is_newer(value, counts):
                counts = value
        return counts

    def keys_of(self, who: str) -> list[K]:
        """
        List of what somebody speaks.

        :param who: The registry.
        :returns: The keys.
        """
        return [key for key, said in self._said.items() if who in said]
