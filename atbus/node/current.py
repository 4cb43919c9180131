"""What is known of the message that is being delivered, beyond what a receiver is told."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Delivery:
    """
    What is known of the message that is being delivered.

    :param source: Bus id of the sender.
    :param epoch: The sender's incarnation.
    :param sequence: Of a request, what `Node.reply` wants; else of the first message that came in
        the same frame.
    :param hops: How many nodes passed it on, as far as this can be told from the hop limit.
    :param path: Sender and relays in order, when the sender asked for a trace; else empty.
    :param neighbor: Bus id of the node that it came from; our own id for a message to ourselves.
    """

    source: int
    epoch: int
    sequence: int
    hops: int
    path: tuple[int, ...]
    neighbor: int
