"""
Which test goes beyond a bound that it does not name.
"""

from __future__ import annotations

from typing import Final

# An option, or an argument, has a smaller one in its place; unless it is given it is the bound.
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "atbus.limits": {
        "RECONNECT_SECONDS": "routing.test_backoff.BackoffTests.test_waits_grow_up_to_the_cap",
        "RECONNECT_FACTOR": "routing.test_backoff.BackoffTests.test_waits_grow_up_to_the_cap",
        "QUEUED_BYTES_SOFT": (
            "node.test_slow_endpoint.SlowEndpointTests.test_named_once_until_it_has_caught_up"
        ),
        "QUEUED_BYTES_HARD": (
            "node.test_backpressure.OwnTests.test_refused_by_name_at_the_hard_limit"
        ),
        "NODE_QUEUED_BYTES": "node.test_queues.BudgetTests.test_one_turn_cannot_exceed_it",
        "PAUSES_MAX": "routing.test_flow_control.ToldTests.test_as_many_as_there_may_be",
        "WINDOW_COUNT_MAX": "node.test_windows.WindowTests.test_a_slow_receiver_pauses_its_senders",
        "PENDING_BYTES": "node.test_waiting.WaitingTests.test_bounded_in_number_and_bytes",
        "PENDING_COUNT_MAX": "node.test_waiting.WaitingTests.test_bounded_in_number_and_bytes",
        "ENDPOINTS_MAX": "node.test_endpoints.MembershipTests.test_too_many",
        "RECORDS_MAX": "routing.test_registry.RegistryTests.test_full",
        "ROUTE_GATHER_SECONDS": "routing.test_telling.GatheringTests.test_many_changes_are_one",
        "REFUTATION_SECONDS": (
            "routing.test_own_record.OwnRecordTests.test_a_node_hears_its_own_death"
        ),
        "OWN_WORD_SECONDS": (
            "routing.test_sync.SubscribeTests.test_a_silent_teller_is_listed_after_a_second"
        ),
        "ROUTE_CHANGE_SECONDS": (
            "routing.test_telling.GatheringTests.test_a_node_that_flaps_is_told_of_now_and_then"
        ),
        "DRAIN_CLOSE_SECONDS": "node.test_stop.SilenceTests.test_a_neighbor_that_is_gone",
        "INTEREST_BYTES": "node.test_reload.EffectTests.test_interest_bytes",
        "WINDOW_BYTES": "node.test_reload.EffectTests.test_window_bytes",
    },
    "atbus.discovery.bounds": {
        "ANNOUNCE_DELAY_SECONDS": (
            "discovery.test_announcing.ChangeTests.test_changes_close_together_are_one_write"
        ),
        "ETCD_LINE_BYTES": "discovery.etcd.test_gateway.LineTests.test_a_line_has_an_end",
        "ADDRESS_FILE_SECONDS": (
            "discovery.test_addresses.FileTests.test_a_file_that_changes_is_read_again"
        ),
        "ETCD_TOKEN_SECONDS": (
            "interop.test_etcd_cluster.UserTests.test_an_old_token_is_replaced_before_it_dies"
        ),
        "ETCD_MEMBERS_SECONDS": (
            "interop.test_etcd_cluster.ThreeServersTests.test_the_members_are_looked_at_again"
        ),
        "ETCD_SILENCE_SECONDS": (
            "interop.test_etcd_watcher.FrozenTests.test_a_frozen_server_is_found_out"
        ),
        "LEASE_SECONDS": (
            "interop.test_etcd_nodes.KilledTests.test_who_was_killed_is_gone_with_its_lease"
        ),
        "REGISTRY_REQUEST_SECONDS": (
            "discovery.zookeeper.test_client.SilentServerTests.test_it_is_not_waited_for"
        ),
        "ETCD_PAGE_KEYS": "interop.test_etcd_watcher.WatcherTests.test_what_is_there_comes_first",
        "ETCD_WATCH_SECONDS": (
            "interop.test_etcd_watcher.WatcherTests.test_nothing_is_lost_between_two_watches"
        ),
        "NAME_REFRESH_SECONDS": (
            "discovery.test_addresses.NameContractTests.test_a_name_that_is_lost_changes_nothing"
        ),
    },
    "atbus.nats.bounds": {
        "PAYLOAD_BYTES": "nats.test_grammar.BoundTests.test_a_payload_is_refused_before_it_comes",
        "PENDING_BYTES": "nats.test_gateway.SlowTests.test_too_much_waits",
        "WRITE_SECONDS": "nats.test_gateway.SlowTests.test_nothing_moves",
        "PING_SECONDS": "nats.test_session.LifeTests.test_a_silent_client_is_given_up",
        "PINGS_MAX": "nats.test_session.LifeTests.test_a_silent_client_is_given_up",
        "FIRST_PING_SECONDS": "nats.test_session.LifeTests.test_a_busy_client_is_not_asked",
        "AUTHENTICATION_SECONDS": "nats.test_session.LoginTests.test_who_says_nothing_is_closed",
        "TLS_SECONDS": "nats.test_tls.TlsTests.test_who_does_not_begin",
        "CONNECTIONS_MAX": "nats.test_gateway.LifeTests.test_too_many",
        "LAME_DUCK_GRACE_SECONDS": "nats.test_gateway.LifeTests.test_a_lame_duck",
        "LAME_DUCK_SECONDS": "nats.test_gateway.LifeTests.test_a_lame_duck",
        "LEAF_PING_SECONDS": "nats.test_leaf_session.HubTests.test_it_is_asked_and_stale",
        "LEAF_LOGIN_SECONDS": "nats.test_leaf_session.HubTests.test_who_says_nothing",
        "LEAF_RETRY_SECONDS": "interop.test_nats_leafs.LeafOfDebianTests.test_killed_and_back",
    },
    "atbus.node.bounds": {
        "COMPRESSION_LEAST_BYTES": "node.test_compression.CompressionTests.test_two_nodes",
    },
    "atbus.subjects.bounds": {
        "WAITING_COUNT_MAX": (
            "node.test_subscribing.FetchingTests.test_a_slow_one_misses_and_is_named"
        ),
        "WAITING_BYTES_MAX": "node.test_subscribing.FetchingTests.test_bytes_count_as_well",
        "ANSWERS_MAX": "node.test_subscribing.AskingTests.test_enough_answers",
        "QUIET_SECONDS": "node.test_subscribing.AskingTests.test_many_answers",
    },
    "atbus.discovery.zookeeper.bounds": {
        "RESUME_SECONDS": (
            "interop.test_zookeeper_session.OneServerTests.test_servers_that_lost_everything"
        ),
    },
}

# The part has one of the test's own; tests/node/test_bounds.py shows which one a node gives it.
_PARTS: Final[dict[str, dict[str, str]]] = {
    "atbus.limits": {
        "REASSEMBLY_SOURCE_BYTES_MAX": (
            "routing.test_fragments.BoundTests.test_one_source_cannot_take_all_the_room"
        ),
        "REASSEMBLY_BYTES_MAX": (
            "routing.test_fragments.BoundTests.test_one_source_cannot_take_all_the_room"
        ),
        "REASSEMBLY_COUNT_MAX": (
            "routing.test_fragments.BoundTests.test_the_number_of_messages_is_bounded"
        ),
        "UNVERIFIED_RUNS_MAX": (
            "routing.test_unverified.UnverifiedTests.test_who_is_lied_to_keeps_little"
        ),
        "FATES_REMEMBERED_MAX": (
            "routing.test_answered.AnsweredTests.test_memory_is_bounded_by_targets"
        ),
        "TOMBSTONES_MAX": "routing.test_tombstones.TombstoneTests.test_they_are_counted",
    },
    "atbus.routing.bounds": {
        "UNVERIFIED_BYTES": "routing.test_unverified.UnverifiedTests.test_bytes_of_all",
        "UNVERIFIED_SHARE_BYTES": (
            "routing.test_unverified.UnverifiedTests.test_bytes_of_one_neighbor"
        ),
        "EARLY_SECONDS": "node.test_far_neighbors.FarNeighborTests.test_table_that_does_not_come",
        "EARLY_BYTES": "routing.test_unverified.UnverifiedTests.test_bytes_of_all",
        "EARLY_SHARE_BYTES": "routing.test_unverified.UnverifiedTests.test_bytes_of_one_neighbor",
        "EARLY_SOURCES_MAX": "routing.test_unverified.UnverifiedTests.test_sources",
        "UNVERIFIED_SOURCES_MAX": "routing.test_unverified.UnverifiedTests.test_sources",
        "UNVERIFIED_NEWS_SECONDS": "node.test_verifying.NewsTests.test_news_of_nobody_are_dropped",
        "PORTION_BYTES": "routing.test_change.PortionTests.test_twice_as_much_each_time",
        "PORTION_COUNT": "routing.test_pending.PortionTests.test_a_portion_is_as_much_as_fits",
        "WAYS_MAX": "routing.test_ways.NeighborTests.test_the_oldest_is_forgotten",
        "FORMER_PLACE_SECONDS": (
            "routing.test_former_places.FormerPlacesTests.test_a_move_is_remembered_for_a_while"
        ),
        "FORMER_PLACES_EACH": "routing.test_former_places.FormerPlacesTests.test_so_many_of_one",
        "FORMER_PLACES_MAX": "routing.test_former_places.FormerPlacesTests.test_they_are_counted",
    },
    "atbus.subjects.bounds": {
        "INQUIRIES_MAX": "node.test_subscribing.AskingTests.test_too_many_questions",
    },
}

# The test says what follows from it, in seconds or by numbers.
_AS_IT_IS: Final[dict[str, dict[str, str]]] = {
    "atbus.routing.bounds": {
        "EARLY_ENOUGH_BYTES": (
            "node.test_far_neighbors.FarNeighborTests.test_relay_that_brings_much"
        ),
        "DRAIN_MOVE_FRACTION": "node.test_stop.SilenceTests.test_a_shorter_drain",
        "QUIET_SECONDS": "node.test_stop.SilenceTests.test_a_neighbor_that_dies_meanwhile",
    },
    "atbus.limits": {
        "FAST_HEARTBEAT_SECONDS": "node.test_liveness.DeathTests.test_the_fast_profile",
        "FAST_HEARTBEAT_TOLERANCE": "node.test_liveness.DeathTests.test_the_fast_profile",
        "HEARTBEAT_JITTER": (
            "routing.test_liveness.RhythmTests.test_the_lot_moves_a_ping_by_a_tenth"
        ),
        "SELF_LAG_FRACTION": "routing.test_liveness.SelfHealthTests.test_who_lags_accuses_nobody",
        "LAG_SECONDS": "node.test_liveness.LagTests.test_lag_is_named",
        "SWEEP_SECONDS": "node.test_liveness.LagTests.test_lag_at_any_moment",
        "WAITING_FRAME_BYTES": "node.test_backpressure.OwnTests.test_the_limit_is_of_bytes",
        "DESTINATION_WINDOW_PARTS": "routing.test_flow_control.MarkTests.test_a_window_is_shared",
        "EXPECTATIONS_MAX": "node.test_asking.DeliverTests.test_too_many_questions",
        "DIRECT_RETRY_SECONDS": (
            "node.test_directs.WithoutUpstreamTests.test_a_target_that_comes_late"
        ),
        "ROUTE_BACKLOG_MAX": (
            "routing.test_telling.GatheringTests.test_a_slow_neighbor_is_told_everything_anew"
        ),
        "LEAVING_POLL_SECONDS": "node.test_stop.OrderTests.test_both_stop_at_once",
    },
    "atbus.discovery.bounds": {
        "ETCD_HEAD_BYTES": "discovery.etcd.test_gateway.GatewayTests.test_a_head_without_end",
        "ETCD_HEADER_NAME_BYTES": (
            "discovery.etcd.test_gateway.GatewayTests.test_the_name_of_a_header"
        ),
        "REGISTRY_RETRY_SECONDS_MAX": (
            "discovery.test_keeping.KeepingTests.test_who_is_away_is_asked_again"
        ),
        "ETCD_LOGINS_MAX": (
            "interop.test_etcd_cluster.UserTests.test_a_wrong_password_is_called_wrong"
        ),
        "ETCD_CONTEXTS_MAX": (
            "node.test_reading_discovery.EtcdTests.test_what_is_wrong_with_further_places"
        ),
        "ADDRESS_FILE_BYTES": (
            "discovery.test_addresses.FileTests.test_a_file_with_a_fault_changes_nothing"
        ),
        "REGISTRY_KEY_BYTES": "discovery.test_documents.KeyTests.test_other_keys_are_refused",
    },
    "atbus.nats.bounds": {
        "TEMPLATE_SUBJECTS_MAX": "nats.test_grants.TemplateTests.test_too_many_subjects",
        "READ_SECONDS": "nats.test_pace.PaceTests.test_many_short_sentences",
        "READ_BYTES_MOST": "nats.test_pace.PaceTests.test_payloads",
        "STALL_SECONDS": "nats.test_gateway.SlowTests.test_publishers_are_slowed_down",
        "SIBLINGS_SECONDS": "nats.test_bus.SiblingTests.test_a_new_one_is_told_to_clients",
        "SUCCESSION_SECONDS": "nats.test_joining.FaultTests.test_one_that_stays_goes",
        "SIBLINGS_FORGOTTEN_SECONDS": (
            "nats.test_bus.SiblingTests.test_one_that_stands_nowhere_is_forgotten"
        ),
        "LEAF_LASTING_SECONDS": (
            "nats.test_leafs_of_one_hub.CutTests.test_a_loop_that_stays"
        ),
    },
    "atbus.node.bounds": {
        "FILES_LOOK_SECONDS": "node.test_permits.DeniedTests.test_cut_when_the_file_changes",
        "COMPRESSION_RATIO_ALARM": "node.test_compression.HostileTests.test_the_alarm",
        "HOLD_SECONDS": (
            "security.test_announcements.AnnouncementTests.test_security_announcement_decoding"
        ),
        "LATE_SECONDS": "node.test_alarm.AlarmTests.test_a_process_that_was_held_up",
        "MESH_YIELD_SECONDS": "node.test_sources.MeshTests.test_who_cannot_be_dialled_dials",
    },
    "atbus.subjects.bounds": {
        "PACE_SECONDS": (
            "node.test_subjects.SlowTests.test_one_that_is_stuck_holds_nobody_back_for_long"
        ),
        "NESTED_PER_TURN": "node.test_subscribing.SubscribingTests.test_two_that_answer_each_other",
        "LOSSES_SECONDS": "node.test_many_end.ManyEndTests.test_losses_are_told_together",
        "SIZES_SECONDS": (
            "node.test_interest.SizeTests.test_members_that_come_and_go_are_told_now_and_then"
        ),
        "PACE_POLL_SECONDS": "node.test_subjects.SlowTests.test_a_publisher_that_awaits_its_turn",
    },
    "atbus.discovery.zookeeper.bounds": {
        "READS_MAX": "interop.test_zookeeper_session.ManyTests.test_many_that_go_at_once",
        "SERVERS_MAX": "node.test_reading_zookeeper.ZooKeeperTests.test_what_is_wrong_is_told",
    },
    "atbus.wire.bounds": {
        "SERVICES_PER_NEIGHBOR_MAX": (
            "routing.test_offers.OffersTests.test_one_neighbor_has_so_much_room"
        ),
    },
}


def _joined(areas: dict[str, dict[str, str]]) -> dict[str, str]:
    """Give the tests by the dotted names of the bounds."""
    return {
        f"{module}.{name}": f"tests.{test}"
        for module, names in areas.items()
        for name, test in names.items()
    }


#: By the dotted name of the bound.
OPTIONS: Final = _joined(_OPTIONS)
PARTS: Final = _joined(_PARTS)
TESTS: Final = {**OPTIONS, **PARTS, **_joined(_AS_IT_IS)}
