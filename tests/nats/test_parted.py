"""Requests of clients whose ways part at nodes between, and that nobody gets."""

from __future__ import annotations

from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.test_gateway import INFORMED
from tests.node.grove import GroveTests

NOBODY = b"HMSG r 9 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
#: Gateways: one before, and four behind, two nodes in a row where ways part.
ASKER, DOORS = "1311", ("111", "112", "121", "122")


def hears(caller: Caller) -> bytes:
    """Give what came for a client but for what any gateway says now and then."""
    lines = caller.hears().splitlines(keepends=True)
    return b"".join(each for each in lines if not each.startswith((b"INFO ", b"PING\r")))


class FarDoorsTests(GroveTests, HarborTests):
    """
    Clients of five gateways::

        1 --+-- 11 --+-- 111, 112
            +-- 12 --+-- 121, 122
            `-- 13 ----- 131 -- 1311
    """

    def setUp(self) -> None:
        super().setUp()
        doors = dict.fromkeys((ASKER, *DOORS), DOOR)
        self.plant("1", "11", "12", "13", "131", *DOORS, ASKER, doors=doors)
        self.asker = self.enters(ASKER)
        self.asker.says(b"SUB r 9\r\n")
        self.others = [self.enters(path) for path in DOORS]

    def enters(self, path: str) -> Caller:
        """Open a gateway, and connect to it."""
        gateway = self.gateway(self.at[path])
        self.network.settle()
        caller = self.caller(gateway)
        caller.says(INFORMED + b"PING\r\n")
        caller.hears()
        return caller

    def asks_after(self, *words: bytes) -> bytes:
        """Let the others say something of which no other node hears, ask, and give what comes."""
        self.hush()
        for other, word in zip(self.others, words, strict=True):
            other.says(word)
        self.asker.says(b"PUB sum r 2\r\nhi\r\n")
        self.network.settle(0.5)
        heard = hears(self.asker)
        self.tell()
        return heard

    def test_all_leave(self) -> None:
        """Who listens at all of them has just left: 503 comes at once, and once."""
        gone = b"UNSUB 1\r\n"
        for groups in ([b""] * 4, [b"g ", b"g ", b"g ", b"h "], [b"", b"g ", b"", b"h "]):
            for other, group in zip(self.others, groups, strict=True):
                other.says(b"SUB sum %s1\r\n" % group)
            self.network.settle()
            self.assertEqual(self.asks_after(gone, gone, gone, gone), NOBODY, groups)

    def test_one_hangs_up(self) -> None:
        """A client that hangs up has left as well."""
        for other in self.others:
            other.says(b"SUB sum 1\r\n")
        self.network.settle()
        self.hush()
        self.others[0].hangs_up()
        gone = b"UNSUB 1\r\n"
        self.assertEqual(self.asks_after(b"", gone, gone, gone), NOBODY)

    def test_one_stays(self) -> None:
        """One of them has the request, whichever: 503 does not come, and its answer does."""
        gone = b"UNSUB 1\r\n"
        for staying in range(len(DOORS)):
            for other in self.others:
                other.says(b"SUB sum 1\r\n")
            self.network.settle()
            words = [gone] * len(DOORS)
            words[staying] = b""
            self.assertEqual(self.asks_after(*words), b"")
            self.assertEqual(hears(self.others[staying]), b"MSG sum 1 r 2\r\nhi\r\n")
            self.network.settle(4.0)
            self.others[staying].says(b"PUB r 4\r\nhere\r\n" + gone)
            self.network.settle()
            self.assertEqual(hears(self.asker), b"MSG r 9 4\r\nhere\r\n")
