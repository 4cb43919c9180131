"""All schemes as one."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from atbus.address import Address, Scheme
from atbus.channels.interfaces import ChannelOptions, IChannelScheme
from atbus.channels.schemes import SCHEMES, Channels
from atbus.errors import ConnectFailed, ListenFailed
from atbus.testing.recording import Reception, RecordingReceiver


class SchemesTests(SynchronousTestCase):
    """Which scheme is done by what."""

    def setUp(self) -> None:
        self.channels = Channels(MemoryReactorClock(), ChannelOptions(), Clock())

    def test_every_scheme_keeps_the_interface(self) -> None:
        """Each implementation, and all of them as one, offer what the interface says."""
        verifyObject(IChannelScheme, self.channels)
        for make in SCHEMES.values():
            verifyObject(IChannelScheme, make(MemoryReactorClock(), ChannelOptions(), Clock()))

    def test_a_scheme_that_is_not_available(self) -> None:
        """
        An address whose scheme nothing implements here is refused by name, on either side.

        Scenario: B15
        """
        for scheme in set(Scheme) - set(SCHEMES):
            port = 1 if scheme.value.startswith("tls") else None
            host = {Scheme.TLS_IPV4: "127.0.0.1", Scheme.TLS_IPV6: "::1"}.get(scheme, "name")
            address = Address(scheme, host, port)
            listening = self.channels.listen(address, Reception())
            listen_error = self.failureResultOf(listening, ListenFailed).value
            self.assertIn(scheme.value, listen_error.detail)
            receiver = RecordingReceiver()
            connect_error = self.failureResultOf(
                self.channels.connect(address, receiver), ConnectFailed
            ).value
            self.assertIn(scheme.value, connect_error.detail)
            self.assertEqual(receiver.calls, [])
