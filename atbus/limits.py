"""
Every bound of atbus, with its reason.

Nothing in a bus may grow without end, so whatever is counted, buffered or waited for has its bound
here and nowhere else. Those that a node's configuration can change are defaults; the others are
what makes two nodes of different makers understand each other. Units stand last in the name, bytes
are bytes, seconds are seconds; ``MAX`` and ``MIN`` only where the name would not say which it is.

The bounds depend on each other; ``tests/test_limits.py`` does the arithmetic.
"""

from __future__ import annotations

from typing import Final

# Frames and messages

#: The head of every frame (wire protocol, section 2).
FRAME_HEAD_BYTES: Final = 48

#: The longest frame between hosts unless the two sides settle on less. 64 KiB is what one read of
#: a socket brings, so that bulk cannot keep a ping waiting for long; zenoh's batches are as long.
FRAME_BYTES: Final = 65_536
#: The same within a host, where a frame waits for no network: a message of 256 KiB in one piece.
FRAME_BYTES_NEAR: Final = 266_240
#: The least a side may ask for: a registration has to fit.
FRAME_BYTES_MIN: Final = 4_096
#: The most a side may ask for. More buys no speed (fragments are cheap) and costs latency.
FRAME_BYTES_MAX: Final = 1_048_576

#: All extras of one frame together: a full trace and the headers of a request, and still half
#: of the smallest frame is left for the body.
EXTRAS_BYTES: Final = 2_048

#: Messages in one DATA frame. At 16 bytes each the frame is full before; this bounds the work on
#: frames of empty messages.
RUN_COUNT_MAX: Final = 4_096

#: The longest payload unless configured; as in NATS. libatbus has 256 KiB.
MESSAGE_BYTES: Final = 1_048_576

#: The longest payload that can be configured; as in NATS. Beyond it a bus is the wrong tool.
MESSAGE_BYTES_MAX: Final = 67_108_864

#: Messages being put together from fragments, those of one source: as much as may be queued
#: towards it. Raised with the longest payload where that is configured.
REASSEMBLY_SOURCE_BYTES_MAX: Final = 8_388_608
#: The same for all sources of a node: half of what it may queue.
REASSEMBLY_BYTES_MAX: Final = 33_554_432
#: How many they may be: each costs its own bookkeeping, however short it is.
REASSEMBLY_COUNT_MAX: Final = 1_024

#: How long one of them may make no progress. Fragments follow each other on one path, so a gap
#: as long as a slow link's deadline means that the rest was lost.
REASSEMBLY_SECONDS: Final = 10.0

#: Nodes that may pass a message on; libatbus's number. A tree three regions deep needs eight.
HOPS: Final = 16

#: What is given as the reason in words: enough for a sentence, too little to carry an attack.
DETAIL_BYTES: Final = 256

#: The bytes of hostile input that get into one line of a log.
LOGGED_INPUT_BYTES: Final = 32

# Before registration: what a stranger can make a node hold

#: The longest frame before registration: NATS allows as much for its CONNECT line.
HANDSHAKE_BYTES: Final = 4_096

#: From accepting or dialing to registered. NATS has 2 s, tight for Python when a thousand nodes
#: come back at once; libatbus has 30 s, which is a gift to whoever holds connections open.
HANDSHAKE_SECONDS: Final = 5.0

#: From dialing to connected. The kernel would try for two minutes.
CONNECT_SECONDS: Final = 5.0

#: Connections to one node that have not registered, over the network, and as many over unix
#: sockets; and TLS handshakes of one listener. libatbus's backlog; the oldest silent one gives way.
PENDING_HANDSHAKES_MAX: Final = 128
#: The same, from one remote address: one stranger cannot use up all places.
PENDING_HANDSHAKES_PER_ADDRESS_MAX: Final = 32

#: Handshakes a node begins in one second, about a third of a core; the rest is closed at accept.
HANDSHAKES_PER_SECOND: Final = 300

#: Breaches of the protocol from one address in a minute before it is not listened to.
BREACHES_PER_MINUTE: Final = 5
#: How long it is not listened to then.
BAN_SECONDS: Final = 60.0

#: Tokens valid at once; libatbus's number. Rotation needs two.
ACCESS_TOKENS_MAX: Final = 5

#: One token. HMAC hashes what is longer than 64 bytes anyway.
ACCESS_TOKEN_BYTES: Final = 1_024

#: One proof: SHA-256.
PROOF_BYTES: Final = 32

#: The challenge in HELLO: nobody meets the same one twice.
NONCE_BYTES: Final = 16

# What a node may say about itself; all of it fits HANDSHAKE_BYTES

#: Ranges of one node. Merged ranges of a planned range are one or two.
SUBNETS_MAX: Final = 16

#: Addresses of one node: mem, shm, unix, and a few of the network, with and without TLS.
ADDRESSES_MAX: Final = 8

#: One address. The longest that means anything is a name of 253 bytes under ``tls+dns``: 269.
ADDRESS_BYTES: Final = 272

#: Labels of one node.
LABELS_MAX: Final = 16

#: All labels of one node, keys and values together.
LABELS_BYTES: Final = 512

#: A host identity: two identifiers of 32 digits and what stands between.
HOST_BYTES: Final = 96

#: A process identity: the host's short name, pid and start.
PROCESS_BYTES: Final = 96

#: A host name, as DNS has it.
HOSTNAME_BYTES: Final = 253

#: The name and version of the program.
SOFTWARE_BYTES: Final = 64

# Liveness

#: Between two pings; libatbus's number, which came down from 60.
HEARTBEAT_SECONDS: Final = 8.0

#: Unanswered pings that are forgiven; the next one is not: 8 s x (2 + 1) = 24 s.
HEARTBEAT_TOLERANCE: Final = 2

#: Between two pings with ``profile = "fast"``.
FAST_HEARTBEAT_SECONDS: Final = 1.0

#: Unanswered pings forgiven then: 1 s x (3 + 1) = 4 s, well before the 7 s within which even a
#: vanished host has to be known.
FAST_HEARTBEAT_TOLERANCE: Final = 3

#: The part of an interval that is taken off at random, so that the pings of a thousand nodes
#: spread. Only taken off: added, it would make the 24 s untrue.
HEARTBEAT_JITTER: Final = 0.1

#: A node whose own loop was late by more than this part of an interval accuses nobody in it.
SELF_LAG_FRACTION: Final = 0.5

#: A callback that holds the loop for longer is named in an event.
LAG_SECONDS: Final = 0.25

#: Between two looks at what has no timer of its own. It is also how a node notices its own lag,
#: so a look and the lag that is tolerated fit half of the shortest heartbeat.
SWEEP_SECONDS: Final = 0.25

#: How long the holder of an id has to answer when somebody else claims it; the claimant is
#: waiting in its handshake.
CHALLENGE_SECONDS: Final = 2.0

# Connecting again

#: The first wait, before the random part: a process that restarts is back in less.
RECONNECT_SECONDS: Final = 0.25

#: Each wait is so many times the one before: ten of them to the longest.
RECONNECT_FACTOR: Final = 1.7

#: The longest wait, as in NATS: what is dead for a minute costs nothing, what comes back is
#: found within half a minute.
RECONNECT_SECONDS_MAX: Final = 30.0

#: Between two attempts to make a data connection to an endpoint that has none; libatbus's number.
DATA_REDIAL_SECONDS: Final = 3.0

#: An endpoint that still has none then is given up; libatbus's number. Ten attempts.
DATA_CONNECTION_SECONDS: Final = 30.0

#: The wait after an explicit refusal: asking again at once changes no mind.
REFUSED_SECONDS: Final = 30.0

#: One-way channels that could not be opened and are left alone for a while, per node.
RINGS_REFUSED_MAX: Final = 4_096

# Shared memory

#: One lane: fifteen of the longest frames within a host. A reader that is not run for a moment lets
#: a smaller one fill, and to wait, to be told and to go on costs both more than the frames do.
LANE_BYTES: Final = 4_194_304

#: The smallest lane: frames of the least length, several at once.
LANE_BYTES_MIN: Final = 32_768

#: The largest lane that is mapped when it is offered: what a hostile neighbor can make us map.
LANE_BYTES_MAX: Final = 4_194_304

#: Lanes that a node offers at once, each of the usual size; more writers use their sockets, which
#: are better than lanes that are small. 64 processes that all talk to all have 256 MiB of them.
LANES_MAX: Final = 1

# Queues

#: Towards one endpoint: above this the neighbors that feed it are told to pause, and at half of it
#: to go on, so that pausing does not flutter. Two thresholds as in Redis, scaled to Python.
QUEUED_BYTES_SOFT: Final = 2_097_152

#: Above this messages are refused by name.
QUEUED_BYTES_HARD: Final = 8_388_608
#: What passes has so many times that besides: 10 MiB in the kernel may follow the word to pause.
QUEUED_BEHIND_FACTOR: Final = 2

#: Control traffic has its own room: a full queue must not keep out what would drain it.
CONTROL_QUEUED_BYTES: Final = 262_144

#: All queues of a node together. A node in a container of 256 MiB stays alive.
NODE_QUEUED_BYTES: Final = 67_108_864

#: Of what is queued on a link so much is in the channel, in the order in which it leaves; the rest
#: waits by destination and takes turns. Enough for what one turn of the loop can write.
CHANNEL_BYTES: Final = 1_048_576

#: What a frame that waits costs besides its bytes.
WAITING_FRAME_BYTES: Final = 256

#: Frames of one destination for which a node answers, beyond which those who feed it are told to
#: pause: an eighth of a link's window. A frame that is acknowledged only after 100 ms on a long
#: line still allows twenty thousand of them a second.
DESTINATION_FRAMES_SOFT: Final = 2_048

#: The part of what is left of a link's window that one destination may have: with fifty that are
#: stuck, a seventh of the window is left for the others.
DESTINATION_WINDOW_PARTS: Final = 8

#: So many times the mark at which its feeders are told to pause, a destination's frames are
#: refused: what was on its way when they were told has come by then.
DESTINATION_FRAMES_HARD_FACTOR: Final = 2

#: Pauses that a neighbor may ask for, and that a node asks for: as many as it has compiled targets.
PAUSES_MAX: Final = 16_384

#: Messages that the program has been given and not dealt with (a receiver has returned a Deferred,
#: or is paused): above this many bytes their senders are told to pause. As much as one queue.
WINDOW_BYTES: Final = 8_388_608
#: The same by count: each costs a Deferred and what it waits with, a few kilobytes.
WINDOW_COUNT_MAX: Final = 8_192

#: So many times the window, messages are refused: what was on its way has come by then.
WINDOW_HARD_FACTOR: Final = 4

#: Above the soft bound for so long, an endpoint is slow and is named.
SLOW_SECONDS: Final = 10.0

#: Without one byte of progress for so long, its link is closed; NATS's number.
WRITE_DEADLINE_SECONDS: Final = 10.0

#: Messages to one target whose connection is being made: as much as a queue may be for long.
PENDING_BYTES: Final = 2_097_152
#: How many they may be: each costs its own bookkeeping, however short it is.
PENDING_COUNT_MAX: Final = 4_096

#: How long they wait, as in libatapp; a connection that takes longer has failed once and is in
#: its backoff.
PENDING_SECONDS: Final = 8.0

#: Runs whose source cannot be verified yet wait so long: a record that vouches for it may travel
#: on another connection. A FLUSH that waits behind them is not given up.
UNVERIFIED_SECONDS: Final = 0.2
#: And so many of them, per neighbor: dozens of nodes may have moved to it at once.
UNVERIFIED_RUNS_MAX: Final = 4_096

# Links

#: A frame that nothing answers is acknowledged after this time. Long enough to find something
#: to ride on, short enough that sixteen hops of it stay within a second.
ACK_DELAY_SECONDS: Final = 0.05
#: Or after so many frames.
ACK_FRAMES_MAX: Final = 32
#: Ranges in one LINK_ACK: it fits the smallest frame, and with one range for each frame that a
#: read can bring a few of them say everything.
ACK_RANGES_MAX: Final = 256

#: What arrives within this time of an answer that left at once waits for the end of the turn: under
#: load one write carries what many messages brought about.
GATHER_SECONDS: Final = 0.000_02
#: A node is busy when so many writes to its connections ...
BUSY_WRITES: Final = 8
#: ... fall into so short a time: it does little else then.
BUSY_SECONDS: Final = 0.000_5
#: It gathers on a connection, turn by turn while there is more, about so many bytes ...
GATHER_BYTES: Final = 8_192
#: ... and so long at most, for a write costs as much as twenty short messages.
GATHER_SECONDS_MAX: Final = 0.005
#: Seconds between two looks whether what is gathered still grows, when half of it is not there yet;
#: what a program says of its own accord is looked at at the end of each turn, where that is told.
GATHER_LOOK_SECONDS: Final = 0.000_5

#: Frames on their way, per link; beyond it nothing more is accepted. All of them are uncertain when
#: the link dies. Destinations that are stuck have a part of it each, so a narrow window would let
#: a few of them stop the others; an entry is about 300 bytes.
UNACKNOWLEDGED_FRAMES_MAX: Final = 16_384

#: A planned change of path waits so long for its FLUSH; then the order is given up, and said so.
FLUSH_SECONDS: Final = 1.0

#: From GOODBYE to the other side's GOODBYE_ACK: it may have a full queue to write before.
GOODBYE_SECONDS: Final = 1.5

#: Reading on after the last word, so that closing does not reset what is in flight.
LINGER_SECONDS: Final = 0.5

#: Between two looks at connections that are closing: a fraction of what either step may take.
LEAVING_POLL_SECONDS: Final = 0.02

#: Remote nodes with a registration. More belong behind another proxy.
ENDPOINTS_MAX: Final = 4_096

#: What is kept of nodes that are gone, so that the next life of each begins above its last one.
EPOCHS_REMEMBERED_MAX: Final = 16_384

# What is remembered to be quick, or to say things once; the oldest is forgotten, or all of it

#: Targets that this node sends to, each with its next sequence. Ten thousand nodes are usual
#: in a large bus, and none of them may fall out in each round.
FLOWS_MAX: Final = 32_768

#: Targets whose next hop is known to this version of the table.
COMPILED_TARGETS_MAX: Final = 16_384

#: Sources that one neighbor has been found to speak for.
VOUCHED_SOURCES_MAX: Final = 16_384

#: Failures already told to the program, so that each is told once.
FATES_REMEMBERED_MAX: Final = 4_096

#: Flows of which a relay has given up a message in fragments, so that the rest of it is not passed
#: on and its origin is told once.
FRAGMENTS_GIVEN_UP_MAX: Final = 1_024

#: Pairs of neighbors that were told of each other's address.
NOTICES_REMEMBERED_MAX: Final = 4_096

#: A pair is told again after this time, if it still talks through here: a dial and a handshake
#: have failed by then.
NOTICE_INTERVAL_SECONDS: Final = 15.0

#: Messages of a node to itself that are delivered in one turn; libatbus's number. The loop gets
#: its turn even when each message makes the next.
SELF_MESSAGES_PER_TURN: Final = 128

# Requests and commands

#: How long ``request`` waits unless told otherwise.
REQUEST_SECONDS: Final = 5.0

#: How long ``deliver`` waits unless told otherwise: a pending queue's time, so that it hears
#: from it.
DELIVER_SECONDS: Final = 8.0

#: Answers that one node waits for at once.
EXPECTATIONS_MAX: Final = 65_536

#: One command with its arguments, or one response with its lines; they are not fragmented.
COMMAND_BYTES: Final = 32_768

#: Arguments of one command.
COMMAND_ARGUMENTS_MAX: Final = 256

#: Lines of one response; with the four bytes of length that each costs they fit the frame.
COMMAND_LINES_MAX: Final = 1_024

#: All responses to one command together: as long as a message.
COMMAND_ANSWER_BYTES: Final = 1_048_576

#: Answers whose way back is just gone wait for the next one: so many, ...
PARKED_RESPONSES_MAX: Final = 1_024

#: ... and so long. Whoever waits for them is gone soon after.
PARKED_RESPONSE_SECONDS: Final = 5.0

# Topology

#: Records of nodes in one registry: ten times a large bus. One takes about a kilobyte.
RECORDS_MAX: Final = 131_072

#: Nodes above a node. No message can pass more: its hop limit is one byte.
CHAIN_NODES_MAX: Final = 255

#: Ids in all remembered chains of upstreams together: those of 100,000 nodes, ten deep.
CHAINS_REMEMBERED_IDS_MAX: Final = 1_048_576

#: Targets to which a direct connection is wanted; more are reached through the tree meanwhile.
DIRECT_TARGETS_MAX: Final = 1_024

#: Of those, the ones for which messages wait because there is no other way: each may hold
#: ``PENDING_BYTES``.
PROSPECTS_MAX: Final = 16

#: Attempts to connect directly before it is given up; libatapp's number.
DIRECT_ATTEMPTS_MAX: Final = 5

#: The first wait between two of them, as in libatapp; each is twice the one before, ...
DIRECT_RETRY_SECONDS: Final = 2.0

#: ... up to this. There is another way, or the messages have been answered by then.
DIRECT_RETRY_SECONDS_MAX: Final = 16.0

# Route tables and subjects

#: Records in one ROUTE_BATCH; the sender ends it earlier when the frame is full.
ROUTE_BATCH_RECORDS_MAX: Final = 1_000

#: Batches to one neighbor that the kernel has not taken yet: two keep a link busy, and pings wait
#: for no more.
ROUTE_BATCHES_AHEAD_MAX: Final = 2
#: Changes that one neighbor was not told yet, eight batches; beyond it is told everything anew.
ROUTE_BACKLOG_MAX: Final = 8_000
#: Nodes that a table holds. At about 500 bytes each that is what may be queued to four neighbors.
ROUTE_RECORDS_MAX: Final = 65_536
#: Records that all neighbors together may have told: each is usually told by one or two.
ROUTE_HEARD_MAX: Final = 262_144
#: Changes are gathered for so long; three hops of it are less than a run waits for its voucher.
ROUTE_GATHER_SECONDS: Final = 0.05
#: A downstream whose link broke is reported dead after this time; most come back in less.
CHILD_GRACE_SECONDS: Final = 2.0
#: A node that lost its upstream says so after this time: before the upstream says it.
UPSTREAM_PATIENCE_SECONDS: Final = 1.0
#: What a lost upstream has told is kept for so long: four of the longest pauses between dials.
PARENT_GRACE_SECONDS: Final = 120.0
#: That a node is dead is kept for so long, more than twice as long as a table without upstream.
TOMBSTONE_SECONDS: Final = 600.0
#: So many of them, the oldest is forgotten: one for each node of a full table.
TOMBSTONES_MAX: Final = 65_536
#: Between two answers to the word that oneself is dead: a replay must not make a storm.
REFUTATION_SECONDS: Final = 1.0
#: A neighbor that can tell its own record does so within this time; then one is made for it.
OWN_WORD_SECONDS: Final = 1.0
#: Between two snapshots to one neighbor, however often it asks.
SNAPSHOT_SECONDS: Final = 1.0
#: Changes of one node that are told as they come: to start, to move and to be drained are three.
ROUTE_CHANGES_AT_ONCE: Final = 5
#: Beyond them one change is told in this time: who flaps costs two messages per link in ten.
ROUTE_CHANGE_SECONDS: Final = 5.0

#: A subject; as in NATS, where more is legal and nobody does it.
SUBJECT_BYTES: Final = 255

#: Its tokens. Matching is iterative, this bounds the work of one match.
SUBJECT_TOKENS_MAX: Final = 16

#: Subjects whose matches are remembered per index, as in NATS.
MATCHES_REMEMBERED_MAX: Final = 1_024

#: Publishers whose publications are told from repetitions at once, ...
PUBLISHERS_REMEMBERED_MAX: Final = 4_096

#: ... and how far behind a publisher's newest one a late one may be and still be recognized. Ways
#: through a mesh differ by what waits on two links, not by more.
PUBLICATIONS_REMEMBERED_MAX: Final = 4_096

#: Branches that a publication names as served. A node with more peers relies on the numbers.
SERVED_BRANCHES_MAX: Final = 64

#: Memory for the patterns and groups that one neighbor tells of; all together may have four times
#: as much. All that is behind a proxy counts: it is enough for 100,000 of the usual kind, of 20
#: letters and four tokens, and for 40,000 of the dearest. A container of 256 MiB has room for it.
INTEREST_BYTES: Final = 100_663_296

#: Members of a queue group; the field on the wire has 32 bits.
INTEREST_WEIGHT_MAX: Final = 4_294_967_295

#: Entries in one INTEREST; a replay of more is several frames. Reading as many takes 8 ms.
INTEREST_ENTRIES_MAX: Final = 1_000

# TLS

#: How long the end of a certificate is trusted to lie where the calendar says now: clocks are set.
CERTIFICATE_LOOK_SECONDS: Final = 3_600.0

# Leaving

#: A drain in all, less than the 30 s after which Kubernetes kills. No part of it is kept for giving
#: notice: those below move as soon as they are told, and have all but the end of it to do so
#: (``DRAIN_MOVE_FRACTION``).
DRAIN_SECONDS: Final = 20.0

#: In which links are closed; of a neighbor that is left, since it took, or kept, something.
DRAIN_CLOSE_SECONDS: Final = 2.0

# Logs

#: One line per event and peer in this time, then a line that counts the rest.
LOG_INTERVAL_SECONDS: Final = 10.0

#: Pairs of event and peer that are held down at once; beyond it all peers of an event share one.
LOG_SUBJECTS_MAX: Final = 1_024
