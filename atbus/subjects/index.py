"""
Find the patterns that match a subject.

Theory of operation. Patterns hang in a trie, token by token; a level has its literal tokens, and
``*`` and ``>`` among them as what they are. A match walks down with the set of levels reached so
far: each token leads from a level to at most two others, its own name's and ``*``'s. It is a loop
over at most `limits.SUBJECT_TOKENS_MAX` tokens, not a recursion, so that no pattern is too deep.

In front of the trie is a memory of the last matches, because the same few subjects are published
again and again. It is emptied by every change of the patterns: while subscriptions come and go by
the second, a match costs a walk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

import attrs

from atbus import limits
from atbus.subjects.pattern import ANY, REST

T = TypeVar("T", bound=Hashable)


@attrs.define(eq=False)
class _Level(Generic[T]):
    """Everything behind one beginning of a pattern."""

    below: dict[str, _Level[T]] = attrs.field(factory=dict)
    #: The values of the patterns that end here, in the order in which they came.
    values: dict[T, None] = attrs.field(factory=dict)


class SubjectIndex(Generic[T]):
    """Values under patterns; a value may be under several, and several under one."""

    def __init__(self) -> None:
        self._top: _Level[T] = _Level()
        self._count = 0
        self._remembered: dict[tuple[str, ...], tuple[T, ...]] = {}

    def __len__(self) -> int:
        """Count the pairs of a pattern and a value."""
        return self._count

    def add(self, pattern: tuple[str, ...], value: T) -> bool:
        """
        Put a value under a pattern.

        :param pattern: Tokens from `parse_pattern`.
        :param value: What a match gives back.
        :returns: Whether it was not there before.
        """
        level = self._top
        for token in pattern:
            following = level.below.get(token)
            if following is None:
                following = level.below[token] = _Level()
            level = following
        if value in level.values:
            return False
        level.values[value] = None
        self._count += 1
        self._remembered.clear()
        return True

    def remove(self, pattern: tuple[str, ...], value: T) -> bool:
        """
        Take a value away from a pattern; of levels that nothing needs nothing stays.

        :param pattern: Tokens from `parse_pattern`.
        :param value: What was added.
        :returns: Whether it was there.
        """
        passed: list[tuple[_Level[T], str]] = []
        level = self._top
        for token in pattern:
            following = level.below.get(token)
            if following is None:
                return False
            passed.append((level, token))
            level = following
        if value not in level.values:
            return False
        del level.values[value]
        self._count -= 1
        self._remembered.clear()
        while passed and not level.values and not level.below:
            level, token = passed.pop()
            del level.below[token]
        return True

    def match(self, subject: tuple[str, ...]) -> tuple[T, ...]:
        """
        Find everything under the patterns that match a subject.

        :param subject: Tokens from `parse_subject`.
        :returns: Each value once; the order is the same until the patterns change.
        """
        found = self._remembered.get(subject)
        if found is None:
            found = tuple(dict.fromkeys(self._walk(subject)))
            if len(self._remembered) >= limits.MATCHES_REMEMBERED_MAX:
                # The oldest goes: what is published all the time is soon back.
                del self._remembered[next(iter(self._remembered))]
            self._remembered[subject] = found
        return found

    def _walk(self, subject: tuple[str, ...]) -> Iterator[T]:
        levels = [self._top]
        for token in subject:
            reached: list[_Level[T]] = []
            # A published token may read ">" or "*" and means just that: it is found below as
            # the wildcard, which matches it too, and must not be found twice.
            names = (ANY,) if token in (ANY, REST) else (token, ANY)
            for level in levels:
                rest = level.below.get(REST)
                if rest is not None:
                    yield from rest.values
                for name in names:
                    following = level.below.get(name)
                    if following is not None:
                        reached.append(following)
            levels = reached
            if not levels:
                return
        for level in levels:
            yield from level.values
