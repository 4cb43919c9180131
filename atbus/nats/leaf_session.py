"""
One connection between leafs, as values: bytes in, effects out.

Theory of operation. Who accepts (the *hub*) says INFO; who dials begins TLS if one of the two wants
it, and says CONNECT and PING. The hub judges it and says INFO again, marked ``connect_info``; from
then on both tell their interest and send messages. A dialer is open when it hears that, or the
first PONG. PINGs go out after silence; too many without an answer end the connection.

Loops. Both tell a subject of their own, ``$LDS.`` and a random word. Interest is passed on by
everybody, so one that is told its own subject has itself behind the other side: it says so, and
closes. Who has dialed waits long before it tries again.

Rights. What a leaf may do is known to its hub, and told to it in the second INFO. A leaf keeps to
that; a hub that is asked or sent what a leaf may not says so, and closes. A leaf asks for all that
is behind it: it may ask for more than it may have, and gets what it may have of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from atbus.nats.authentication import User
from atbus.nats.leaf_grammar import LeafGrammar, write_interest
from atbus.nats.permissions import (
    EVERYTHING,
    Permissions,
    read_lists,
    write_lists,
)
from atbus.nats.server_grammar import (
    Broken,
    Common,
    Connect,
    Info,
    Interest,
    Message,
    Ping,
    Pong,
    Refused,
    write_object,
)
from atbus.nats.server_session import (
    PING,
    PONG,
    Opened,
    Patience,
    ServerEffect,
    ServerSession,
    StartTls,
    State,
    Write,
)

#: How the subjects begin by which loops are found.
LOOP_SUBJECTS: Final = "$LDS."

#: What servers of NATS ask each other; nothing of it is for the bus.
_SYSTEM_SUBJECTS: Final = "$SYS."

#: What a hub complains of that will be so again soon.
_LASTING: Final = ("loop detected", "same cluster", "permissions violation")

Effect: TypeAlias = Interest | Message | ServerEffect


def cluster_number(name: str) -> int:
    """
    Make the number by which a bus knows a cluster of servers (wire protocol, 7.20).

    :param name: The cluster's.
    :returns: 64 bits, of which the first is set: it is no id that a node draws for itself.
    """
    # JSON has texts that are no UTF-8.
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) | 1 << 63


@attrs.frozen(kw_only=True)
class LeafTerms(Patience):
    """
    What we say of ourselves, and how patient we are.

    :param about: The fields of our INFO, or of our CONNECT.
    :param is_hub: Whether we have accepted the connection.
    :param tls: Whether we have what TLS needs.
    :param needs_tls: Whether there is no connection without it.
    :param loop_subject: Our own; empty for none.
    :param prove: Gives what else is shown to a hub that has drawn this for us to sign.
    """

    about: dict[str, Any]
    is_hub: bool
    tls: bool = False
    needs_tls: bool = False
    loop_subject: str = ""
    prove: Callable[[str], Mapping[str, str]] = lambda _: {}


def _admit_all(_: dict[str, Any]) -> User | None:
    return User()


class LeafSession(ServerSession[Interest | Message, Interest | Message]):
    """
    One side of a connection between leafs.

    :param judge: Tells by the CONNECT of the other side as whom it is let in, None for not at all;
        hubs only.
    """

    def __init__(
        self, terms: LeafTerms, judge: Callable[[dict[str, Any]], User | None] = _admit_all
    ) -> None:
        super().__init__(LeafGrammar(), terms)
        #: What the leaf may do, whichever side that is.
        self.rights: Permissions = EVERYTHING
        self._terms = terms
        self._judge = judge

    @property
    def loop_subject(self) -> str:
        """The subject by which we find loops; empty for none."""
        return self._terms.loop_subject

    @property
    def is_spoke(self) -> bool:
        """Whether we have dialed, and the other side is the hub."""
        return not self._terms.is_hub

    @property
    def cluster(self) -> int:
        """The number of the cluster of a server that has dialed us; 0 for none."""
        name = "" if self.is_spoke else self.peer.get("cluster")
        return cluster_number(name) if isinstance(name, str) and name else 0

    def may_tell(self, subject: str, queue: str) -> bool:
        """Tell whether the other side may be told that somebody wants something."""
        return self._terms.is_hub or self.rights.may_ask(subject, queue)

    def may_send(self, subject: str) -> bool:
        """Tell whether the other side may get a message."""
        rights = self.rights
        return rights.may_have(subject) if self._terms.is_hub else rights.may_publish(subject)

    def _greet(self) -> list[Effect]:
        if not self._terms.is_hub:
            return []
        effects: list[Effect] = [Write(write_object("INFO", self._terms.about))]
        if self._terms.needs_tls:
            effects.append(StartTls())
        return effects

    def _take(self, operation: Interest | Message | Common) -> list[Effect]:
        match operation:
            case Ping() if self.state is not State.GREETING:
                return [Write(PONG)]
            case Pong():
                return self._answered()
            case Info(fields=fields):
                return [] if self._terms.is_hub else self._informed(fields)
            case Connect(fields=fields):
                return self._connected(fields)
            case Refused(text=text):
                is_lasting = any(each in text.lower() for each in _LASTING)
                return self._end(f"the other side says: {text}", is_lasting=is_lasting)
            case Broken(line=line, is_known=is_known):
                text = "" if is_known else "Unknown Protocol Operation"
                return self._end(f"not understood: {line!r}", text)
        if self.state is not State.OPEN or isinstance(operation, Ping):
            return self._end("it has not said who it is", "Authorization Violation")
        if isinstance(operation, Interest):
            return self._interested(operation)
        return self._sent(operation)

    def _informed(self, fields: dict[str, Any]) -> list[Effect]:
        """A dialer hears the hub's INFO: the first one, or a later one."""
        first = self.state is State.GREETING
        self.peer = fields
        if not first:
            return self._admitted(fields) if fields.get("connect_info") else []
        if not fields.get("client_id") or "leafnode_urls" not in fields:
            return self._end("this is no port for leafs", is_lasting=True)
        self.state = State.JOINING
        effects: list[Effect] = []
        if fields.get("tls_required") or self._terms.needs_tls:
            if not self._terms.tls:
                return self._end("it wants TLS, for which nothing is configured", is_lasting=True)
            effects.append(StartTls())
        self._asked.append((0, self._now))
        about = {**self._terms.about, **self._terms.prove(str(fields.get("nonce", "")))}
        effects.append(Write(write_object("CONNECT", about) + PING))
        return effects

    def _admitted(self, fields: dict[str, Any]) -> list[Effect]:
        """A dialer hears that it is in, and what it may do."""
        try:
            self.rights = Permissions(
                publish=read_lists(fields.get("export")),
                subscribe=read_lists(fields.get("import")),
            )
        except ValueError as fault:
            return self._end(f"what we may do is not understood: {fault}", is_lasting=True)
        return self._begin()

    def _connected(self, fields: dict[str, Any]) -> list[Effect]:
        """A hub hears who has dialed."""
        if not self._terms.is_hub or self.state is not State.GREETING:
            return self._end("CONNECT, where none belongs", "Unknown Protocol Operation")
        self.peer = fields
        if "lang" in fields:
            return self._end("a client", "attempted to connect to leaf node port")
        user = self._judge(fields)
        if user is None:
            return self._end("its credentials are not ours", "Authorization Violation")
        cluster = self._terms.about.get("cluster")
        if cluster and fields.get("cluster") == cluster:
            text = "remote leafnode has same cluster name"
            return self._end(f"a server of our cluster: {cluster!r}", text, is_lasting=True)
        self.rights = user.permissions
        about = self._terms.about | {"connect_info": True, "remote_account": "$G"}
        sides = {"import": self.rights.subscribe, "export": self.rights.publish}
        about |= {name: lists for name, side in sides.items() if (lists := write_lists(side))}
        return [Write(write_object("INFO", about)), *self._begin()]

    def judge_again(self) -> list[Effect]:
        """
        Find out whether a leaf that was let in may stay as it is; hubs only.

        One whose rights are others now comes again, and is told of them then.
        """
        if self.state is not State.OPEN:
            return []
        user = self._judge(self.peer)
        if user is None:
            return self._end("its credentials are not ours any more", "Authorization Violation")
        if user.permissions != self.rights:
            return self._end("it has other rights now")
        return []

    def _begin(self) -> list[Effect]:
        if self.state is State.OPEN:
            return []
        self.state = State.OPEN
        effects: list[Effect] = [Opened()]
        if self._terms.loop_subject:
            effects.append(Write(write_interest(Interest(self._terms.loop_subject, "", 1))))
        return effects

    def _interested(self, interest: Interest) -> list[Effect]:
        if interest.subject == self._terms.loop_subject and interest.weight:
            return self.is_looped()
        if interest.subject.startswith(_SYSTEM_SUBJECTS):
            return []
        if self._terms.is_hub and interest.weight and not self._may_ask(interest):
            return self._violated("Subscription", interest.subject)
        return [interest]

    def is_looped(self) -> list[Effect]:
        """End: there is another way from the other side to us."""
        text = 'Loop detected for leafnode account="$G"'
        return self._end("there is a loop, we are behind it ourselves", text, is_lasting=True)

    def _may_ask(self, interest: Interest) -> bool:
        # By these it is found out whether there is a loop, whatever else is allowed.
        return interest.subject.startswith(LOOP_SUBJECTS) or self.rights.may_ask(
            interest.subject, interest.queue
        )

    def _sent(self, message: Message) -> list[Effect]:
        if (
            not self._terms.is_hub
            or self.rights.publishes_freely
            or self.rights.may_publish(message.subject)
        ):
            return [message]
        return self._violated("Publish", message.subject)

    def _violated(self, what: str, subject: str) -> list[Effect]:
        text = f'Permissions Violation for {what} to "{subject}"'
        return self._end(f"it may not do that: {text}", text, is_lasting=True)

    def _answered(self) -> list[Effect]:
        effects = self._begin() if self.state is State.JOINING else []
        return [*effects, *self._passed()]
