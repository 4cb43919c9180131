"""The bounds agree with each other: arithmetic only."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.routing import bounds as routing

#: A type and a length, or a length alone, before each thing of varying size; the longest of them.
PREFIX_BYTES = 4
#: A length and a kind for each message of a run.
RUN_ENTRY_BYTES = 8
#: A prefix of 64 bits and the number of free bits.
SUBNET_BYTES = 9
#: Offset, total and kind before the bytes of a fragment.
FRAGMENT_HEAD_BYTES = 12
#: Status, counts and whatever else of fixed size a body begins with; generously.
BODY_FIXED_BYTES = 64


class FrameTests(SynchronousTestCase):
    """Frames hold what they have to hold."""

    def test_sizes_are_in_order(self) -> None:
        """The default lies between what may be asked for at least and at most."""
        self.assertLessEqual(limits.FRAME_BYTES_MIN, limits.FRAME_BYTES)
        self.assertLessEqual(limits.FRAME_BYTES, limits.FRAME_BYTES_MAX)
        self.assertLessEqual(limits.MESSAGE_BYTES, limits.MESSAGE_BYTES_MAX)

    def test_registration_fits_the_handshake(self) -> None:
        """A node that says as much about itself as it may can still register."""
        said = (
            limits.FRAME_HEAD_BYTES
            + limits.ACCESS_TOKENS_MAX * (PREFIX_BYTES + limits.PROOF_BYTES)
            + limits.SUBNETS_MAX * SUBNET_BYTES
            + limits.ADDRESSES_MAX * (PREFIX_BYTES + limits.ADDRESS_BYTES)
            + limits.LABELS_MAX * 2 * PREFIX_BYTES
            + limits.LABELS_BYTES
            + 4 * PREFIX_BYTES
            + limits.HOST_BYTES
            + limits.PROCESS_BYTES
            + limits.HOSTNAME_BYTES
            + limits.SOFTWARE_BYTES
            + BODY_FIXED_BYTES
        )
        self.assertLessEqual(said, limits.HANDSHAKE_BYTES)

    def test_refusal_fits_the_handshake(self) -> None:
        """The answer to a registration fits, with its reason in words."""
        said = limits.FRAME_HEAD_BYTES + BODY_FIXED_BYTES + limits.DETAIL_BYTES
        self.assertLessEqual(said, limits.HANDSHAKE_BYTES)

    def test_smallest_link_carries_a_registration(self) -> None:
        """No pair can settle on frames that are too short to register again."""
        self.assertGreaterEqual(limits.FRAME_BYTES_MIN, limits.HANDSHAKE_BYTES)

    def test_extras_leave_room_for_the_body(self) -> None:
        """Even the smallest frame with all extras carries a good piece of a message."""
        fixed = limits.FRAME_HEAD_BYTES + limits.EXTRAS_BYTES + FRAGMENT_HEAD_BYTES
        self.assertGreaterEqual(limits.FRAME_BYTES_MIN - fixed, 1_024)

    def test_full_trace_fits_the_extras(self) -> None:
        """A message that passed as many nodes as it may still carries all their names."""
        self.assertLessEqual(PREFIX_BYTES + limits.HOPS * 8, limits.EXTRAS_BYTES)

    def test_longest_run_fits_a_frame(self) -> None:
        """The table of a run of the most messages, all of them empty, fits with all extras."""
        table = limits.RUN_COUNT_MAX * RUN_ENTRY_BYTES
        whole = limits.FRAME_HEAD_BYTES + limits.EXTRAS_BYTES + table
        self.assertLessEqual(whole, limits.FRAME_BYTES)

    def test_run_is_counted_in_sixteen_bits(self) -> None:
        """The count of a run fits its field of the head, and so do the extras."""
        self.assertLess(limits.RUN_COUNT_MAX, 2**16)
        self.assertLess(limits.EXTRAS_BYTES, 2**16)

    def test_longest_message_can_be_fragmented(self) -> None:
        """Offsets of the longest message fit their field even on the smallest frames."""
        self.assertLess(limits.MESSAGE_BYTES_MAX, 2**32)

    def test_command_fits_a_frame(self) -> None:
        """The longest command and the longest response travel in one frame, extras and all."""
        fixed = limits.FRAME_HEAD_BYTES + limits.EXTRAS_BYTES + BODY_FIXED_BYTES
        pieces = max(limits.COMMAND_ARGUMENTS_MAX, limits.COMMAND_LINES_MAX) * PREFIX_BYTES
        self.assertLessEqual(fixed + pieces + limits.COMMAND_BYTES, limits.FRAME_BYTES)

    def test_longest_dns_address_is_an_address(self) -> None:
        """A host name of the full length can be announced with any scheme and port."""
        longest = len("tls+dns://") + limits.HOSTNAME_BYTES + len(":65535")
        self.assertLessEqual(longest, limits.ADDRESS_BYTES)

    def test_longest_unix_address_is_an_address(self) -> None:
        """A socket path of the longest that Linux takes can be announced."""
        self.assertLessEqual(len("unix://") + 107, limits.ADDRESS_BYTES)


class StrangerTests(SynchronousTestCase):
    """What nobody has vouched for is bounded tightly."""

    def test_strangers_hold_little(self) -> None:
        """A listener full of strangers who have each sent all they may holds half a megabyte."""
        held = limits.PENDING_HANDSHAKES_MAX * limits.HANDSHAKE_BYTES
        self.assertLessEqual(held, 512 * 1_024)

    def test_one_stranger_cannot_take_all_places(self) -> None:
        """From one address comes at most a part of the pending handshakes."""
        per_address = limits.PENDING_HANDSHAKES_PER_ADDRESS_MAX
        self.assertLessEqual(per_address * 4, limits.PENDING_HANDSHAKES_MAX)

    def test_challenge_ends_within_the_handshake(self) -> None:
        """Whoever claims a taken id learns the verdict before its handshake is over."""
        self.assertLess(2 * limits.CHALLENGE_SECONDS, limits.HANDSHAKE_SECONDS)

    def test_refused_waits_longer_than_a_handshake(self) -> None:
        """A refused node has at most one attempt in the books at a time."""
        self.assertGreater(limits.REFUSED_SECONDS, limits.HANDSHAKE_SECONDS)


class TimeTests(SynchronousTestCase):
    """The promises about time follow from the intervals."""

    def test_dead_peer_is_known_in_24_seconds(self) -> None:
        """With the defaults a silent peer is given up after 24 s."""
        worst = limits.HEARTBEAT_SECONDS * (limits.HEARTBEAT_TOLERANCE + 1)
        self.assertEqual(worst, 24.0)

    def test_fast_profile_knows_in_seven(self) -> None:
        """With the fast profile a vanished host is given up within 7 s."""
        worst = limits.FAST_HEARTBEAT_SECONDS * (limits.FAST_HEARTBEAT_TOLERANCE + 1)
        self.assertLessEqual(worst, 7.0)

    def test_jitter_spreads_but_leaves_most(self) -> None:
        """The random part is a small one, so that a ping is never sent twice in a row."""
        self.assertTrue(0 < limits.HEARTBEAT_JITTER < limits.SELF_LAG_FRACTION < 1)

    def test_lag_is_noticed_before_it_matters(self) -> None:
        """A blocked loop is named before it is so late that the node accuses nobody."""
        self.assertLess(
            limits.LAG_SECONDS, limits.SELF_LAG_FRACTION * limits.FAST_HEARTBEAT_SECONDS
        )

    def test_every_lag_that_matters_is_seen(self) -> None:
        """A loop that is late by half a fast heartbeat is late by too much for a sweep."""
        seen = limits.SWEEP_SECONDS + limits.LAG_SECONDS
        self.assertLessEqual(seen, limits.SELF_LAG_FRACTION * limits.FAST_HEARTBEAT_SECONDS)

    def test_data_connection_has_many_attempts(self) -> None:
        """An endpoint without data is given up after several dials, not after one."""
        self.assertGreaterEqual(limits.DATA_CONNECTION_SECONDS, 5 * limits.DATA_REDIAL_SECONDS)
        self.assertGreater(
            limits.DATA_CONNECTION_SECONDS, limits.CONNECT_SECONDS + limits.HANDSHAKE_SECONDS
        )

    def test_closing_is_looked_at_often(self) -> None:
        """What closes is looked at many times within each step of closing."""
        steps = min(limits.GOODBYE_SECONDS, limits.LINGER_SECONDS)
        self.assertLessEqual(10 * limits.LEAVING_POLL_SECONDS, steps)

    def test_backoff_reaches_its_bound(self) -> None:
        """Ten failed attempts come to the longest wait, nine do not."""
        waits = [limits.RECONNECT_SECONDS * limits.RECONNECT_FACTOR**turn for turn in range(11)]
        self.assertLess(waits[9], limits.RECONNECT_SECONDS_MAX)
        self.assertGreaterEqual(waits[10], limits.RECONNECT_SECONDS_MAX)

    def test_whole_outage_is_over_in_35_seconds(self) -> None:
        """After an outage everybody is back within the longest wait and one handshake."""
        self.assertLessEqual(limits.RECONNECT_SECONDS_MAX + limits.HANDSHAKE_SECONDS, 35.0)

    def test_drain_is_over_before_kubernetes_kills(self) -> None:
        """Closing is a part of a drain, and the whole is well below 30 seconds."""
        self.assertLess(limits.DRAIN_CLOSE_SECONDS, limits.DRAIN_SECONDS)
        self.assertLessEqual(limits.DRAIN_SECONDS, 20.0)

    def test_goodbye_fits_the_last_part_of_a_drain(self) -> None:
        """The conversation that closes a link ends before the drain does."""
        closing = limits.GOODBYE_SECONDS + limits.LINGER_SECONDS
        self.assertLessEqual(closing, limits.DRAIN_CLOSE_SECONDS)

    def test_flush_outlasts_the_acknowledgements_of_a_path(self) -> None:
        """A FLUSH over the longest path does not fail only because acknowledgements wait."""
        self.assertLessEqual(limits.HOPS * limits.ACK_DELAY_SECONDS, limits.FLUSH_SECONDS)

    def test_flush_outlasts_the_wait_for_word_of_a_source(self) -> None:
        """A FLUSH behind messages of a node that has just moved does not fail because of them."""
        self.assertLess(limits.UNVERIFIED_SECONDS, routing.EARLY_SECONDS)
        self.assertLess(routing.EARLY_SECONDS, limits.FLUSH_SECONDS)

    def test_connection_can_be_made_while_messages_wait(self) -> None:
        """A held message outlives an ordinary dial, and one that needs all of its handshake."""
        self.assertGreater(limits.PENDING_SECONDS, limits.CONNECT_SECONDS)
        self.assertGreater(limits.PENDING_SECONDS, limits.HANDSHAKE_SECONDS)

    def test_delivery_hears_from_the_pending_queue(self) -> None:
        """Who waits for a delivery waits as long as the queue keeps the message."""
        self.assertGreaterEqual(limits.DELIVER_SECONDS, limits.PENDING_SECONDS)


class QueueTests(SynchronousTestCase):
    """Queues pause before they refuse, and refuse before they starve others."""

    def test_marks_are_in_order(self) -> None:
        """Pause below refuse below the node's own budget."""
        marks = [
            limits.QUEUED_BYTES_SOFT,
            limits.QUEUED_BYTES_HARD,
            limits.NODE_QUEUED_BYTES,
        ]
        self.assertEqual(marks, sorted(set(marks)))

    def test_longest_default_message_is_accepted(self) -> None:
        """An idle endpoint, a pending queue and a reassembly each take the longest message."""
        for room in (
            limits.QUEUED_BYTES_SOFT,
            limits.PENDING_BYTES,
            limits.REASSEMBLY_SOURCE_BYTES_MAX,
        ):
            self.assertLessEqual(limits.MESSAGE_BYTES + limits.FRAME_BYTES, room)

    def test_frame_in_flight_does_not_refuse(self) -> None:
        """Between being told to pause and pausing, a neighbor has room for many frames."""
        between = limits.QUEUED_BYTES_HARD - limits.QUEUED_BYTES_SOFT
        self.assertGreaterEqual(between, 64 * limits.FRAME_BYTES)

    def test_pending_queue_drains_into_one_endpoint(self) -> None:
        """What was held for a target fits its endpoint's queue when the connection is there."""
        table = limits.PENDING_COUNT_MAX * (limits.FRAME_HEAD_BYTES + RUN_ENTRY_BYTES)
        self.assertLessEqual(limits.PENDING_BYTES + table, limits.QUEUED_BYTES_HARD)

    def test_a_stuck_destination_leaves_the_window_to_others(self) -> None:
        """Paused and refused, one that is stuck has no more than a quarter of a link's window."""
        window = limits.UNACKNOWLEDGED_FRAMES_MAX
        soft = limits.DESTINATION_FRAMES_SOFT
        self.assertEqual(soft * limits.DESTINATION_WINDOW_PARTS, window)
        self.assertLessEqual(soft * limits.DESTINATION_FRAMES_HARD_FACTOR * 4, window)

    def test_what_is_in_the_channel_is_a_part_of_what_may_be_queued(self) -> None:
        """So the rest can be told apart by destination before anybody has to pause."""
        self.assertLessEqual(limits.CHANNEL_BYTES * 2, limits.QUEUED_BYTES_SOFT)
        self.assertGreaterEqual(limits.CHANNEL_BYTES, 4 * limits.FRAME_BYTES)

    def test_a_window_is_refused_late(self) -> None:
        """Between the pause and the first refusal of a receiver lies what one queue may hold."""
        between = limits.WINDOW_BYTES * (limits.WINDOW_HARD_FACTOR - 1)
        self.assertGreaterEqual(between, limits.QUEUED_BYTES_HARD)
        self.assertGreaterEqual(limits.WINDOW_BYTES, limits.MESSAGE_BYTES)

    def test_one_source_cannot_take_all_of_the_reassembly(self) -> None:
        """Half-sent messages of one source leave room for those of others, and for queues."""
        self.assertLessEqual(2 * limits.REASSEMBLY_SOURCE_BYTES_MAX, limits.REASSEMBLY_BYTES_MAX)
        self.assertLessEqual(2 * limits.REASSEMBLY_BYTES_MAX, limits.NODE_QUEUED_BYTES)

    def test_held_runs_are_a_part_of_the_hard_bound(self) -> None:
        """Runs that wait for their source to be verified take no more than an endpoint may."""
        self.assertLessEqual(routing.UNVERIFIED_SHARE_BYTES, limits.QUEUED_BYTES_HARD)
        self.assertLess(routing.UNVERIFIED_SHARE_BYTES, routing.UNVERIFIED_BYTES)

    def test_eight_slow_endpoints_fit_the_node(self) -> None:
        """A few endpoints at their hard bound do not use up the node's budget."""
        self.assertGreaterEqual(limits.NODE_QUEUED_BYTES, 8 * limits.QUEUED_BYTES_HARD)

    def test_control_has_room_beside_data(self) -> None:
        """Control traffic of several frames fits its own room."""
        self.assertGreaterEqual(limits.CONTROL_QUEUED_BYTES, 4 * limits.FRAME_BYTES)

    def test_acknowledgements_come_before_the_window_closes(self) -> None:
        """A sender in full swing is acknowledged many times before it has to wait."""
        self.assertLessEqual(limits.ACK_FRAMES_MAX * 8, limits.UNACKNOWLEDGED_FRAMES_MAX)

    def test_window_is_unambiguous(self) -> None:
        """Frame numbers of 32 bits can be compared (RFC 1982) within the window."""
        self.assertLess(limits.UNACKNOWLEDGED_FRAMES_MAX, 2**31)


class MemoryTests(SynchronousTestCase):
    """What is remembered suffices for a large bus."""

    def test_ten_thousand_nodes_stay_remembered(self) -> None:
        """A bus of ten thousand nodes does not make its members forget in each round."""
        for kept in (
            limits.FLOWS_MAX,
            limits.COMPILED_TARGETS_MAX,
            limits.VOUCHED_SOURCES_MAX,
            limits.EPOCHS_REMEMBERED_MAX,
        ):
            self.assertGreaterEqual(kept, 10_000)

    def test_epochs_outlive_the_endpoints(self) -> None:
        """A restart of everybody at once is remembered whole."""
        self.assertGreater(limits.EPOCHS_REMEMBERED_MAX, limits.ENDPOINTS_MAX)

    def test_notice_is_repeated_after_the_first_has_failed(self) -> None:
        """A pair is not told again while it still tries what it was told."""
        trying = limits.CONNECT_SECONDS + limits.HANDSHAKE_SECONDS
        self.assertGreater(limits.NOTICE_INTERVAL_SECONDS, trying)

    def test_parked_answer_is_still_awaited(self) -> None:
        """An answer waits for a way back no longer than somebody waits for it."""
        self.assertLessEqual(
            limits.PARKED_RESPONSE_SECONDS, min(limits.REQUEST_SECONDS, limits.DELIVER_SECONDS)
        )

    def test_answer_in_parts_holds_a_longest_part(self) -> None:
        """The longest single response is a small part of the longest answer."""
        self.assertLessEqual(8 * limits.COMMAND_BYTES, limits.COMMAND_ANSWER_BYTES)


class NameTests(SynchronousTestCase):
    """The file keeps its own rules."""

    def test_every_bound_is_a_positive_number(self) -> None:
        """Nothing here is switched off by a zero, and nothing is anything but a number."""
        bounds = {name: value for name, value in vars(limits).items() if name.isupper()}
        self.assertGreater(len(bounds), 50)
        for name, value in bounds.items():
            self.assertIn(type(value), (int, float), name)
            self.assertGreater(value, 0, name)

    def test_units_say_their_type(self) -> None:
        """Seconds are floats, bytes are whole."""
        for name, value in vars(limits).items():
            if "SECONDS" in name:
                self.assertIsInstance(value, float, name)
            elif "BYTES" in name:
                self.assertIsInstance(value, int, name)
