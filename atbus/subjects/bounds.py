"""Bounds of publish/subscribe that are not the wire's, each with its reason."""

from __future__ import annotations

from typing import Final

#: Publications that wait for one subscriber: what NATS clients hold by default, an eighth of it.
WAITING_COUNT_MAX: Final = 65_536

#: Their bytes: so much comes in while a program is busy for a tenth of a second on a fast link.
WAITING_BYTES_MAX: Final = 8 * 1024 * 1024

#: Questions on subjects that are open at once; each costs about 1 KiB.
INQUIRIES_MAX: Final = 65_536

#: Questions of one neighbor whether all know what it wants, and what they are about, that have no
#: answer yet: one from each of some ten thousand nodes behind it, when they are back all at once.
QUESTIONS_MAX: Final = 65_536

#: Questions that have parted at a node and of which it counts, for 5 s, who has not got them; some
#: 10 MiB. Of more than these the first are forgotten: with fifty thousand in each second after a
#: third of a second, when all would mostly have said so. Nobody says that nobody has those.
PARTED_QUESTIONS_MAX: Final = 16_384

#: Memory for the questions of all neighbors that have no answer yet: each waits for some of the
#: other neighbors. One may have as much as is left for all others, which is enough for those of
#: seven thousand nodes where a hundred neighbors are asked.
QUESTIONS_BYTES: Final = 67_108_864

#: What a question costs, and each thing that it is about.
QUESTION_BYTES: Final = 600

#: What each neighbor that it waits for costs besides: its place in a set.
QUESTION_WAIT_BYTES: Final = 40

#: Publications, asked for by callbacks of publications, that are delivered before the reactor runs.
NESTED_PER_TURN: Final = 1_000

#: Subjects for which it is remembered who gets a publication; as many as matches are remembered.
WAYS_REMEMBERED_MAX: Final = 1_024

#: Questions of which it is remembered where they came from; an answer that comes so late that as
#: many others have passed has its interest by then.
ASKERS_REMEMBERED_MAX: Final = 4_096

#: Publications with a group that went on to a branch of which it is remembered, group by group,
#: who they came from: more than pass while one comes back from a dozen nodes away. Some 3 MiB.
ENTRUSTED_REMEMBERED_MAX: Final = 8_192

#: The longest that a program which awaits its turn to publish is held back by a neighbor that is
#: stuck: as long as an order is waited for.
PACE_SECONDS: Final = 1.0

#: How often it is looked whether it may go on; a megabyte takes as long on a fast network.
PACE_POLL_SECONDS: Final = 0.01

#: Tools that listen through one node at once; each costs a subscription.
READERS_MAX: Final = 64

#: A tool that has not fetched for so long is gone: three times as long as it usually waits.
FETCH_PATIENCE_SECONDS: Final = 15.0

#: Publications that a tool is given at once, ...
FETCHED_COUNT_MAX: Final = 1_000

#: ... and their bytes: as JSON they are a third more, and the answer of a command has a bound.
FETCHED_BYTES: Final = 262_144

#: How long the last answer to a question to many may be behind the one before, seconds: natscli's.
QUIET_SECONDS: Final = 0.3

#: Answers to one question to many: more than services with one name that anybody runs.
ANSWERS_MAX: Final = 10_000

#: How long it may take until a neighbor is told that a queue group has more or fewer members: while
#: many come and go, the bus hears of it twice a second, and draws by sizes that are as old.
SIZES_SECONDS: Final = 0.5

#: How long it may take, seconds, until a neighbor is told that another one is gone, if one has gone
#: right before: while a host with hundreds of them ends, others hear of it twenty times a second.
LOSSES_SECONDS: Final = 0.05

#: Zones of one queue group that a neighbor is told of, so that a group costs no more than so many
#: others: there are three to six in a region. Members in further ones count as being in none.
ZONES_TOLD_MAX: Final = 16

#: Up to which part of its memory for interest something about zones is kept: who wants something
#: gets it first, then it is known how near he is.
ZONES_SHARE_MAX: Final = 0.5

#: How many times as much as one neighbor all of them may have of memory for what they want: two or
#: three of a proxy's may tell of many subjects, hardly all.
INTEREST_SHARES: Final = 4

#: How much more one neighbor, and all of them, may have for what the bus itself needs (``$ATBUS``):
#: a hundred gateways and tools are known also behind who wants more subjects than may be kept.
OWN_INTEREST_BYTES: Final = 131_072

#: Differences that are passed over before the next replay to a neighbor that has no memory for all
#: of it. Two pings in a heartbeat's time: it is told everything anew every 17 minutes, if it does
#: not say that it has room.
REPLAYS_PASSED_OVER_MAX: Final = 255

#: How long a link may stay shut to interest until somebody begins to open it, seconds: it takes
#: the gateways on both sides about 0.6. Nothing is lost as long as both are there.
GATE_SHUT_SECONDS: Final = 20.0

#: How long what would cross a gate may be held; it takes some milliseconds where nobody is busy.
#: Who gives up says so before that.
GATE_HELD_SECONDS: Final = 10.0

#: How many bytes of it: what a fast link carries in some 20 ms. What is more is given up.
GATE_HELD_BYTES: Final = 16_777_216

#: What one publication that is held costs besides its bytes.
GATE_HELD_COST_BYTES: Final = 512

#: How long what may come late is left out behind a gate that is open.
GATE_OPEN_SECONDS: Final = 5.0

#: How long nothing crosses one when a gateway has gone before that: longer than what is published
#: takes where it is told at once who wants it.
GATE_LATE_SECONDS: Final = 0.05
