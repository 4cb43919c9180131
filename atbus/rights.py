"""
What a node may do: register, send, publish, subscribe, run commands, open streams.

Rights are an ordered list of rules. Each *allows* or *denies* some things to some nodes, and all
rules count, in any order:

1. What a rule denies is denied, whatever others allow.
2. As soon as one rule allows anything of a kind - to send, to publish, ... - nobody may do anything
   of this kind but what a rule allows him. A kind that no rule allows is free for all.
3. Who is on the list of denied ids may do nothing at all.

Who somebody is: an id, or of a temporary node what its certificate names, or nobody. Ids are as
good as the proof of them (certificates, and sources that neighbors may speak for); labels are what
a node says of itself. So ids are what rights should be given by.

Each node asks its own rules about what passes it, what comes to it, and what it sends itself.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from atbus import limits
from atbus.busid import MASK_BITS_MAX, Subnet, format_bus_id
from atbus.routing.table import Position
from atbus.subjects.pattern import covers, matches, overlaps
from atbus.wire.messages import MessageType

#: Keys of labels, each with the values that will do.
Wanted: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
#: Labels as a node says them.
Labels: TypeAlias = Collection[tuple[str, str]]

ALL_IDS: Final = (Subnet(0, MASK_BITS_MAX), Subnet(1 << MASK_BITS_MAX, MASK_BITS_MAX))
"""All ids that there are."""

POSITIONS: Final = {"downstream": Position.DOWNSTREAM, "peer": Position.PEER}
"""For what a rule calls it where a node may register; nobody forbids itself an upstream."""


class Kind(enum.Enum):
    """What can be allowed or denied; the value is how a rule calls it."""

    REGISTER = "register"
    SEND = "send"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    COMMANDS = "commands"
    STREAMS = "streams"


def _in_order(labels: Mapping[str, Iterable[str]] | Wanted) -> Wanted:
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return tuple(sorted((key, tuple(values)) for key, values in pairs))


@attrs.frozen(kw_only=True)
class RightsRule:
    """
    One rule: some things, allowed or denied to some nodes.

    :param allows: Whether it allows; else it denies.
    :param name: What people call it.
    :param ids: The nodes it is about; empty: all.
    :param temporary: Whether they are temporary; None: no matter.
    :param labels: They have each of these labels, with one of the values.
    :param register: As what they may register.
    :param send: To whom they may send.
    :param publish: On which subjects they may publish, as tokens of patterns.
    :param subscribe: To which subjects they may subscribe, likewise.
    :param commands: Which commands they may run; a star at the end stands for any rest.
    :param streams: Which services they may open streams to; likewise.
    """

    allows: bool
    name: str = ""
    ids: tuple[Subnet, ...] = ()
    temporary: bool | None = None
    labels: Wanted = attrs.field(default=(), converter=_in_order)
    register: tuple[Position, ...] = ()
    send: tuple[Subnet, ...] = ()
    publish: tuple[tuple[str, ...], ...] = ()
    subscribe: tuple[tuple[str, ...], ...] = ()
    commands: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()

    def is_about(self, who: Who) -> bool:
        """
        Tell whether it is about somebody.

        To be allowed something all of somebody has to be in the rule's ids, to be denied it a part
        is enough.
        """
        if self.temporary not in (None, who.temporary):
            return False
        if self.ids and not self._names(who.ids):
            return False
        said = dict(who.labels)
        return all(said.get(key) in values for key, values in self.labels)

    def _names(self, ids: Subnet | None) -> bool:
        if ids is None:
            return False
        if self.allows:
            return any(mine.contains_subnet(ids) for mine in self.ids)
        return any(mine.overlaps(ids) for mine in self.ids)


@attrs.frozen
class Who:
    """
    Somebody who wants to do something.

    :param ids: The node's id, as a range; of a temporary one those that its certificate names,
        None without a certificate.
    :param labels: What the node says of itself.
    :param temporary: Whether it is a temporary node.
    """

    ids: Subnet | None
    labels: Labels = ()
    temporary: bool = False

    @classmethod
    def node(cls, bus_id: int, labels: Labels = ()) -> Who:
        """Name a node by its id."""
        return cls(Subnet(bus_id, 0), labels)

    def __str__(self) -> str:
        if self.ids is None:
            return "a temporary node"
        return format_bus_id(self.ids.first) if not self.ids.mask_bits else str(self.ids)


class Rights:
    """
    Decide what nodes may do.

    Each question is answered with None when it may be done, else with the reason for people.

    :param rules: In the order of the configuration, which names them in reasons.
    :param denied: Ids that may do nothing.
    :param labels_of: Gives what is known of the labels of a node.
    """

    def __init__(
        self,
        rules: Sequence[RightsRule],
        denied: Sequence[Subnet] = (),
        labels_of: Callable[[int], Labels] = lambda bus_id: (),
    ) -> None:
        self._rules = rules
        self._denied = denied
        self._labels_of = labels_of
        self._allowed_kinds = {
            kind for kind in Kind for rule in rules if rule.allows and getattr(rule, kind.value)
        }
        self._asks_labels = any(rule.labels for rule in rules)
        self._sends: dict[tuple[int, int], bool] = {}

    def __bool__(self) -> bool:
        """Tell whether anything can be refused at all."""
        return bool(self._rules or self._denied)

    def changed(self) -> None:
        """Learn that labels may have changed."""
        if self._asks_labels:
            self._sends.clear()

    # The questions.

    def may_send(self, source: int, target: int) -> bool:
        """
        Tell whether a node may send to another; what was found is remembered.

        :param source: Who sends, as its neighbor vouches.
        :param target: To whom.
        """
        found = self._sends.get((source, target))
        if found is None:
            if len(self._sends) >= limits.VOUCHED_SOURCES_MAX:
                self._sends.clear()
            found = self._sends[source, target] = self.refuses_send(source, target) is None
        return found

    def refuses_send(self, source: int, target: int) -> str | None:
        """Say why a node may not send to another, None if it may."""
        return self._refuses(
            Kind.SEND, self.who(source), lambda ranges: any(r.contains(target) for r in ranges)
        )

    def refuses_passing(self, message_type: int, source: int) -> str | None:
        """
        Say why a request may not go on to another node, who would look at it closer.

        :param message_type: Its number on the wire.
        :param source: Who asks.
        :returns: Why everything that it can ask for is denied to the source; None if it is not.
        """
        kind = _REQUESTS.get(message_type)
        if kind is None:
            return None
        return self._refuses(kind, self.who(source), lambda names: True, _has_everything)

    def refuses_registration(self, who: Who, position: Position) -> str | None:
        """Say why a node may not register below or beside us, None if it may."""
        if position is Position.UPSTREAM:
            return self.refuses_all(who)
        return self._refuses(Kind.REGISTER, who, lambda positions: position in positions)

    def refuses_publication(self, who: Who, subject: tuple[str, ...]) -> str | None:
        """
        Say why a node may not publish on a subject, None if it may.

        :param who: Who publishes.
        :param subject: Its tokens.
        """
        return self._refuses(
            Kind.PUBLISH, who, lambda patterns: any(matches(p, subject) for p in patterns)
        )

    def refuses_delivery(self, who: Who, subject: tuple[str, ...]) -> str | None:
        """
        Say why a node may not get what is published on a subject, None if it may.

        This is what to ask of a neighbor whose interest is the sum of many.

        :param who: Who would get it.
        :param subject: Its tokens.
        """
        return self._refuses(
            Kind.SUBSCRIBE, who, lambda patterns: any(matches(p, subject) for p in patterns)
        )

    def refuses_subscription(self, who: Who, pattern: tuple[str, ...]) -> str | None:
        """
        Say why a node may not subscribe to a pattern, None if it may get all of it.

        :param who: Who subscribes.
        :param pattern: Its tokens.
        """
        return self._refuses(
            Kind.SUBSCRIBE,
            who,
            lambda allowed: any(covers(p, pattern) for p in allowed),
            lambda denied: any(overlaps(p, pattern) for p in denied),
        )

    def refuses_command(self, who: Who, name: str) -> str | None:
        """Say why a node may not run a command, None if it may."""
        return self._refuses(Kind.COMMANDS, who, lambda names: _is_named(name, names))

    def refuses_stream(self, who: Who, service: str) -> str | None:
        """Say why a node may not open a stream to a service, None if it may."""
        return self._refuses(Kind.STREAMS, who, lambda names: _is_named(service, names))

    def refuses_all(self, who: Who) -> str | None:
        """Say that a node is on the list of denied ids, None if it is not."""
        ids = who.ids
        if ids is not None and any(each.overlaps(ids) for each in self._denied):
            return f"{who} is among the denied ids"
        return None

    def who(self, bus_id: int) -> Who:
        """Name a node by its id, with what is known of its labels."""
        return Who.node(bus_id, self._labels_of(bus_id) if self._asks_labels else ())

    # Inside.

    def _refuses(
        self,
        kind: Kind,
        who: Who,
        allows: Callable[[Any], bool],
        denies: Callable[[Any], bool] | None = None,
    ) -> str | None:
        refusal = self.refuses_all(who)
        if refusal is not None:
            return refusal
        is_allowed = kind not in self._allowed_kinds
        for place, rule in enumerate(self._rules):
            things = getattr(rule, kind.value)
            if not things or not rule.is_about(who):
                continue
            if rule.allows:
                is_allowed = is_allowed or allows(things)
            elif (denies or allows)(things):
                name = f" ({rule.name})" if rule.name else ""
                return f"rights[{place}]{name} denies {kind.value} to {who}"
        return None if is_allowed else f"no rule of rights allows {kind.value} to {who}"


_REQUESTS: Final = {
    int(MessageType.COMMAND_REQUEST): Kind.COMMANDS,
    int(MessageType.STREAM_OPEN): Kind.STREAMS,
}


def _is_named(name: str, names: Iterable[str]) -> bool:
    return any(
        name.startswith(each[:-1]) if each.endswith("*") else name == each for each in names
    )


def _has_everything(names: Iterable[str]) -> bool:
    return "*" in names
