"""
Every bound of ZooKeeper, with its reason; `atbus.discovery.bounds` has those of all registries.
"""

from __future__ import annotations

from typing import Final

#: What kazoo's threads have brought and one turn of the reactor takes: a hundred records are read
#: in five milliseconds.
ARRIVALS_PER_TURN: Final = 100

#: Places that are read at once: none of them holds more than a megabyte, or its server would not
#: have taken it, so that is what waits at most.
READS_MAX: Final = 32

#: Places in one folder that are listed: as many as there are records, and their names are 3 MB.
FOLDER_PLACES_MAX: Final = 131_072

#: News that follow each other so closely are looked at together: when many come at once, a folder
#: is listed twenty times in a second at most.
GATHER_SECONDS: Final = 0.05

#: Between two attempts of kazoo to reach any of the servers, at first and ...
RECONNECT_SECONDS_MIN: Final = 0.1

#: ... at most: what we announce is back in 15 s after a server is, and connecting to one that is
#: frozen takes a part of that.
RECONNECT_SECONDS_MAX: Final = 3.0

#: A session that could not be resumed for so long is given up for a new one: servers whose data
#: were lost refuse, for ever, everybody who has seen more than they know.
RESUME_SECONDS: Final = 60.0

#: How long one waits for the servers when a session is closed; it ends by itself otherwise.
CLOSE_SECONDS: Final = 3.0

#: Servers that are believed; an ensemble of more than seven is slower than one of seven.
SERVERS_MAX: Final = 32
