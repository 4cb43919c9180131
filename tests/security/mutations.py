"""
How each defence is taken away: by a small change of a source, after which its test fails.

Whoever moves a defence moves its change here: ``tests.house.test_security`` looks whether each
still applies, and ``make test MUTATE=1`` whether the test fails.
"""

from __future__ import annotations

from typing import Final

import attrs


@attrs.frozen
class Mutation:
    """
    A defence, as a text in a source, and what is there without it.

    :param test: The test that fails then, without ``test_security_``.
    :param path: The source, in ``atbus``.
    :param old: What is in it once; nothing for a file that there is not.
    :param new: What takes its place.
    """

    test: str
    path: str
    old: str
    new: str = "if False:"


MUTATIONS: Final = (
    Mutation(
        "registering_without_right", "handshake/epilogue.py",
        "if not verify(tokens, request.proofs, side, transcript, exporter):",
    ),
    Mutation(
        "registering_without_right", "node/config.py",
        "if not (is_safe or self.allow_insecure):",
    ),
    Mutation(
        "certificate_range", "routing/admission.py",
        "if not applicant.allowed.contains_subnet(subnet):",
    ),
    Mutation(
        "certificate_range", "node/judging.py",
        "allowed=None if certified is None else certified.subnet,", "allowed=None,",
    ),
    Mutation(
        "lying_listener", "handshake/dialogue.py",
        "if certified is not None and not certified.contains(hello.source):",
    ),
    Mutation(
        "greedy_listener", "node/judging.py",
        "allowed=None if certified is None else certified.subnet,",
        "allowed=None if certified is None or question.dialled else certified.subnet,",
    ),
    Mutation(
        "certificate_identity", "handshake/certificate.py", "if len(ours) != 1:", "if not ours:"
    ),
    Mutation("certificate_identity", "handshake/certificate.py", "if identity.realm != realm:"),
    Mutation(
        "certificate_identity", "handshake/certificate.py",
        'if f"{subnet.first:x}" != found["prefix"]:',
    ),
    Mutation(
        "wide_certificates", "rights.py",
        "return any(mine.contains_subnet(ids) for mine in self.ids)",
        "return any(mine.overlaps(ids) for mine in self.ids)",
    ),
    Mutation(
        "wide_certificates", "rights.py",
        "        return any(mine.overlaps(ids) for mine in self.ids)",
        "        return any(mine.contains_subnet(ids) for mine in self.ids)",
    ),
    Mutation(
        "spoofed_source", "node/verifying.py",
        "if table.may_speak(BusId(neighbor), BusId(source)):", "if True:",
    ),
    Mutation("certified_speech", "routing/table.py", "if not neighbor.is_certified(source):"),
    Mutation("certified_speech", "routing/hearing.py", "if not link.peer.is_certified(record):"),
    Mutation(
        "certified_speech", "node/registrar.py", "certified=endpoint.certified,", "certified=None,",
    ),
    Mutation(
        "certified_speech", "node/route_table.py",
        "certified=endpoint.certified,", "certified=None,",
    ),
    Mutation("certified_speech", "node/verifying.py", " or not known.is_certified(source):", ":"),
    Mutation("spoofed_command", "node/commands.py", "if not self._traffic.vouches(link, source):"),
    Mutation(
        "spoofed_publication", "node/spreading.py", "vouches(link, message.source)", "vouches"
    ),
    Mutation(
        "route_poisoning", "routing/hearing.py",
        "reason = self._doubtful(link, record)", "reason = None",
    ),
    Mutation(
        "route_poisoning", "routing/hearing.py",
        "if record.stamp.epoch > direct.peer.record.stamp.epoch:",
    ),
    Mutation(
        "frames_given_back", "node/stragglers.py",
        "is_of_it = item.source == source and item.epoch == head[8]", "is_of_it = True",
    ),
    Mutation(
        "given_back_once", "node/stragglers.py",
        "if not self._former(target) or self.is_returned(origin, head):",
        "if not self._former(target):",
    ),
    Mutation("routing_loops", "routing/table.py", "if hop is not None and hop == came_from:"),
    Mutation("routing_loops", "node/traffic.py", "if hop_limit <= 1:"),
    Mutation(
        "repeated_publications", "node/publishing.py",
        "        self._context.statistics.publications_repeated += 1\n        return ",
        "        self._context.statistics.publications_repeated += 1\n        return passing\n"
        "        return ",
    ),
    Mutation(
        "shared_waiting", "routing/intake.py",
        "if fits and self._waiting_bytes <= self.shelf.allowed_bytes:", "if fits:",
    ),
    Mutation(
        "shared_table", "routing/hearing.py",
        "if self._heard_bytes + _kept_bytes(record) - _kept_bytes(before) > self.heard_bytes_max:",
    ),
    Mutation(
        "shared_questions", "subjects/barrier.py",
        "return self._held.get(bus_id, 0) + _cost(wanted, others) <= left", "return True",
    ),
    Mutation("shared_services", "routing/offer_room.py", "_BYTES - self._kept_bytes", "_BYTES"),
    Mutation(
        "shared_pauses", "routing/flow_control.py",
        "most = min(self._count_max, self._heard_max - self._heard_count)",
        "most = self._count_max",
    ),
    Mutation(
        "unacknowledged", "node/pacing.py", "if debts.frames > bounds.UNACKNOWLEDGED_ALL_MAX // 2:"
    ),
    Mutation("shared_windows", "node/pacing.py", "link.narrow(window)\n", "pass\n"),
    Mutation("unacknowledged_answers", "node/link.py", "self.owed.keep(item)", "pass"),
    Mutation("passing_answers", "node/courier.py", "debtor.has_room_to_pass(item)", "True"),
    Mutation("shared_passing_answers", "node/owed.py", ", least_bytes)", ", 0)"),
    Mutation("unanswered_questions", "node/courier.py", "else back.owed", "else None"),
    Mutation("dear_reads", "channels/stream.py", "if seconds > READ_SECONDS:"),
    Mutation(
        "split_horizon", "routing/telling.py",
        "return None if self.known.is_carried_by(link.feed, bus_id) else best", "return best",
    ),
    Mutation(
        "split_horizon", "routing/known.py",
        "return carriers[0].kind is Position.DOWNSTREAM", "return True",
    ),
    Mutation(
        "split_horizon", "subjects/interest.py",
        "weight = sums.beyond(self.clusters.beside(neighbor.cluster, bus_id)) - twice",
        "weight = sums.everywhere - twice",
    ),
    Mutation(
        "split_horizon", "subjects/interest.py", "weight = sums.below", "weight = sums.everywhere"
    ),
    Mutation(
        "amplification", "handshake/passive_stream.py",
        "    dialogue.greet_back(message)\n",
        "    dialogue.greet_back(message)\n    dialogue.greet_back(message)\n",
    ),
    Mutation(
        "announcement_storms", "routing/saying.py",
        "allowed_at = now if link.snapshot_at is None else link.snapshot_at + self.times.snapshot",
        "allowed_at = now",
    ),
    Mutation("announcement_decoding", "node/floodgate.py", "        channel.pause_reading()\n", ""),
    Mutation("announcement_floods", "routing/intake.py", " and now >= self._readable_at:", ":"),
    Mutation("storms", "node/upstream.py", "now + self._backoff.refused_seconds", "now + 0.25"),
    Mutation("storms", "handshake/doorkeeper.py", "if known else math.inf", "if known else 0"),
    Mutation(
        "tls_storms", "node/doorway.py",
        "self._doorkeeper.bad_handshake(origin_of(peer), self._context.now)", "pass",
    ),
    Mutation("tls_storms", "node/doorway.py", "return refusal is None", "return True"),
    Mutation("storms", "handshake/doorkeeper.py", "            self._network.take()\n", ""),
    Mutation(
        "local_storms", "node/doorway.py",
        "return min(places, self._doorkeeper.local_room(now))", "return 1_000",
    ),
    Mutation("local_storms", "node/doorway.py", " or connection.opened_at > latest)", " or True)"),
    Mutation(
        "oversized_and_malformed", "wire/framing.py",
        "if not HEAD_SIZE <= length <= limit:", "if not HEAD_SIZE <= length:",
    ),
    Mutation("oversized_and_malformed", "handshake/doorkeeper.py", "if now < until:"),
    Mutation(
        "kept_out", "node/doorway.py",
        "self._doorkeeper.breach(origin_of(peer), self._context.now)", "pass",
    ),
    Mutation("compression_bombs", "wire/compression.py", "if said.content_size != size or ", "if "),
    Mutation(
        "compression_bombs", "wire/compression.py",
        "payload = press.decompress(data, size + 1)", "payload = press.decompress(data)",
    ),
    Mutation("compression_bombs", "wire/compression.py", "if total > FRAME_BYTES_MAX:"),
    Mutation(
        "compression_bombs", "node/squeezing.py",
        "if ratio_of(frame, restored) > bounds.COMPRESSION_RATIO_ALARM:",
    ),
    Mutation(
        "slow_loris", "node/doorway.py",
        "if len(alike) < self._context.config.pending_handshakes:", "if True:",
    ),
    Mutation(
        "slow_loris", "node/doorway.py",
        "if not origin_of(peer) or len(rivals)", "if True or len(rivals)",
    ),
    Mutation(
        "silent_tls", "channels/tls.py",
        "if len(self.handshakes) <= limits.PENDING_HANDSHAKES_MAX:", "if True:",
    ),
    Mutation(
        "silent_tls", "channels/tls.py",
        "if not origin_of(peer) or len(rivals)", "if True or len(rivals)",
    ),
    Mutation(
        "unfinished_messages", "nats/grammar.py",
        "                if verb not in _ENDLESS and len(argument) > self.line_bytes_max:",
        "                if False:",
    ),
    Mutation(
        "unfinished_requests", "nats/sites.py", "super().gotLength(0)", "super().gotLength(length)"
    ),
    Mutation("names_of_headers", "nats/sites.py", 'b"" if is_long else line', "line"),
    Mutation(
        "late_requests", "nats/websocket.py",
        "self._waiting = gateway.timers.callLater(seconds, transport.abortConnection)", "pass",
    ),
    Mutation("remembered_clients", "nats/session.py", "self._grammar.end()", "pass"),
    Mutation("remembered_clients", "nats/session.py", "self.options.remembered()", "self.options"),
    Mutation("remembered_answers", "nats/session.py", "self.rights.end()", "pass"),
    Mutation(
        "deep_subscriptions", "subjects/pattern.py", "if len(tokens) > limits.SUBJECT_TOKENS_MAX:"
    ),
    Mutation("deep_subscriptions", "subjects/pattern.py", "if size_bytes > limits.SUBJECT_BYTES:"),
    Mutation(
        "deep_subscriptions", "subjects/room.py",
        "if not self._has_room(neighbor, wanted, cost_bytes):",
    ),
    Mutation(
        "before_registration", "handshake/machine.py",
        "return self._give(lambda: self._machine.other(message))", "return []",
    ),
    Mutation(
        "slow_consumer", "node/pacing.py",
        "                self._cut(connection)\n", "                pass\n",
    ),
    Mutation(
        "slow_consumer", "routing/slow_readers.py",
        "is_kept_out = before is not None and now - before[0] < self.again_seconds",
        "is_kept_out = False",
    ),
    Mutation(
        "shared_memory", "channels/lane_reader.py",
        "if not 0 < size <= self.record_max or place + RECORD_HEAD_BYTES + size > limit:",
        "if not size:",
    ),
    Mutation(
        "shared_memory", "channels/lane_reader.py",
        "        if not 0 <= unread <= self.capacity or unread % 8:\n"
        '            raise MalformedFrame(f"a lane of {self.capacity} bytes '
        'has {unread} unread")\n        return unread\n\n    @property\n'
        "    def is_quiet",
        "        return unread\n\n    @property\n    def is_quiet",
    ),
    Mutation(
        "lane_memory", "channels/incoming_lane.py",
        "            fcntl.fcntl(self._memory_descriptor, fcntl.F_ADD_SEALS, SEALS)\n", "",
    ),
    Mutation("lane_memory", "channels/outgoing_lane.py", "if seals & SEALS != SEALS:"),
    Mutation("doorbells", "channels/bell.py", "if kind != (socket.AF_UNIX, socket.SOCK_DGRAM):"),
    Mutation(
        "doorbells", "channels/bell.py",
        "self._socket.send(_STROKE, _RINGING)", "self._socket.send(_STROKE)",
    ),
    Mutation(
        "unix_sockets", "channels/unix.py",
        "bounds.LOCAL_BACKLOG, 0o600,", "bounds.LOCAL_BACKLOG, 0o666,",
    ),
    Mutation("unix_sockets", "channels/unix.py", "if uids is not None and uid not in uids:"),
    Mutation(
        "users_of_sockets", "channels/unix.py",
        "greet=_greet_listener if dialled else _greet_dialler,",
        'greet=lambda _transport: "unix:",',
    ),
    Mutation(
        "token_replay", "handshake/access_token.py",
        "text = _LABEL + side.value + transcript + exporter",
        "text = _LABEL + side.value + exporter",
    ),
    Mutation(
        "token_replay", "handshake/access_token.py",
        "text = _LABEL + side.value + transcript + exporter",
        "text = _LABEL + transcript + exporter",
    ),
    Mutation(
        "relayed_proof", "handshake/access_token.py",
        "text = _LABEL + side.value + transcript + exporter",
        "text = _LABEL + side.value + transcript",
    ),
    Mutation(
        "downgrade", "handshake/access_token.py",
        "hashlib.sha256(dialler_hello + listener_hello)", "hashlib.sha256(listener_hello)",
    ),
    Mutation(
        "old_tls", "channels/credentials.py", "        context.set_min_proto_version(oldest)\n", ""
    ),
    Mutation(
        "other_protocols", "channels/tls.py", "if connection.get_alpn_proto_negotiated() != ALPN:"
    ),
    Mutation(
        "bad_tls", "channels/tls.py",
        "            self._check_name(connection)\n", "            pass\n",
    ),
    Mutation(
        "bad_certificates", "channels/credentials.py",
        "context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _note_fault)",
        "context.set_verify(SSL.VERIFY_PEER, lambda *_: True)",
    ),
    Mutation(
        "refused_by_tls", "channels/tls.py",
        "if not alert or not self.dialled or self.read_bytes:", "if True:",
    ),
    Mutation(
        "expired_or_revoked", "channels/tls.py",
        "if self._factory.credentials.is_revoked(self.certificate):",
    ),
    Mutation("expired_or_revoked", "channels/tls.py", "if seconds_until(peer.expires) <= 0:"),
    Mutation("revoked_authority", "channels/credentials.py", ", *(peer.between or ()))", ",)"),
    Mutation(
        "removed_authority", "channels/tls.py",
        "elif not self._factory.credentials.is_believed(self.certificate):", "elif False:",
    ),
    Mutation("removed_authority", "channels/tls.py", "if not self.credentials.is_believed(peer):"),
    Mutation(
        "removed_authority", "channels/tls_files.py",
        "return hashlib.sha256(certificate.subject.public_bytes() + key).digest()",
        "return hashlib.sha256(certificate.signature).digest()",
    ),
    Mutation(
        "unfinished_files", "channels/tls_files.py",
        "(whole(Path(path).read_bytes()))", "(Path(path).read_bytes())",
    ),
    Mutation(
        "worse_certificate", "channels/credentials.py",
        "if found.rank() >= kept.rank():", "if True:",
    ),
    Mutation(
        "worse_certificate", "channels/credentials.py",
        "if reading.faults and found == used:", "if reading.faults:",
    ),
    Mutation(
        "worse_certificate_of_gateway", "nats/own_certificate.py",
        "if outlook.standing >= before.standing:", "if True:",
    ),
    Mutation(
        "forgotten_authority", "channels/tls.py",
        "elif self.certificate.between is None:", "elif False:",
    ),
    Mutation(
        "denied", "rights.py",
        "if ids is not None and any(each.overlaps(ids) for each in self._denied):",
    ),
    Mutation(
        "denied_tools", "node/judging.py",
        "return rights.refuses_all(Who(who.allowed, who.labels, temporary=True))", "return None",
    ),
    Mutation(
        "denied_meanwhile", "node/judging.py",
        "return rights.refuses_all(Who.node(bus_id, who.labels))", "return None",
    ),
    Mutation(
        "file_of_denied_ids", "node/permits.py",
        "if path is not None and _stamp(path) != self._stamp:",
    ),
    Mutation(
        "rights", "rights.py",
        "is_allowed = is_allowed or allows(things)",
        "if allows(things):\n                    return None",
    ),
    Mutation(
        "right_to_register", "node/permits.py",
        "refusal = rights.refuses_registration(who, endpoint.position)", "refusal = None",
    ),
    Mutation(
        "right_to_publish", "node/publishing.py",
        "return rights.refuses_publication(rights.who(source), way.tokens)", "return None",
    ),
    Mutation(
        "right_to_subscribe", "node/spreading.py",
        "return rights is None or rights.refuses_delivery(rights.who(neighbor), subject) is None",
        "return True",
    ),
    Mutation(
        "right_to_run_commands", "node/commands.py",
        'refusal = rights.refuses_command(who, name.decode("utf-8", "replace"))',
        "refusal = None",
    ),
    Mutation(
        "stream_endpoints", "node/stream_port.py",
        "return rights.refuses_stream(who, opening.service)", "return None",
    ),
    Mutation(
        "gateway_injection", "subjects/pattern.py",
        "if not literal_wildcards and (ANY in tokens or REST in tokens):",
    ),
    Mutation("gateway_injection", "subjects/pattern.py", "if found is not None:"),
    Mutation("registry_values", "discovery/documents.py", 'if self.id("id") != key.bus_id:'),
    Mutation(
        "registry_values", "discovery/documents.py", "if len(value) > bounds.REGISTRY_VALUE_BYTES:"
    ),
    Mutation(
        "discovery_takeover", "handshake/dialogue.py",
        "if local.expected_id not in (0, hello.source):",
    ),
    Mutation(
        "discovery_takeover", "node/topology.py",
        "Candidate(address, each.bus_id)", "Candidate(address)",
    ),
    Mutation(
        "discovery_takeover", "node/running.py",
        "expected_id = candidate.expected_id", "expected_id = 0",
    ),
    Mutation(
        "discovery_takeover", "node/upstream.py", " and not self._is_misled(failure.value)", ""
    ),
    Mutation("discovery_takeover", "handshake/dialogue.py", "if said.get(key, wanted) != wanted:"),
    Mutation(
        "poisoned_peer", "node/peers.py",
        "self._dialer.connect(address, expected_id=expected_id)", "self._dialer.connect(address)",
    ),
    Mutation(
        "poisoned_direct", "node/directs.py",
        "self._dialer.connect(choice.address, expected_id=choice.bus_id)",
        "self._dialer.connect(choice.address)",
    ),
    Mutation(
        "poisoned_notice", "node/notices.py",
        "self._dialer.connect(address, expected_id=message.target)",
        "self._dialer.connect(address)",
    ),
    Mutation("admin_page", "web.py", "", ""),
    Mutation("monitor_page", "nats/browsers.py", "if site not in _OURS:"),
    Mutation(
        "monitor_page", "nats/browsers.py",
        "if asked is not None and _is_loopback(listens_at) and not _is_own_name(asked):",
    ),
    Mutation(
        "pickles", "node/toml.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nimport pickle  # noqa\n",
    ),
    Mutation(
        "pickles", "node/toml.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nfrom multiprocessing import Pipe  # noqa\n",
    ),
    Mutation(
        "pickles", "node/toml.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nfrom concurrent import futures  # noqa\n",
    ),
    Mutation("log_injection", "errors.py", "if text.isprintable():", "if True:"),
    Mutation(
        "log_floods", "node/journal.py",
        "        self.write(event, sentence, level)\n        self._hold(event, peer, level)\n",
        "        self.write(event, sentence, level)\n",
    ),
    Mutation(
        "log_injection", "node/journal.py", "sentence=printable(sentence)", "sentence=sentence"
    ),
    Mutation(
        "secrets", "node/config.py",
        "hidden = OPTIONS[name].secret or name in TABLES_WITH_SECRETS", "hidden = False",
    ),
    Mutation(
        "secrets", "node/reading.py",
        "'...' if is_secret(str(key)) else repr(self._items[key])", "repr(self._items[key])",
    ),
    Mutation(
        "canaries_on_a_bus", "handshake/epilogue.py",
        "none of which fits one of {len(tokens)} tokens", "none of which fits one of {tokens}",
    ),
    Mutation(
        "canaries_of_clients", "nats/session.py",
        "        verdict = self._judge(options)\n",
        "        verdict = self._judge(options)\n"
        "        effects.append(Write(operation.options))\n",
    ),
    Mutation(
        "canaries_in_files", "node/toml.py",
        "safe = (key for key in value if not is_secret(key))", "safe = value",
    ),
)
