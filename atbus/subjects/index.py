"""
Find the patterns that match a subject.

Theory of operation. Patterns hang in a trie, and what several of them begin with is there once. A
level stands for the tokens that lead to it from the one above: only where patterns part, or one
ends, there is a level, so that there are at most two for each pattern, however many tokens it has
(Morrison's PATRICIA, 1968, with tokens for bits). A match goes with the set of places reached so
far, a place being a level and how many of its tokens are behind us: each token leads from a place
to at most two others, its own name's and ``*``'s. It is a loop over at most
`limits.SUBJECT_TOKENS_MAX` tokens, not a recursion, so that no pattern is too deep.

In front of the trie is a memory of the last matches, because the same few subjects are published
again and again. It is emptied by every change of the patterns: while subscriptions come and go by
the second, a match costs a walk.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeAlias, TypeVar

import attrs

from atbus import limits
from atbus.subjects.pattern import ANY, REST

T = TypeVar("T", bound=Hashable)

#: Of so many values a tuple takes less memory than a dict, and no more time.
_FEW: Final = 4

_Values: TypeAlias = tuple[T, ...] | dict[T, None]


@attrs.define(eq=False)
class _Level(Generic[T]):
    """
    Everything behind one beginning of some patterns.

    :param tokens: What leads here from the level above; one at least, but for the top.
    :param values: The values of the patterns that end here, in the order in which they came.
    """

    tokens: tuple[str, ...]
    values: _Values[T] = ()
    # By the first of their tokens; None while there are none, as below most patterns.
    below: dict[str, _Level[T]] | None = None

    def hang(self, level: _Level[T]) -> None:
        """Put a level below this one, perhaps in place of another."""
        if self.below is None:
            self.below = {}
        self.below[level.tokens[0]] = level

    def part_after(self, count: int) -> _Level[T]:
        """Make the level that stands for the first *count* of our tokens, and hang below it."""
        above: _Level[T] = _Level(self.tokens[:count])
        self.tokens = self.tokens[count:]
        above.hang(self)
        return above

    def drop(self, level: _Level[T]) -> None:
        """Take a level away that is below this one."""
        assert self.below is not None
        del self.below[level.tokens[0]]
        self.below = self.below or None


class SubjectIndex(Generic[T]):
    """Values under patterns; a value may be under several, and several under one."""

    def __init__(self) -> None:
        self._top: _Level[T] = _Level(())
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
        level, position, end = self._top, 0, len(pattern)
        while position < end:
            following = level.below.get(pattern[position]) if level.below else None
            if following is None:
                following = _Level(pattern[position:])
                level.hang(following)
                position = end
            else:
                tokens = following.tokens
                count = len(tokens)
                if count > 1 and pattern[position : position + count] != tokens:
                    count = _count_alike(tokens, pattern, position)
                    following = following.part_after(count)
                    level.hang(following)
                position += count
            level = following
        if value in level.values:
            return False
        level.values = _with(level.values, value)
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
        passed: list[_Level[T]] = []
        level, position, end = self._top, 0, len(pattern)
        while position < end:
            following = level.below.get(pattern[position]) if level.below else None
            if following is None:
                return False
            tokens = following.tokens
            count = len(tokens)
            if count > 1 and pattern[position : position + count] != tokens:
                return False
            passed.append(level)
            level = following
            position += count
        if value not in level.values:
            return False
        level.values = _without(level.values, value)
        self._count -= 1
        self._remembered.clear()
        if not level.values and passed:
            _clear(level, passed)
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

    def under(self, beginning: tuple[str, ...]) -> Iterator[T]:
        """
        Give everything under the patterns that begin with some tokens; wildcards are only letters.

        :param beginning: The tokens; none for all patterns.
        :returns: Each value as often as it is there, those of one pattern together.
        """
        level, position, end = self._top, 0, len(beginning)
        while position < end:
            following = level.below.get(beginning[position]) if level.below else None
            if following is None:
                return
            tokens = following.tokens[: end - position]
            if beginning[position : position + len(tokens)] != tokens:
                return
            position += len(tokens)
            level = following
        waiting = [level]
        while waiting:
            level = waiting.pop()
            yield from level.values
            waiting += (level.below or {}).values()

    def _walk(self, subject: tuple[str, ...]) -> Iterator[T]:
        places = [(self._top, 0)]
        for token in subject:
            reached: list[tuple[_Level[T], int]] = []
            # A published token may read ">" or "*" and means just that: it is found below as
            # the wildcard, which matches it too, and must not be found twice.
            names = (ANY,) if token in (ANY, REST) else (token, ANY)
            for level, passed in places:
                tokens, below = level.tokens, level.below
                if passed < len(tokens):
                    name = tokens[passed]
                    if name in names:
                        reached.append((level, passed + 1))
                    elif name == REST:
                        yield from level.values
                elif below:
                    if REST in below:
                        yield from below[REST].values
                    for name in names:
                        following = below.get(name)
                        if following is not None:
                            reached.append((following, 1))
            places = reached
            if not places:
                return
        for level, passed in places:
            if passed == len(level.tokens):
                yield from level.values


def _clear(level: _Level[T], passed: list[_Level[T]]) -> None:
    """Undo a level where no pattern ends, and the one above, if none parts there any more."""
    above = passed.pop()
    if not level.below:
        above.drop(level)
        if not passed or above.values:
            return
        level, above = above, passed.pop()
    if level.below and len(level.below) == 1:
        (last,) = level.below.values()
        last.tokens = level.tokens + last.tokens
        above.hang(last)


def _count_alike(tokens: tuple[str, ...], pattern: tuple[str, ...], position: int) -> int:
    """Count the tokens that a pattern, from a position on, begins with, the first being known."""
    alike = 1
    for token, other in zip(tokens[1:], pattern[position + 1 :], strict=False):
        if token != other:
            break
        alike += 1
    return alike


def _with(values: _Values[T], value: T) -> _Values[T]:
    if not values:
        return (value,)
    if isinstance(values, tuple):
        if len(values) < _FEW:
            return (*values, value)
        values = dict.fromkeys(values)
    values[value] = None
    return values


def _without(values: _Values[T], value: T) -> _Values[T]:
    if isinstance(values, tuple):
        return () if len(values) == 1 else tuple(other for other in values if other != value)
    del values[value]
    return values
