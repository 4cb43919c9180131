"""
What a client may publish and subscribe to.

A side without an allow list allows everything; a deny list is stronger. An entry of a subscribe
list may name a queue group behind the subject: it is about members of that group only, and what
it says of them is stronger than what an entry without a group says.

A client may subscribe to a pattern when all that it stands for is allowed; what of it is denied it
does not get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from atbus.errors import SubjectError
from atbus.subjects.pattern import ANY, REST, matches, parse_pattern

_Pattern = tuple[str, ...]


@attrs.frozen
class Entry:
    """
    One entry of a list.

    :param pattern: The tokens of its subject.
    :param queue: A pattern of queue groups, by tokens; empty for an entry about everybody.
    """

    pattern: _Pattern
    queue: _Pattern = ()

    def __str__(self) -> str:
        return " ".join(".".join(tokens) for tokens in (self.pattern, self.queue) if tokens)


def read_entry(text: str) -> Entry:
    """
    Read an entry.

    :param text: A subject, or a subject and a queue group.
    :returns: It.
    :raises ValueError: It is neither.
    """
    subject, *queue = text.split() or [""]
    if len(queue) > 1:
        raise ValueError(f"{text!r} is no subject, nor a subject and a queue group")
    return Entry(parse_pattern(subject), parse_pattern(queue[0]) if queue else ())


@attrs.frozen
class Rules:
    """
    What is allowed on one side.

    :param allow: None for everything.
    :param deny: What is not, in spite of it.
    """

    allow: tuple[Entry, ...] | None = None
    deny: tuple[Entry, ...] = ()


@attrs.frozen(kw_only=True)
class Permissions:
    """
    What one client may do.

    :param responses: How often it may publish to the reply subject of something that it got;
        0 for never, unless the subject is allowed anyway. Negative: as often as it likes.
    :param responses_seconds: For how long; 0 for ever.
    """

    publish: Rules = Rules()
    subscribe: Rules = Rules()
    responses: int = 0
    responses_seconds: float = 0.0

    @property
    def publishes_freely(self) -> bool:
        """Whether nothing has to be asked before a publication."""
        return self.publish == ALL

    @property
    def receives_freely(self) -> bool:
        """Whether nothing has to be asked before a delivery."""
        return not self.subscribe.deny

    def may_publish(self, subject: str) -> bool:
        """
        Tell whether something may be published on a subject.

        One with an empty token is in no list, as at a nats-server, so that it is allowed only where
        there is no list of what is.
        """
        tokens = tuple(subject.split("."))
        allow, deny = self.publish.allow, self.publish.deny
        if "" in tokens:
            return allow is None
        if allow is not None and not any(matches(entry.pattern, tokens) for entry in allow):
            return False
        return not any(matches(entry.pattern, tokens) for entry in deny)

    def may_subscribe(self, pattern: str, queue: str = "") -> bool:
        """
        Tell whether a pattern may be subscribed to.

        :param queue: As a member of this group; empty for none.
        """
        try:
            tokens = parse_pattern(pattern)
        except SubjectError:
            # It is refused for what it is, and not for who wants it.
            return True
        group = tuple(queue.split(".")) if queue else ()
        allow, deny = self.subscribe.allow, self.subscribe.deny
        if allow is not None and not _names(allow, tokens, group):
            return False
        # As at servers: to what is denied ``>`` is one more word for which ``*`` stands.
        return not _names(deny, tokens, group, covers=matches)

    def may_ask(self, pattern: str, queue: str = "") -> bool:
        """
        Tell whether something of what a pattern stands for may be had.

        A server asks at once for all who are behind it, and gets what of that is allowed.
        """
        if self.may_subscribe(pattern, queue):
            return True
        tokens = parse_pattern(pattern)
        allow = self.subscribe.allow
        if allow is None or _names(self.subscribe.deny, tokens, ()):
            return False
        return any(_covers(tokens, entry.pattern) for entry in allow)

    def may_have(self, subject: str) -> bool:
        """Tell whether a server that has asked for more may get a message on a subject."""
        tokens = tuple(subject.split("."))
        allow = self.subscribe.allow
        if allow is not None and not any(matches(entry.pattern, tokens) for entry in allow):
            return False
        return self.may_receive(subject)

    def may_receive(self, subject: str, queue: str = "") -> bool:
        """Tell whether something that was published on a subject may be delivered."""
        tokens = tuple(subject.split("."))
        group = tuple(queue.split(".")) if queue else ()
        return not _names(self.subscribe.deny, tokens, group)


ALL: Final = Rules()
EVERYTHING: Final = Permissions()


def rules(allow: Iterable[str] | None, deny: Iterable[str] = ()) -> Rules:
    """
    Make the rules of one side.

    :raises ValueError: An entry is none.
    """
    return Rules(
        None if allow is None else tuple(map(read_entry, allow)), tuple(map(read_entry, deny))
    )


def read_permissions(table: Mapping[str, Any]) -> Permissions:
    """
    Read what a user may do.

    :param table: Of permissions, without faults.
    :returns: It.
    """
    publish, responses = _read_rules(table.get("publish")), int(table.get("responses", 0))
    return Permissions(
        publish=only_listed(publish) if responses else publish,
        subscribe=_read_rules(table.get("subscribe")),
        responses=responses,
        responses_seconds=float(table.get("responses_seconds", 0.0)),
    )


def only_listed(side: Rules) -> Rules:
    """
    Allow nothing where nothing is listed.

    Who is given the right to answer has no need of it when everything else is allowed as well.
    """
    return attrs.evolve(side, allow=side.allow or ())


def _read_rules(side: Any) -> Rules:
    if side is None:
        return Rules()
    if not isinstance(side, Mapping):
        return rules(side)
    return rules(side.get("allow"), side.get("deny", ()))


def read_lists(side: object) -> Rules:
    """
    Read the rules of one side as NATS writes them: two lists, of which none is like an empty one.

    :raises ValueError: They are not that.
    """
    if side is None:
        return Rules()
    if not isinstance(side, Mapping):
        raise ValueError("rights are an object")  # noqa: TRY004 - one kind of fault
    lists = [side.get(name) or [] for name in ("allow", "deny")]
    if not all(isinstance(each, list) for each in lists):
        raise ValueError("rights are lists of subjects")
    allow, deny = ([str(entry) for entry in each] for each in lists)
    return rules(allow or None, deny)


def write_lists(side: Rules) -> dict[str, list[str]]:
    """Write the rules of one side as NATS writes them; where nothing is allowed all is denied."""
    if side.allow == ():
        return {"deny": [REST]}
    lists = {"allow": side.allow or (), "deny": side.deny}
    return {name: [str(entry) for entry in entries] for name, entries in lists.items() if entries}


def _names(
    entries: Iterable[Entry],
    tokens: _Pattern,
    group: _Pattern,
    covers: Callable[[_Pattern, _Pattern], bool] | None = None,
) -> bool:
    """Tell whether a list names a pattern, for members of a group or for everybody."""
    covers = covers or _covers
    about = [entry for entry in entries if covers(entry.pattern, tokens)]
    of_groups = [entry.queue for entry in about if entry.queue]
    if group and of_groups:
        return any(matches(queue, group) for queue in of_groups)
    return len(of_groups) < len(about)


def _covers(wide: _Pattern, narrow: _Pattern) -> bool:
    """Tell whether everything that one pattern stands for another stands for as well."""
    if wide[-1] == REST:
        head = len(wide) - 1
        return len(narrow) > head and all(
            _token_covers(mine, theirs)
            for mine, theirs in zip(wide[:head], narrow[:head], strict=True)
        )
    return len(wide) == len(narrow) and all(
        _token_covers(mine, theirs) for mine, theirs in zip(wide, narrow, strict=True)
    )


def _token_covers(wide: str, narrow: str) -> bool:
    return wide == narrow or (wide == ANY and narrow != REST)
