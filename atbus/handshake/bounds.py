"""Bounds of what somebody may cost who has not proven who he is; `atbus.limits` has the others."""

from __future__ import annotations

from typing import Final

#: TLS handshakes of one address in a minute that come to nothing before it is not listened to: a
#: millisecond each. A host with a certificate that is over dials about eight times in its first
#: minute and twice in each that follows, and it may run several nodes.
BAD_HANDSHAKES_PER_MINUTE: Final = 30

#: Connections of one address in a second: a third of all, so two cannot keep the others out, and
#: with TLS a tenth of a core.
HANDSHAKES_PER_ADDRESS_PER_SECOND: Final = 100

#: From where a node has registered before more may come, such as 1,000 nodes of one host. This part
#: of the pot is not for who has used up his share: 150 nodes of others may come at once meanwhile.
KEPT_FOR_OTHERS: Final = 0.5

#: The part that is not for who has never registered: what many addresses cannot empty together.
#: 75 nodes of a bus come back at once through it, and then 300 in a second.
KEPT_FOR_KNOWN: Final = 0.25

#: Connections to unix sockets that may begin in one second, and at once: a whole machine with
#: hundreds of nodes starts, each with two. Only processes of the same user and of root come; who
#: is too much waits. One that says nothing costs a fifth of a millisecond.
LOCAL_HANDSHAKES_PER_SECOND: Final = 1_000

#: Connections to a unix socket that wait in the kernel until they may begin: as many as there may
#: be neighbors. Whoever is more is told at once, by the kernel, and dials again.
LOCAL_BACKLOG: Final = 4_096

#: Until it is looked again whether one may begin: in so long some eight register.
LOCAL_LOOK_SECONDS: Final = 0.02

#: Who has come to a unix socket has so long to say something before he gives way to others who
#: wait: a process with dozens of nodes that all dial at once has its turn by then.
LOCAL_SILENT_SECONDS: Final = 1.0

#: Addresses that are remembered as having registered: as many as there may be neighbors.
KNOWN_ADDRESSES_MAX: Final = 4_096
