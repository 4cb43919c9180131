"""
What publishes and subscribes for a node: its parts, made and connected to each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from atbus.busid import BusId
from atbus.node.admin_subjects import SubjectAdmin
from atbus.node.beyond import Beyond
from atbus.node.endpoint import Endpoint
from atbus.node.gates import Gates
from atbus.node.inquiries import Inquiries
from atbus.node.interest_talk import ZONE_LABEL, InterestTalk
from atbus.node.publish_pace import PublishPace
from atbus.node.publishing import Publishing
from atbus.node.spreading import Spreading
from atbus.node.subscribers import Subscribers
from atbus.routing.relation import Relation
from atbus.subjects.distribution import Distributor, Preference
from atbus.subjects.interest import Interests, Side
from atbus.wire.messages import MessageType

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.readers import FrameReader
    from atbus.node.sending import Sender
    from atbus.node.traffic import Traffic


@attrs.frozen(eq=False, kw_only=True)
class SubjectParts:
    """Everything that a node's publishing and subscribing is made of."""

    context: Context
    endpoints: dict[int, Endpoint]
    interests: Interests
    distributor: Distributor
    subscribers: Subscribers
    publishing: Publishing
    inquiries: Inquiries
    spreading: Spreading
    talk: InterestTalk
    admin: SubjectAdmin
    pace: PublishPace
    beyond: Beyond
    gates: Gates

    @property
    def readers(self) -> dict[int, FrameReader]:
        """Who reads which frames, besides PUBLISH."""
        return {
            MessageType.INTEREST: self.talk.interest_received,
            MessageType.INTEREST_ACK: self.talk.answer_received,
            MessageType.DATA_RESPONSE: self.spreading.response_received,
        }

    def sweep(self) -> None:
        """Look at what is looked at now and then."""
        self.talk.sweep()
        self.admin.sweep()
        self._look_around()

    def _look_around(self) -> None:
        """Note whose members our upstream tells us of as well."""
        context, interests = self.context, self.interests
        beside = [bus_id for bus_id, side in self.talk.sides.items() if side is Side.BESIDE]
        if beside or interests.siblings:
            siblings = {
                bus_id
                for bus_id in beside
                if context.table.relation_to(BusId(bus_id)) is Relation.SAME_UPSTREAM_PEER
            }
            if interests.count_once(siblings):
                self.talk.flush_soon()

    def reconfigure(self) -> None:
        """Take as long publications as the configuration allows now."""
        self.distributor.preference = Preference(self.context.config.queue_policy)
        self._look_around()
        self.talk.reconfigure()
        self.publishing.reconfigure()
        self.spreading.reconfigure()

    def removed(self, endpoint: Endpoint) -> None:
        """Forget a neighbor that is gone."""
        self.talk.lost(endpoint)
        self.spreading.removed(endpoint)

    def close(self) -> None:
        """End all questions and subscriptions: the node has stopped."""
        self.inquiries.close()
        self.admin.close()
        self.gates.close()
        self.subscribers.close()
        self.talk.close()
        self.spreading.close()
        self.publishing.counting.close()
        self.pace.close()


def make_subjects(
    context: Context, endpoints: dict[int, Endpoint], traffic: Traffic, sender: Sender
) -> SubjectParts:
    """
    Make the parts.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    :param sender: Knows whether anything may be sent now.
    """
    zone = context.config.labels.get(ZONE_LABEL, "")
    interests = Interests(context.config.interest_bytes, zone)
    subscribers = Subscribers(context, interests)
    preference = Preference(context.config.queue_policy)
    distributor = Distributor(
        interests, context.random.randrange, preference=preference, zone=zone
    )
    publishing = Publishing(context, subscribers, distributor, sender)
    inquiries = Inquiries(context, publishing)
    beyond = Beyond(context, interests, publishing, subscribers)
    talk = InterestTalk(context, endpoints, interests, beyond.changed)
    talk.gates = gates = Gates(context, interests, subscribers, publishing)
    gates.talk = talk
    subscribers.on_changed = talk.flush_soon
    subscribers.everywhere = talk.everywhere
    subscribers.answer = publishing.answer
    publishing.to_inbox = inquiries.take
    publishing.spreading = Spreading(context, endpoints, traffic, publishing)
    publishing.counting.tell = publishing.spreading.tell_nobody
    publishing.counting.counts = publishing.spreading.counts
    publishing.counting.sides = lambda: interests.neighbors
    publishing.counting.has_entrusted = publishing.has_entrusted
    distributor.may_have = publishing.spreading.may_have
    distributor.takes_back = publishing.spreading.counts
    distributor.line_of = context.table.line_of
    beyond.talk = talk
    talk.foreign = publishing.spreading.foreign = beyond.foreign
    return SubjectParts(
        context=context,
        endpoints=endpoints,
        interests=interests,
        distributor=distributor,
        subscribers=subscribers,
        publishing=publishing,
        inquiries=inquiries,
        spreading=publishing.spreading,
        talk=talk,
        admin=SubjectAdmin(context, subscribers, publishing, inquiries, beyond),
        pace=PublishPace(context, endpoints),
        beyond=beyond,
        gates=gates,
    )
