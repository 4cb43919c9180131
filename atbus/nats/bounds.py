"""Bounds of the NATS gateway, with their reasons; `atbus.limits` has those of the bus."""

from __future__ import annotations

from typing import Final

#: A control line without its verb: NATS's number, INFO and CONNECT included.
LINE_BYTES: Final = 4_096

#: A payload with its headers: NATS's number, and what a message of the bus may have.
PAYLOAD_BYTES: Final = 1_048_576

#: What may wait for one client before it is called slow: NATS's number.
PENDING_BYTES: Final = 67_108_864

#: How long a client may take nothing of what waits for it: NATS's number.
WRITE_SECONDS: Final = 10.0

#: Between two PINGs to a silent client: NATS's number, and ...
PING_SECONDS: Final = 120.0

#: ... how many of them may be without an answer.
PINGS_MAX: Final = 2

#: The first PING, which measures the round trip: as late as a client of NATS expects it, since one
#: that is not through with its handshake takes it for an answer.
FIRST_PING_SECONDS: Final = 2.0

#: How long a client may take to say who it is: NATS's number.
AUTHENTICATION_SECONDS: Final = 2.0

#: Passwords that are compared with hashes at once, each in a thread that keeps a processor busy for
#: a tenth of a second; who comes meanwhile waits for his turn.
HASHES_AT_ONCE: Final = 2

#: Of a password bcrypt knows so many bytes, whatever stands behind them.
HASHED_BYTES: Final = 72

#: How long a TLS handshake may take: NATS's number.
TLS_SECONDS: Final = 2.0

#: How much longer a login may take where TLS comes before it, unless it is said how long: NATS's
#: number.
LOGIN_BEHIND_TLS_SECONDS: Final = 1.0

#: With ``handshake_first = "auto"``: how long a client may be silent before it is told our INFO.
TLS_FIRST_SECONDS: Final = 0.05

#: Clients at once; each holds a socket.
CONNECTIONS_MAX: Final = 65_536

#: Lame duck: how long clients are only told of it, and ...
LAME_DUCK_GRACE_SECONDS: Final = 10.0

#: ... the time over which their connections are closed one by one: NATS's numbers.
LAME_DUCK_SECONDS: Final = 120.0

#: Connections that are remembered after their end, for ``/connz?state=closed``: NATS's number.
CLOSED_REMEMBERED: Final = 10_000

#: Entries of a list that a page for monitors describes in one turn of the reactor: one to two
#: milliseconds.
LISTED_PER_TURN: Final = 128

#: Subscriptions that such a page looks at in one turn, to choose those that it describes: three
#: milliseconds.
LOOKED_AT_PER_TURN: Final = 1_024

#: Who takes nothing of a page's next portion for so long is cut off: NATS's number for clients.
PAGE_STALLED_SECONDS: Final = 10.0

#: Subjects whose text is remembered by their bytes; as many as matches are remembered.
SUBJECTS_REMEMBERED: Final = 1_024

#: A publisher for whose subscribers much waits already is not read for so long: NATS's number.
STALL_SECONDS: Final = 0.005

#: Gateways that are told of to clients, and addresses of one: more than anybody chooses among.
URLS_MAX: Final = 256

#: Between two questions for the other gateways: a client that is told late tries a dead address
#: first, which costs it a moment.
SIBLINGS_SECONDS: Final = 10.0

#: A gateway of which nothing was heard for so long is not told of: three questions without answer.
SIBLINGS_FORGOTTEN_SECONDS: Final = 32.0

#: Between two looks at who stands there, while others come and go: each costs what they are many.
SIBLINGS_LOOK_SECONDS: Final = 0.25

#: One that does not stand there any more is told of for so long: its node may just get another
#: upstream.
SIBLING_MISSED_SECONDS: Final = 2.0

#: One that stands there and is not known is asked for so soon: others may come with it.
SIBLING_STRANGE_SECONDS: Final = 0.5

#: A line between leafs: INFO names the whole cluster.
LEAF_LINE_BYTES: Final = 65_536

#: What may come from a leaf at once: NATS's ceiling. What is more than a message of the bus may
#: have is dropped and counted, because the other side has no way to learn of our limit.
LEAF_PAYLOAD_BYTES: Final = 67_108_864

#: Between two PINGs to a silent leaf: as the newer nats-server caps it between servers.
LEAF_PING_SECONDS: Final = 30.0

#: How long the handshake with a leaf may take: twice NATS's number, for the TLS in it.
LEAF_LOGIN_SECONDS: Final = 4.0

#: Until a remote is dialed again: NATS's number, ...
LEAF_RETRY_SECONDS: Final = 1.0

#: ... and where that is of no use soon, as after a loop: NATS's number.
LEAF_LASTING_SECONDS: Final = 30.0

#: How long another gateway, which is told in the same moment that it is not its turn any more, may
#: take to hang up before a loop over it is one. What passes meanwhile may go in a circle.
LEAF_RIVAL_SECONDS: Final = 1.0

#: How long the handing over of a server to another gateway may take in all; then the one that has
#: served hangs up, and what is on its way is lost.
HANDOVER_SECONDS: Final = 5.0

#: How long a gateway that stops waits until the next one asks it to hand a server over: what that
#: takes is a way there and back over the bus, some 100 ms between continents. One that is dead, and
#: whose end is not known yet, holds up a stop so long.
HANDOVER_ASKED_SECONDS: Final = 2.0

#: How long nobody serves when the one that did has died: longer than what it had passed on before
#: takes to whoever serves then, where others are told at once that it is gone.
SUCCESSION_SECONDS: Final = 0.05

#: How long it may take until all other servers and leafs know of the marks, and what was matched
#: before is written. Nothing is held up meanwhile.
HANDOVER_GRACE_SECONDS: Final = 0.25

#: How long a server may take to write what it has matched with a group after it has said that it
#: knows that we have left that: a thread of it does the one, another one the other, and may have to
#: wait for a processor. Longer than some turns of others; what crosses is held up so long.
HANDOVER_WRITTEN_SECONDS: Final = 0.05

#: What is kept while a server is handed over, which takes less than a tenth of a second, bytes.
HANDOVER_BYTES: Final = 16_777_216

#: What the gateway that has served keeps of that for the other one, bytes; it says it in one
#: publication.
HANDOVER_GIVEN_BYTES: Final = 262_144

#: Interests of a bus with which a server is handed over: each costs it four lines more than usual.
HANDOVER_INTERESTS_MAX: Final = 50_000

#: When two halves of a bus are joined: how long the gateway that leaves waits for the next word of
#: the one that stays, and that one for an answer; they are some milliseconds and a grace apart.
JOINING_SECONDS: Final = 5.0

#: Connections between leafs at once, those of strangers among them; each may hold a line until it
#: has said who it is. More servers than anybody joins to one node.
LEAFS_MAX: Final = 256

#: Routes at once, those of strangers among them: more servers than are in one cluster.
ROUTES_MAX: Final = 256

#: How often somebody from one address may be refused before it costs him time: servers that join
#: make a few connections more than they need.
ROUTE_REFUSALS_FREE: Final = 8

#: From then on so much time lies between two who are let in from there: as often as a server dials
#: that has found nobody.
ROUTE_REFUSED_SECONDS: Final = 1.0

#: An address from which nobody was refused for so long is as any other.
ROUTE_REFUSED_FORGOTTEN_SECONDS: Final = 10.0

#: Addresses of which it is known that somebody from there was refused: as many as may be connected.
ROUTE_REFUSED_MAX: Final = ROUTES_MAX

#: How long a route has to show that it is alive when there is a second one to the same server. A
#: server that dials anew has lost the first one, and has waited for us already.
ROUTE_ANSWER_SECONDS: Final = 2.0

#: How often a place is dialed of which a member has told, until it is told of again: the server
#: there has joined a moment ago, so it is there, or not for long.
ROUTE_ATTEMPTS_MAX: Final = 5

#: Inboxes that a leaf is told of for answers only: more than are waited for at one time.
LEAF_INBOXES_MAX: Final = 4_096

#: What may wait for a leaf that takes nothing; then it is slow, and closed.
LEAF_PENDING_BYTES: Final = PENDING_BYTES

#: What is read of a client at first, and again when it says much in few bytes: of the dearest
#: sentences, which a stranger may say as well, there are 13 ms in that.
READ_BYTES_LEAST: Final = 16 * 1024

#: What is read of a client at most, once it has shown that its bytes are payloads: large enough
#: that many messages cost few turns.
READ_BYTES_MOST: Final = 256 * 1024

#: A read of a client that takes longer than this is half as large the next time, for others wait
#: meanwhile; and what is left of one of a server after this waits for the next turn.
READ_SECONDS: Final = 0.005

#: What was read of a server is dealt with in portions of at most so many lines: the dearest take
#: 4 ms then.
PORTION_LINES: Final = 512

#: Operations of a client are dealt with in portions of at most so many, whatever was read: the
#: dearest take 5 ms then. They are counted while they are read, for to count the lines of what is
#: payload costs more than all else with it.
PORTION_OPERATIONS: Final = 512

#: So many messages that are published in a row, on one subject, count as one operation.
PORTION_ALIKE: Final = 8

#: The name of a header of HTTP: those of browsers have forty letters. Twisted remembers the first
#: 10,000 names that anybody says as long as the process lives, each twice.
HEADER_NAME_BYTES: Final = 256

#: Frames of a client over WebSocket are taken in portions of at most so many, for one of seven
#: bytes costs as much as any: 5 ms then. What answers them is counted as well.
PORTION_FRAMES: Final = 512

#: Subjects that one list of a template stands for: with two tags of a hundred values each there
#: would be ten thousand, which are looked through for each message.
TEMPLATE_SUBJECTS_MAX: Final = 1_000
