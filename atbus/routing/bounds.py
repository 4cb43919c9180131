"""
The bounds of services and of moves, with their reasons; `atbus.limits` has those of the bus.
"""

from __future__ import annotations

from typing import Final

#: One word of a service, and one label with its key: as long as a name in Kubernetes may be.
SERVICE_TEXT_BYTES: Final = 253

#: What an application adds to its service: everybody who watches reads it.
SERVICE_DATA_BYTES: Final = 4_096

#: Filters for which there is an index; beyond it the one that was asked for longest ago goes.
SERVICE_FILTERS_MAX: Final = 256

#: Frames whose source cannot be verified yet, of one neighbor: what has waited somewhere for word
#: of a node comes in one go when that is there, and it travels another connection, ...
UNVERIFIED_SHARE_BYTES: Final = 1_048_576

#: ... and of all neighbors together: several can have such news, and it is little beside a node's
#: budget.
UNVERIFIED_BYTES: Final = 4_194_304

#: Sources that cannot be verified yet, of one neighbor: each is looked at whenever more is known.
UNVERIFIED_SOURCES_MAX: Final = 64

#: News whose source cannot be verified yet wait so long, as long as those that have no way: nobody
#: is told when they are not believed.
UNVERIFIED_NEWS_SECONDS: Final = 5.0

#: The longest that a frame waits for word of its source while the neighbor that has brought it has
#: not told its table yet: longer than a satellite and back, and a FLUSH behind it is not given up.
EARLY_SECONDS: Final = 0.8

#: For so long after it has registered a neighbor may still be about to tell its table: that of a
#: thousand nodes comes in half of it over the slowest link that a bus is meant for. After that its
#: frames wait no longer than those of others.
EARLY_TABLE_SECONDS: Final = 5.0

#: When so much of a neighbor waits for its table, no more is read of it for a moment: what it holds
#: for those behind it waits with it.
EARLY_ENOUGH_BYTES: Final = 131_072

#: What may wait of one neighbor all the same: the rest of what was read at once, in short frames,
#: each of which counts more than its bytes, ...
EARLY_SHARE_BYTES: Final = 1_048_576

#: ... and of all together: eight regions whose proxies come back at the same moment.
EARLY_BYTES: Final = 8_388_608

#: Sources of which a neighbor brings something before its table: as many as a proxy has below it.
EARLY_SOURCES_MAX: Final = 1_024

#: Destinations whose last next hop is remembered, so that another one does not overtake it: those
#: of all flows that a node remembers.
WAYS_MAX: Final = 32_768

#: A node that has moved may be spoken for by those around its former upstream as long as that one
#: may take to drain.
FORMER_PLACE_SECONDS: Final = 20.0

#: So many frames of those that a neighbor answers for, the oldest, are looked through for one that
#: it gives back: what is behind them will be among them when they are discharged.
RETURNED_LOOK_FRAMES: Final = 512

#: Nodes whose former upstream is remembered: what one proxy has below it.
FORMER_PLACES_MAX: Final = 4_096

#: Former upstreams of one node that are remembered: a node whose upstreams leave one after the
#: other, as when all are replaced by newer ones, passes so many in that time.
FORMER_PLACES_EACH: Final = 4

#: Of how many nodes that were below us, and have left, automatic nodes get no id of their ranges:
#: as many as one root has proxies. A hundred and thirty bytes for each range.
FORMER_RANGES_MAX: Final = 256

#: When nothing has come for so long, nothing more comes along a way that others have left: as long
#: as the answer to a FLUSH may take.
QUIET_SECONDS: Final = 1.0

#: Who is cut because it does not read, a second time within so long, was not merely stopped once: a
#: cut takes ten seconds, and whatever stops a process now and then does so more seldom.
SLOW_AGAIN_SECONDS: Final = 120.0

#: ... and is kept out for so long: as long as others who are refused wait before they ask again.
SLOW_OUT_SECONDS: Final = 30.0

#: So long a direct connection is kept that serves nobody: a proxy that is restarted, and those that
#: move away from it meanwhile, are back by then.
PASSIVE_SECONDS: Final = 30.0

#: So long a node is silent to those above it on one that has moved from it to another place: nearly
#: as long as the one that moved still takes what comes by its old way.
PARTING_SECONDS: Final = 0.8

#: How much of the time that a node has for its stop may pass until those below it have moved and
#: nothing comes any more; the rest is for closing the connections.
DRAIN_MOVE_FRACTION: Final = 0.9

#: New services that are prepared for choices by key in one sweep, of which there are four a second:
#: a few milliseconds.
SERVICES_IN_SWEEP: Final = 100

#: Words on nodes that one neighbor may tell in one go: two snapshots of a bus of 10,000 nodes. Who
#: has most of one below it, and tells that all of them have left and are back under another proxy,
#: says both of them at once, and at 10,000 the second half would wait.
ROUTE_WORDS_BURST: Final = 20_000

#: ... and in each second after that: all of 10,000 nodes leave and come once more in four, within
#: the five that a bus may take whose halves meet again; at 1,000 it would be twenty. Of a processor
#: a word takes 17 us if it says nothing new, ten of them to decode, and 26 if it does, so who never
#: stops costs a node 9 to 13 % of one, and is named; what others are then told of it is apart.
ROUTE_WORDS_PER_SECOND: Final = 5_000

#: Words of all neighbors that are read or forgotten in one turn of the reactor: about five
#: milliseconds (4.3 to 6.5 were measured on a busy machine), decoding of the next ones included.
ROUTE_WORDS_IN_TURN: Final = 250
#: Words on nodes that are found out and written in one turn for all neighbors together, and one
#: batch more at most: a word costs about eight microseconds, and a sixteenth of it for each further
#: neighbor that is told the same.
ROUTE_WORDS_TOLD_IN_TURN: Final = 1_500
#: Of what was found out for one neighbor and may hold for others, so many are kept, each of a
#: thousand nodes as a rule: neighbors that are up to date need three, those in a snapshot two.
ROUTE_FINDINGS_MAX: Final = 8
#: Words of one neighbor that wait to be read: a snapshot of the largest table.
ROUTE_WORDS_WAITING_MAX: Final = 65_536
#: Memory for the words of all neighbors that wait. One of them may have as much as is left for the
#: others: 16,000 of the usual kind, about a kilobyte each. It is read slowly when it has a third of
#: all, so who tells of more nodes loses nothing.
ROUTE_WAITING_BYTES: Final = 33_554_432
#: What one may have in any case: a usual change.
ROUTE_WAITING_BYTES_LEAST: Final = 16_384
#: Memory for what all neighbors have told: as much as 65,536 nodes of the usual kind take. With
#: labels and addresses as long as may be a node takes six times as much.
ROUTE_HEARD_BYTES: Final = 67_108_864

#: A node whose loop is late accuses nobody before so many times as many pings are unanswered: 12
#: instead of 3, which takes 96 s and not 24. It has read all that had come nine times meanwhile.
UNANSWERED_FACTOR: Final = 4

#: Pauses that all neighbors together may ask for, about 100 bytes each. One may have as many as are
#: left for all others.
PAUSES_HEARD_MAX: Final = 131_072

#: Of what has waited for a way so much goes first when that opens; TCP begins with half of it
#: (RFC 6928). Five hundred neighbors that move together then send 16 MiB at once, which a relay
#: takes besides what is queued there (`atbus.limits.QUEUED_BEHIND_FACTOR`).
PORTION_BYTES: Final = 32_768
#: And so many frames, if they are not ours and cannot become one: fewer than are ever too many.
PORTION_COUNT: Final = 64
