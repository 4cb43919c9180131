"""
The bounds of what nodes offer, on the wire, with their reasons; `atbus.limits` has the others.
"""

from __future__ import annotations

from typing import Final

#: One document: a service with everything at its bounds is less than half of it, and a neighbor
#: with the usual frames reads one in any case.
SERVICE_VALUE_BYTES: Final = 32_768

#: Where a document stands: a folder, a name of 253 bytes in the letters of a URL, and an id.
SERVICE_KEY_BYTES: Final = 1_024

#: Documents in one SERVICE_BATCH; a replay of more is several frames.
SERVICE_ENTRIES_MAX: Final = 256

#: Documents that one neighbor may tell: those of as many nodes as a bus is made for, with room for
#: a second document of each.
SERVICES_PER_NEIGHBOR_MAX: Final = 32_768

#: ... and the bytes of all of them: three kilobytes for each of ten thousand nodes, where a usual
#: service is three hundred bytes. With every document at its bound it would be a gigabyte.
SERVICES_PER_NEIGHBOR_BYTES: Final = 33_554_432

#: Memory for the documents that all neighbors have told. One may have as much as is left for all
#: others: alone it has 32 MiB, and two hundred that want all there is leave 320 KiB each, which is
#: more than two hundred usual services.
SERVICES_BYTES: Final = 67_108_864

#: What one of them costs besides its key and its bytes: places in five tables, and what is read.
SERVICE_COST_BYTES: Final = 1_024

#: Sequences from here on are of streams, whose frames are no messages. A flow of messages would get
#: here in the last epoch that there is: its epoch is in the upper half.
STREAM_SEQUENCES: Final = 0xFFFF_FFFF << 32

#: Siblings among whose members the sender of a publication draws itself, and that it names when its
#: upstream has to draw among the others: as many as it names as served. Members at further ones are
#: left to the upstream.
COUNTED_SIBLINGS_MAX: Final = 64
