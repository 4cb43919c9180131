"""Attacks by somebody who comes and goes, and counts on being remembered."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from functools import partial

from atbus.nats import bounds
from atbus.nats.gateway import Gateway
from tests.nats.harbor import Caller, HarborTests

CLIENTS = 16
KEPT_BYTES = 16 * 1024
UNREAD_BYTES = 64 * 1024
QUESTIONS = 200
SECRETS = (b"pass", b"auth_token", b"jwt", b"nkey", b"sig", b"user")
ANSWERS = {"user": "anna", "password": "a", "permissions": {"publish": ["none"], "responses": 1}}
ASKS = {"user": "otto", "password": "o"}
LOGIN = b'CONNECT {"verbose":false,"user":"%b","pass":"%b"}\r\n'


def _says(said: bytes, client: Caller) -> None:
    # Not the same object each time, which would be kept once.
    client.says(bytes(bytearray(said)))


class RememberedTests(HarborTests):
    """What is kept of clients that have ended, which `/connz?state=closed` tells of."""

    def kept_bytes(self, gateway: Gateway, talk: Callable[[Caller], None]) -> float:
        """Let clients come, talk and hang up; give what is kept of each."""
        before = len(gateway.closed)
        tracemalloc.start()
        try:
            for _ in range(CLIENTS):
                caller = self.caller(gateway)
                talk(caller)
                self.network.settle(0.01)
                caller.hangs_up()
            del caller
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(len(gateway.closed) - before, CLIENTS)
        return kept / CLIENTS

    def test_security_remembered_clients(self) -> None:
        """
        Of each of thousands a few facts are kept: not a message of which the end never came, not
        what nobody has read behind a login that was refused, and nothing that was proven with.
        """
        unread = b"PING\r\n" * (UNREAD_BYTES // 6)
        unfinished = b"PUB a %d\r\n" % bounds.PAYLOAD_BYTES + bytes(UNREAD_BYTES)
        secrets = b"".join(b'CONNECT {"%b":"%b"}\r\n' % (each, b"x" * 4_000) for each in SECRETS)
        for token, said in (
            ("", unfinished),
            ("geheim", b'CONNECT {"auth_token":"geraten"}\r\n' + unread),
            ("", secrets),
        ):
            gateway = self.alone(**({"token": token} if token else {}))
            kept = self.kept_bytes(gateway, partial(_says, said))
            self.assertLess(kept, KEPT_BYTES, said[:20])

    def test_security_remembered_answers(self) -> None:
        """Nor is it kept what a client that has ended could have answered."""
        gateway = self.alone(users=[ANSWERS, ASKS])
        otto = self.caller(gateway)
        otto.says(LOGIN % (b"otto", b"o"))

        def is_asked(anna: Caller) -> None:
            anna.says(LOGIN % (b"anna", b"a") + b"SUB asked 1\r\n")
            for number in range(QUESTIONS):
                otto.says(b"PUB asked %b%d 0\r\n\r\n" % (b"x" * 200, number))
            self.assertEqual(anna.hears().count(b"MSG asked 1 "), QUESTIONS)

        self.assertLess(self.kept_bytes(gateway, is_asked), KEPT_BYTES)
