"""
Which nodes may be connected directly.

A policy is an ordered list of rules. It is asked when a connection between two peers is about to be
made, by both of them, each with its own rules; never per message, and never about the links of the
tree. The first rule that matches decides; when none does, the connection is allowed.

A rule matches when all its conditions hold. A condition that is left out always holds; a truth
value asks for exactly that: ``same_host = false`` matches nodes of other hosts. What is not known
of a node is nothing that it shares.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from atbus.address import Address, Locality
from atbus.routing.record import Record

#: Keys of labels, each with the values that will do.
Wanted: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]


class Action(enum.Enum):
    """What a rule says of a connection; the value is how it is written."""

    ALLOW = "allow"
    DENY = "deny"
    #: Allowed where nobody else can listen: over TLS, or within one host.
    REQUIRE_TLS = "require_tls"


def _in_order(labels: Mapping[str, Iterable[str]] | Wanted) -> Wanted:
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    return tuple(sorted((key, tuple(values)) for key, values in pairs))


@attrs.frozen(kw_only=True)
class Rule:
    """
    One rule of a policy.

    :param action: What it says of the connections that it matches.
    :param name: What people call it.
    :param labels: The other node has each of these labels, with one of the values.
    :param own_labels: This node has each of these labels, with one of the values.
    :param same_labels: Both have these labels, with the same value.
    :param same_host: Whether both are on one host.
    :param same_process: Whether both are in one process.
    :param same_upstream: Whether both hang directly below the same node.
    :param proxy: Whether the other node says that it is a proxy.
    :param own_proxy: Whether this node is a proxy.
    """

    action: Action
    name: str = ""
    labels: Wanted = attrs.field(default=(), converter=_in_order)
    own_labels: Wanted = attrs.field(default=(), converter=_in_order)
    same_labels: tuple[str, ...] = ()
    same_host: bool | None = None
    same_process: bool | None = None
    same_upstream: bool | None = None
    proxy: bool | None = None
    own_proxy: bool | None = None

    def matches(self, own: Record, other: Record) -> bool:
        """
        Tell whether this rule is about a connection.

        :param own: This node.
        :param other: The node at the other end.
        :returns: Whether all conditions hold.
        """
        return (
            _has(other, self.labels)
            and _has(own, self.own_labels)
            and all(_shares_label(own, other, key) for key in self.same_labels)
            and self.same_host in (None, own.shares_host(other))
            and self.same_process in (None, own.shares_process(other))
            and self.same_upstream in (None, _shares_upstream(own, other))
            and self.proxy in (None, other.is_proxy)
            and self.own_proxy in (None, own.is_proxy)
        )


@attrs.frozen
class Verdict:
    """
    What a policy says of one connection.

    :param action: Whether it may be made.
    :param rule: The rule that said so, for people.
    """

    action: Action
    rule: str

    def permits(self, address: Address) -> bool:
        """
        Tell whether the connection may be made over an address.

        :param address: Where the listening side listens.
        :returns: Whether it may.
        """
        if self.action is Action.REQUIRE_TLS:
            return address.is_tls or address.locality < Locality.NETWORK
        return self.action is Action.ALLOW

    def refusal(self, address: Address) -> str:
        """
        Say why the connection may not be made over an address.

        :param address: One that is not permitted.
        :returns: The reason, for people.
        """
        if self.action is Action.REQUIRE_TLS:
            return f"{self.rule} wants TLS, {address} has none"
        return f"{self.rule} denies it"


def verdict_on(rules: Iterable[Rule], own: Record, other: Record) -> Verdict:
    """
    Decide on a direct connection.

    :param rules: The policy of this node, in order.
    :param own: This node.
    :param other: The node at the other end, as it is known or says of itself.
    :returns: What the first rule says that matches; allowed when none does.
    """
    for place, rule in enumerate(rules):
        if rule.matches(own, other):
            name = f" ({rule.name})" if rule.name else ""
            return Verdict(rule.action, f"policy[{place}]{name}")
    return Verdict(Action.ALLOW, "no rule of the policy")


def _has(record: Record, wanted: Wanted) -> bool:
    return all(record.label(key) in values for key, values in wanted)


def _shares_label(own: Record, other: Record, key: str) -> bool:
    value = own.label(key)
    return value is not None and other.label(key) == value


def _shares_upstream(own: Record, other: Record) -> bool:
    return bool(own.upstream_id) and own.upstream_id == other.upstream_id
