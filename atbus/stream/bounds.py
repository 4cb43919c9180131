"""Bounds of streams, each with its reason."""

from __future__ import annotations

from typing import Final

#: What one end accepts before its program has taken it: 60 ms of a fast link of 2 MB/s and hop,
#: and no more than two frames of a TCP link. All that a stalled reader costs this node.
WINDOW_BYTES: Final = 131_072

#: Of a stream in one frame: what a message behind it waits for, 13 us at 10 Gbit/s, and the head
#: is less than half a percent of it.
CHUNK_BYTES: Final = 16_384

#: Streams between this node and one other one. With their windows 16 MiB: as much as a relay takes
#: of what was on its way when it asks for a pause, so all may begin at once and none is refused.
STREAMS_PER_PEER_MAX: Final = 128

#: Streams of one node. With their windows 256 MiB, if every reader has stalled.
STREAMS_MAX: Final = 2_048

#: The name of a service; as long as those of DNS may be in a label, twice.
SERVICE_BYTES: Final = 128

#: How long an answer to an opening is waited for, unless the program says otherwise.
OPEN_SECONDS: Final = 30.0

#: An end that has said nothing for so long says that it is there.
PROBE_SECONDS: Final = 30.0

#: An end that has heard nothing for so long gives up: three words of the other one were lost.
SILENCE_SECONDS: Final = 100.0

#: How long an end that wants nothing any more waits for the other one to close as well, when that
#: has read everything: half of what Linux waits for (FIN-WAIT-2).
LINGER_SECONDS: Final = 30.0

#: How often it is looked what is due. A thousand streams take 0.2 ms.
LOOK_SECONDS: Final = 1.0

#: A producer is paused when more than this waits to be sent, as Twisted's transports do it, and
#: resumed at half of it.
UNSENT_BYTES: Final = 65_536

#: What may wait of a program that writes without a producer. Twisted's transports know no end.
UNSENT_BYTES_MAX: Final = 67_108_864

#: Streams that have ended and whose late frames are recognized.
ENDED_MAX: Final = 1_024

#: The largest number of a stream: it stands in the sequence, beside who has opened it.
STREAM_ID_MAX: Final = 2**31 - 1
