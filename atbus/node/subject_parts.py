"""
What publishes and subscribes for a node: its parts, made and connected to each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import succeed

from atbus.node.inquiries import Inquiries
from atbus.node.publishing import Publishing
from atbus.node.subscribers import Subscribers
from atbus.subjects.distribution import Distributor
from atbus.subjects.interest import Interests

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.sending import Sender


@attrs.frozen(eq=False, kw_only=True)
class SubjectParts:
    """Everything that a node's publishing and subscribing is made of."""

    subscribers: Subscribers
    publishing: Publishing
    inquiries: Inquiries

    def close(self) -> None:
        """End all questions and subscriptions: the node has stopped."""
        self.inquiries.close()
        self.subscribers.close()


def make_subjects(context: Context, sender: Sender) -> SubjectParts:
    """
    Make the parts.

    :param sender: Knows whether anything may be sent now.
    """
    interests = Interests()
    subscribers = Subscribers(context, interests)
    distributor = Distributor(interests, context.random.randrange)
    publishing = Publishing(context, subscribers, distributor, lambda: sender.refusal)
    inquiries = Inquiries(context, publishing)
    subscribers.on_changed = lambda: None
    subscribers.everywhere = lambda: succeed(None)
    subscribers.answer = publishing.answer
    publishing.to_inbox = inquiries.take
    return SubjectParts(subscribers=subscribers, publishing=publishing, inquiries=inquiries)
