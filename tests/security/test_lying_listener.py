"""A node that listens under an id, or with a range, that its certificate does not name."""

from __future__ import annotations

from typing import Any

from atbus.busid import BusId, Subnet
from atbus.errors import RegistrationRefused, Status
from atbus.node.node import Node
from atbus.testing.recording import error_of
from tests.security.nodes import CHILD, ROOT, NodesCase

OTHER = 0x12350000


class ListenerTests(NodesCase):
    """Somebody whose certificate is good, for another range, waits to be dialled."""

    async def test_security_lying_listener(self) -> None:
        """
        Who dials it refuses it before it can refuse anything, though its certificate is of the
        realm and for the address that was dialled, and though it has the id that was expected.
        """
        liar = await self.listener(access_tokens=["of somebody else"])
        # No node with such a configuration would even be made.
        liar._parts.context.bus_id = ROOT
        child = self.node(f"{CHILD:#x}/0", upstream=str(liar.addresses[0]))
        error = await self.in_time(
            error_of(child.start(), RegistrationRefused), "it is registered with"
        )
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertIn("its certificate allows 0x12350000/8, not 0x12340000", error.detail)
        self.assertEqual(dict(child.endpoints), {})
        other = self.node(f"{CHILD + 1:#x}/0")
        await other.start()
        dialling = other._parts.dialer.connect(liar.addresses[0], expected_id=ROOT)
        error = await self.in_time(error_of(dialling, RegistrationRefused), "it is a peer")
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertEqual(dict(other.endpoints), {})

    async def test_security_greedy_listener(self) -> None:
        """Who dials it refuses it as well if it says that more is below it than it may have."""
        greedy = await self.listener()
        greedy._parts.context.table.renumber(BusId(OTHER), [Subnet(OTHER, 16)])
        other = self.node(f"{CHILD:#x}/0")
        await other.start()
        dialling = other._parts.dialer.connect(greedy.addresses[0])
        error = await self.in_time(error_of(dialling, RegistrationRefused), "it is a peer")
        self.assertEqual((error.status, error.by_peer), (Status.NOT_ADMITTED, False))
        self.assertIn("its certificate allows 0x12350000/8, not 0x12350000/16", error.detail)
        self.assertEqual(dict(other.endpoints), {})

    async def listener(self, **how: Any) -> Node:
        """Start somebody whose certificate names a range that is not where he listens."""
        node = self.node(f"{OTHER:#x}/8", listen=["tls+ipv4://127.0.0.1:0"], **how)
        await node.start()
        return node
