"""Counters of one node; plain numbers, added up per run and never per message."""

from __future__ import annotations

from collections import Counter

import attrs

from atbus.channels.tls_fault import TlsFault
from atbus.errors import Status


@attrs.define(eq=False)
class Statistics:
    """
    What one node has counted since it was made.

    Bytes are payload bytes. ``refused`` counts messages by the status that ended them at this
    node, whether they began here or were passing through. ``route_words_ignored`` counts what
    neighbors told of nodes that was not for them to tell, ``route_batches_delayed`` what was
    read later because it came too fast, ``reading_held`` how often a link was not read for a while
    because its announcements were too many. ``log_lines_lost`` counts what the
    process could not write into its log, on a full disk for example. ``published_messages`` began
    here; ``publications_delivered`` counts what subscribers here got, each of its own,
    ``publications_forwarded`` what went on to neighbors, each time, ``publications_repeated`` what
    came a second time and went nowhere, and ``publications_dropped`` what somebody did not get, by
    the reason. ``interest_repairs`` counts neighbors that had lost something of what they were
    told; there should be none. ``saved_bytes`` counts what compression made of payloads less than
    they were, ``suspicious_ratios`` frames that were compressed more than data can be.
    ``tls_refused`` counts connections over TLS, of either side, that became no channel,
    ``turned_away`` those that were too many, or came from who is banned.
    ``streams_opened`` began here and ``streams_accepted`` elsewhere; ``streams_refused`` counts
    those that never were open, at either end, and ``streams_reset`` those that were and did not
    end well, by the reason. For JSON: `atbus.node.report.plain`.
    """

    sent_messages: int = 0
    sent_bytes: int = 0
    received_messages: int = 0
    received_bytes: int = 0
    forwarded_messages: int = 0
    forwarded_frames: int = 0
    responses_sent: int = 0
    responses_dropped: int = 0
    uncertain_messages: int = 0
    dropped_messages: int = 0
    callback_failures: int = 0
    late_frames: int = 0
    ignored_frames: int = 0
    undecodable_frames: int = 0
    order_given_up: int = 0
    pauses_sent: int = 0
    pauses_received: int = 0
    slow_endpoints: int = 0
    log_lines_lost: int = 0
    turned_away: int = 0
    route_batches_sent: int = 0
    route_batches_received: int = 0
    route_batches_delayed: int = 0
    reading_held: int = 0
    lanes_offered: int = 0
    lanes_refused: int = 0
    missed_wakeups: int = 0
    saved_bytes: int = 0
    suspicious_ratios: int = 0
    published_messages: int = 0
    publications_delivered: int = 0
    publications_forwarded: int = 0
    publications_repeated: int = 0
    interest_sent: int = 0
    interest_received: int = 0
    interest_ignored: int = 0
    interest_repairs: int = 0
    publications_dropped: Counter[Status] = attrs.field(factory=Counter)
    refused: Counter[Status] = attrs.field(factory=Counter)
    closed: Counter[Status] = attrs.field(factory=Counter)
    tls_refused: Counter[TlsFault] = attrs.field(factory=Counter)
    streams_opened: int = 0
    streams_accepted: int = 0
    stream_bytes_sent: int = 0
    stream_bytes_received: int = 0
    streams_refused: Counter[Status] = attrs.field(factory=Counter)
    streams_reset: Counter[Status] = attrs.field(factory=Counter)
    route_words_ignored: Counter[Status] = attrs.field(factory=Counter)
