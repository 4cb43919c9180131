"""
Every bound of discovery, with its reason; `atbus.limits` has those of the bus.

A configuration can change some of them; the names in it are in the reference.
"""

from __future__ import annotations

from typing import Final

#: How long a registry keeps what we have announced when it does not hear from us: a node that
#: vanished is known in 12 s, and two of three renewals may be lost.
LEASE_SECONDS: Final = 10.0

#: Between two renewals of the lease.
LEASE_RENEWAL_SECONDS: Final = 3.0

#: One request to a registry's server: two servers can be tried before the lease ends.
REGISTRY_REQUEST_SECONDS: Final = 3.0

#: The longest wait before a registry is tried again: all that we announce is back in 15 s after
#: it is, and one request may time out in between.
REGISTRY_RETRY_SECONDS_MAX: Final = 8.0

#: A changed value is written so long after its change, so that changes that follow each other
#: closely are written once.
ANNOUNCE_DELAY_SECONDS: Final = 0.25

#: One value in a registry: a record with all its subnets, labels and addresses at their bounds.
REGISTRY_VALUE_BYTES: Final = 65_536

#: One key in a registry.
REGISTRY_KEY_BYTES: Final = 1_024

#: Keys that one watcher remembers; as many as there can be nodes, and room for services.
REGISTRY_KEYS_MAX: Final = 262_144

#: Entries of a registry that one turn of the reactor takes: a hundred records are read in five
#: milliseconds.
REGISTRY_ENTRIES_PER_TURN: Final = 100

#: One line of a watch: a value of 1 MB, the most that etcd takes, is 1.33 MB of it.
ETCD_LINE_BYTES: Final = 4_194_304

#: One answer; longer ones are asked for in smaller pieces.
ETCD_ANSWER_BYTES: Final = 8_388_608

#: What is read of an answer that is a refusal.
ETCD_FAULT_BYTES: Final = 16_384

#: The head of an answer; etcd's have less than a kilobyte, and one that a proxy has written may
#: have ten times as much. What comes together with the last of it is read besides: 64 KiB.
ETCD_HEAD_BYTES: Final = 16_384

#: The name of a header in it: those of proxies have forty letters. Twisted remembers the first
#: 10,000 names that anybody says as long as the process lives, each twice.
ETCD_HEADER_NAME_BYTES: Final = 256

#: Keys in one answer to a snapshot, at first: half a megabyte of records of usual length.
ETCD_PAGE_KEYS: Final = 512

#: Connections to one server that are kept for the next request.
ETCD_IDLE_CONNECTIONS: Final = 2

#: Between two looks at the list of members, and ...
ETCD_MEMBERS_SECONDS: Final = 300.0

#: ... after one that failed; libatbus's numbers.
ETCD_MEMBERS_RETRY_SECONDS: Final = 60.0

#: Members that are believed; a cluster of more than seven is slower than one of seven.
ETCD_MEMBERS_MAX: Final = 32

#: Places in etcd, beside the first one, that a node may be told of: each costs a watch, and the
#: node is announced once more.
ETCD_CONTEXTS_MAX: Final = 16

#: A token is replaced when it is so old; libatbus's number. The simple ones die after five idle
#: minutes, and JWTs after five minutes whatever is done.
ETCD_TOKEN_SECONDS: Final = 120.0

#: Refusals of user and password in a row after which they are called wrong; libatbus's number.
ETCD_LOGINS_MAX: Final = 5

#: A watch that is silent for so long makes us ask its server whether it is alive.
ETCD_SILENCE_SECONDS: Final = 15.0

#: A watch is ended and begun again after this time; libatbus's number. It costs nothing, and
#: spreads watches over servers that were away.
ETCD_WATCH_SECONDS: Final = 3_600.0

#: Between two questions to a name server: as long as Kubernetes lets its answers be kept.
NAME_REFRESH_SECONDS: Final = 30.0

#: How long each name server may take to answer, at the first and at the second try: one that is
#: there answers at once, and after these the question is asked again with the next refresh.
NAME_PATIENCE_SECONDS: Final = (1, 3)

#: Addresses of one name that are believed; a reasonable answer fits one packet.
NAME_ANSWERS_MAX: Final = 256

#: Between two looks at a file of addresses: whoever writes it waits no longer for its effect, and a
#: look costs some microseconds.
ADDRESS_FILE_SECONDS: Final = 2.0

#: A file of addresses: so many as are believed of a name, each with a remark.
ADDRESS_FILE_BYTES: Final = 65_536
