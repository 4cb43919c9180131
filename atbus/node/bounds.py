"""
The bounds of what a node looks at in files, of its mesh, and of its own delay; `atbus.limits` has
those of the bus.
"""

from __future__ import annotations

from typing import Final

#: Between two looks at files that say who may do what: a link is to be cut within 5 s.
FILES_LOOK_SECONDS: Final = 2.0

#: A timer that comes later was held up with its whole process: no turn of a busy reactor takes so
#: long, and the shortest time that anybody is given is five times as long.
LATE_SECONDS: Final = 0.1

#: So many times smaller than it was, a message was hardly made of data: text becomes a tenth.
COMPRESSION_RATIO_ALARM: Final = 200

#: The shortest message that is compressed: below it the extra and the size cost what is saved.
COMPRESSION_LEAST_BYTES: Final = 1_024

#: What one neighbor may announce in one go, of nodes, interest and services: everything that it
#: knows of a bus of ten thousand nodes, several times.
ANNOUNCED_BYTES_BURST: Final = 8_388_608

#: ... and in each second after that: as many words on nodes as are read in a second, twice. To
#: decode it costs less than a tenth of a core.
ANNOUNCED_BYTES_PER_SECOND: Final = 524_288

#: A link that owes more is not read for so long, before it is read once: less than the shortest
#: heartbeat, for whatever comes counts as life.
HOLD_SECONDS: Final = 0.5

#: Bytes of a file of denied ids: a million of them. More is another file by mistake.
DENIED_FILE_BYTES: Final = 33_554_432

#: Faults in it that are told: enough to see what kind of file it is.
DENIED_FAULTS_TOLD: Final = 3

#: How long a node lets another one dial it before it dials itself: when both dial at once, one of
#: the two connections is for nothing; a node that has just learned of us has dialled by then.
MESH_YIELD_SECONDS: Final = 1.0

#: Between the first two dials of a data stream that is better than the one in use, as between two
#: dials of one that is missing; twice as long after each.
BETTER_STREAM_SECONDS: Final = 3.0

#: The longest wait between two of them: an address of another host with the same identity, as in a
#: container, fails for ever, and one dial in a minute costs nothing.
BETTER_STREAM_SECONDS_MAX: Final = 60.0

#: A stream that did not answer a FLUSH in time is used so much longer before the next attempt to
#: change over: what waits there is paused, or very much.
CHANGE_AGAIN_SECONDS: Final = 5.0

#: Batches on nodes of which the frame is kept for the next neighbor that is told the same: two for
#: each that is up to date, and some that only one is told in between.
ROUTE_NOTICES_MAX: Final = 4

#: Frames of all links together that are not acknowledged: four full windows, about 64 MiB. The
#: more there are the less each link may have, so who is slow stays, with a narrower window. While
#: half of them are used those links end on which nothing is acknowledged any more, or more is open
#: than a whole window, past which only answers go: somebody reads and never acknowledges.
UNACKNOWLEDGED_ALL_MAX: Final = 65_536

#: So many frames of a lane are acknowledged at once. Nothing on the lane carries the word: it takes
#: the stream, and costs both sides together as much as a message does. With a lane for each of 64
#: neighbors what is on its way is still a quarter of `UNACKNOWLEDGED_ALL_MAX`.
LANE_ACK_FRAMES_MAX: Final = 256
#: With so many bytes as few are as on other channels: what is read at once, which costs more.
LANE_ACK_BYTES: Final = 262_144

#: Memory for answers and commands that are queued or not acknowledged, of all links, each
#: with what it costs besides its bytes: 45,000 words on messages, or what a hundred tools ask at
#: once. One link may have as much as is left for the others, so alone it has nearly half.
OWED_BYTES_MAX: Final = 16_777_216

#: What a link may have beyond that for words which are no answers: that commands are refused,
#: eighty of them. What is more is dropped, and the neighbor is not read for a while.
OWED_WORDS_BYTES: Final = 32_768

#: Memory for answers and requests that wait for a way of which there is none at the moment: all
#: those of the usual length that may wait, and sixty-four of the longest.
PARKED_BYTES: Final = 2_097_152
