"""A node that listens under an id that its certificate does not name."""

from __future__ import annotations

from atbus.errors import RegistrationRefused, Status
from atbus.testing.recording import error_of
from tests.security.nodes import CHILD, ROOT, NodesCase

OTHER = 0x12350000


class ListenerTests(NodesCase):
    """Somebody whose certificate is good, for another range, waits to be dialled."""

    async def test_security_lying_listener(self) -> None:
        """
        Who dials it refuses it, though its certificate is of the realm and for the address that was
        dialled, and though it has the id that was expected.
        """
        liar = self.node(f"{OTHER:#x}/16", listen=["tls+ipv4://127.0.0.1:0"])
        await liar.start()
        place = str(liar.addresses[0])
        # No node with such a configuration would even be made.
        liar._parts.context.bus_id = ROOT
        child = self.node(f"{CHILD:#x}/0", upstream=place)
        error = await self.in_time(
            error_of(child.start(), RegistrationRefused), "it is registered with"
        )
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertIn("its certificate allows 0x12350000/16", error.detail)
        self.assertEqual(dict(child.endpoints), {})
        other = self.node(f"{CHILD + 1:#x}/0")
        await other.start()
        dialling = other._parts.dialer.connect(liar.addresses[0], expected_id=ROOT)
        error = await self.in_time(error_of(dialling, RegistrationRefused), "it is a peer")
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertEqual(dict(other.endpoints), {})
