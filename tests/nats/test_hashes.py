"""Users whose passwords are written down as hashes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from unittest import skipUnless

from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.gateway import Gateway
from atbus.nats.hashes import is_right
from tests.nats.harbor import Caller
from tests.nats.test_renewal import NOT_ALLOWED, OTTO, RenewalCase

#: Of "a" and of "b", in as little time as there is.
HASH_A = "$2a$04$Ue/HVkbx0im0iyLU4mfUoeNQhFcsgsTORIYqzjfE5KZRVHEgNYp1y"
HASH_B = "$2a$04$d4DtOa0q8e4StfcTqtPzOexwppkvGNq7a0dUwJWgXHEMKANKYnRly"
#: Of 72 times "l".
HASH_LONG = "$2a$04$0fx6K2x6SCMmM5nJRLZx4e/uw4dCKoVAHncJZcRa1vaejG0OEzSxi"
ANNA = {"user": "anna", "password": HASH_A}


class Threads:
    """The threads of a process, which are through with something when they are told."""

    def __init__(self) -> None:
        self.begun: list[tuple[Callable[[bool, Any], None], Callable[..., Any], tuple[Any, ...]]]
        self.begun = []

    def callInThreadWithCallback(
        self, on_result: Callable[[bool, Any], None], function: Callable[..., Any], *given: Any
    ) -> None:
        """Begin something."""
        self.begun.append((on_result, function, given))

    def finish(self) -> None:
        """Be through with what has begun first."""
        on_result, function, given = self.begun.pop(0)
        on_result(True, function(*given))


@skipUnless(find_spec("bcrypt"), "bcrypt is not installed")
class HashCase(RenewalCase):
    """A gateway that compares passwords when it is told."""

    def hashing(self, **nats: Any) -> Gateway:
        """Start it."""
        gateway = self.alone(**nats)
        quay: Any = self.quays[gateway.node]
        self.threads = Threads()
        quay.getThreadPool = lambda: self.threads
        quay.callFromThread = lambda function, *given: function(*given)
        return gateway

    def shows(self, gateway: Gateway, password: str, says: bytes = b"PING\r\n") -> Caller:
        """Connect somebody who says that he is Anna."""
        caller = self.caller(gateway)
        caller.says(self.login(user="anna", **{"pass": password}) + says)
        return caller

    def finishes(self, caller: Caller) -> bytes:
        """Compare one password; what somebody hears then."""
        self.threads.finish()
        self.network.settle(0.1)
        return caller.hears()


class LoginTests(HashCase):
    """Somebody comes."""

    def test_what_it_says_meanwhile(self) -> None:
        """It waits for the verdict, and is carried out in its order; others are served."""
        gateway = self.hashing(users=[ANNA, OTTO])
        anna = self.shows(gateway, "a", b"SUB a 1\r\nPUB a 1\r\n1\r\n")
        otto = self.otto(gateway, b"SUB a 1\r\n")
        anna.says(b"PUB a 1\r\n2\r\nPI")
        anna.says(b"NG\r\nPUB a 1\r\n3\r\n")
        self.network.settle(0.1)
        self.assertEqual((anna.hears(), otto.hears()), (b"", b""))
        self.assertEqual((anna.is_unread, otto.is_unread), (True, False))
        heard = b"MSG a 1 1\r\n1\r\nMSG a 1 1\r\n2\r\nPONG\r\nMSG a 1 1\r\n3\r\n"
        self.assertEqual(self.finishes(anna), heard)
        self.assertEqual(otto.hears(), heard.replace(b"PONG\r\n", b""))
        self.assertFalse(anna.is_unread)
        self.assertEqual(self.says(anna, b"PING\r\n"), b"PONG\r\n")

    def test_a_wrong_password(self) -> None:
        """It is told so, and closed; of what it said behind that nothing is carried out."""
        gateway = self.hashing(users=[ANNA, OTTO])
        otto = self.otto(gateway, b"SUB a 1\r\n")
        for wrong in ("", "b", "A", "a ", "a\0", HASH_A):
            anna = self.shows(gateway, wrong, b"PUB a 1\r\n1\r\n")
            self.assertEqual(self.finishes(anna), NOT_ALLOWED, wrong)
        self.assertEqual(otto.hears(), b"")
        self.assertEqual(self.shows(gateway, "a").hears(), b"")
        # Somebody whom nobody knows has no hash.
        caller = self.caller(gateway)
        login = self.login(user="nobody", **{"pass": "a"})
        self.assertEqual(self.says(caller, login), NOT_ALLOWED)
        self.assertEqual(len(self.threads.begun), 1)

    def test_a_token(self) -> None:
        """A token may be a hash as well."""
        gateway = self.hashing(token=HASH_A)
        for shown, heard in (("a", b"PONG\r\n"), ("b", NOT_ALLOWED)):
            caller = self.caller(gateway)
            caller.says(self.login(auth_token=shown) + b"PING\r\n")
            self.assertEqual(self.finishes(caller), heard)

    def test_another_user(self) -> None:
        """Who is here already and says that he is somebody else waits likewise."""
        gateway = self.hashing(users=[ANNA, OTTO])
        otto = self.otto(gateway)
        login = self.login(user="anna", **{"pass": "a"})
        self.assertEqual(self.says(otto, login + b"PING\r\n"), b"")
        self.assertEqual(self.finishes(otto), b"PONG\r\n")
        session = next(iter(gateway.clients.values())).session
        self.assertEqual(session.user and session.user.name, "anna")
        otto.says(self.login(user="anna", **{"pass": "b"}) + b"PING\r\n")
        self.assertEqual(self.finishes(otto), NOT_ALLOWED)

    def test_some_at_once(self) -> None:
        """Not more than so many are compared; who has gone meanwhile is not."""
        gateway = self.hashing(users=[ANNA])
        callers = [self.shows(gateway, "a") for _ in range(bounds.HASHES_AT_ONCE + 2)]
        self.assertEqual(len(self.threads.begun), bounds.HASHES_AT_ONCE)
        callers[-2].hangs_up()
        for caller in (*callers[:-2], callers[-1]):
            self.assertEqual(self.finishes(caller), b"PONG\r\n")
        self.assertEqual(self.threads.begun, [])

    def test_who_goes_meanwhile(self) -> None:
        """Nothing comes of the verdict."""
        gateway = self.hashing(users=[ANNA])
        caller = self.shows(gateway, "a")
        caller.hangs_up()
        self.threads.finish()
        self.assertEqual(gateway.clients, {})

    def test_who_waits_long(self) -> None:
        """He is neither called too late nor asked whether he is alive, and is served then."""
        gateway = self.hashing(users=[ANNA], ping_seconds=1.0, pings_max=1)
        caller = self.shows(gateway, "a")
        self.network.settle(20.0)
        self.assertEqual(caller.hears(), b"")
        self.assertEqual(self.finishes(caller), b"PONG\r\n")

    def test_a_comparison_that_fails(self) -> None:
        """Who waits for it is not let in, and the log says why."""
        gateway = self.hashing(users=[ANNA])
        caller = self.shows(gateway, "a")
        on_result, _, _ = self.threads.begun.pop()
        on_result(False, Failure(MemoryError("no room")))
        self.network.settle(0.1)
        self.assertEqual(caller.hears(), NOT_ALLOWED)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)


class CompareTests(HashCase):
    """Hashes and passwords."""

    def test_each_form(self) -> None:
        """The letter of a hash means nothing, as at nats-server; any text may be shown."""
        for letter in ("$2a$", "$2b$", "$2x$", "$2y$", "$2$"):
            hashed = HASH_A.replace("$2a$", letter)
            self.assertTrue(is_right("a", hashed), letter)
            for wrong in ("b", "", "a\0", "\ud800", "\xe4" * 100):
                self.assertFalse(is_right(wrong, hashed), (letter, wrong))

    def test_what_is_long(self) -> None:
        """What is behind the last byte that bcrypt knows does not count."""
        long = "l" * bounds.HASHED_BYTES
        self.assertTrue(is_right(long, HASH_LONG))
        self.assertTrue(is_right(long + "x", HASH_LONG))
        self.assertFalse(is_right(long[1:], HASH_LONG))


class RenewalTests(HashCase):
    """The table is read again."""

    def test_the_same_hash(self) -> None:
        """Who has shown its password is not asked again, and has his new rights."""
        gateway = self.hashing(users=[ANNA])
        anna = self.shows(gateway, "a")
        self.assertEqual(self.finishes(anna), b"PONG\r\n")
        self.change(gateway, users=[{**ANNA, "permissions": {"publish": ["b"]}}])
        self.assertEqual(self.threads.begun, [])
        self.assertIn(b"Permissions Violation", self.says(anna, b"PUB a 0\r\n\r\n"))

    def test_another_hash(self) -> None:
        """What he has shown is compared with it, and he stays until that is known."""
        gateway = self.hashing(users=[{**ANNA, "password": "a"}])
        anna = self.anna(gateway, b"SUB a 1\r\n")
        self.change(gateway, users=[{**ANNA, "permissions": {"publish": ["b"]}}])
        self.assertEqual(self.says(anna, b"PUB a 0\r\n\r\n"), b"MSG a 1 0\r\n\r\n")
        self.assertEqual(self.finishes(anna), b"")
        self.assertIn(b"Permissions Violation", self.says(anna, b"PUB a 0\r\n\r\n"))
        self.change(gateway, users=[{**ANNA, "password": HASH_B}])
        self.assertEqual(self.finishes(anna), NOT_ALLOWED)

    def test_who_is_not_there_any_more(self) -> None:
        """While somebody waits his user goes, or gets another password: that counts."""
        gateway = self.hashing(users=[ANNA, OTTO])
        for users, steps in (([OTTO], 1), ([{**ANNA, "password": HASH_B}], 2)):
            self.change(gateway, users=[ANNA, OTTO])
            anna = self.shows(gateway, "a")
            self.change(gateway, users=users)
            for _ in range(steps):
                heard = self.finishes(anna)
            self.assertEqual(heard, NOT_ALLOWED)
            self.assertEqual(self.threads.begun, [])

    def test_who_says_that_he_is_somebody_else(self) -> None:
        """While that is not known nothing is asked besides; who may be here then is judged."""
        gateway = self.hashing(users=[ANNA, OTTO])
        otto = self.otto(gateway)
        otto.says(self.login(user="anna", **{"pass": "a"}) + b"PUB b 0\r\n\r\nPING\r\n")
        self.change(gateway, users=[{**ANNA, "permissions": {"publish": ["a"]}}, OTTO])
        self.assertEqual(len(self.threads.begun), 1)
        self.assertEqual(self.finishes(otto), b"")
        heard = self.finishes(otto)
        self.assertTrue(heard.startswith(b"-ERR 'Permissions Violation"), heard)
        self.assertTrue(heard.endswith(b"PONG\r\n"), heard)

    def test_two_changes(self) -> None:
        """The last one counts, whatever comes of a comparison for the one before."""
        gateway = self.hashing(users=[{**ANNA, "password": "a"}])
        anna = self.anna(gateway)
        self.change(gateway, users=[{**ANNA, "password": HASH_B}])
        self.change(gateway, users=[ANNA])
        self.assertEqual(self.finishes(anna), b"")
        self.assertEqual(self.finishes(anna), b"")
        self.assertEqual(self.says(anna, b"PING\r\n"), b"PONG\r\n")
