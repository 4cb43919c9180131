"""The options of CONNECT."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atbus.nats.connect_options import ConnectOptions, read_connect


class ConnectTests(SynchronousTestCase):
    def test_what_is_left_out(self) -> None:
        """A client that says nothing is verbose and pedantic, and hears its echo."""
        options = read_connect(b"{}", ConnectOptions())
        self.assertEqual((options.verbose, options.pedantic, options.echo), (True, True, True))
        self.assertEqual((options.headers, options.protocol), (False, 0))

    def test_what_is_said(self) -> None:
        """Names are read in any case; unknown ones and nulls are ignored."""
        text = b'{"verbose":false,"Pass":"x","tls_required":true,"other":[1],"name":null}'
        options = read_connect(text, ConnectOptions(name="kept"))
        self.assertEqual((options.verbose, options.password), (False, "x"))
        self.assertEqual((options.tls_required, options.name), (True, "kept"))

    def test_what_cannot_be_read(self) -> None:
        """Wrong types, no objects and what is no JSON."""
        for wrong in (
            *(b"", b"x", b"[]", b"1", b'{"verbose":1}', b'{"protocol":"1"}', b'{"protocol":1.5}'),
            *(b'{"name":5}', b"\xff", b"[" * 4000, b'{"protocol":true}'),
            *(b'{"x":NaN}', b'{"x":[Infinity]}', b'{"x":-Infinity}', b"\xef\xbb\xbf{}"),
            *(b'{"x":\xff}', b"{}\xff", '{"verbose":true}'.encode("utf-16")),
            *(b'{"protocol":9223372036854775808}', b'{"protocol":-9223372036854775809}'),
        ):
            self.assertRaises(ValueError, read_connect, wrong, ConnectOptions())

    def test_what_is_no_text(self) -> None:
        """In a name there are letters that nobody knows where it is no UTF-8, as in Go."""
        options = read_connect(b'{"name":"a\xff\xfeb","\xff":1}', ConnectOptions())
        self.assertEqual(options.name, "a\ufffd\ufffdb")
        most = read_connect(b'{"protocol":9223372036854775807}', ConnectOptions())
        self.assertEqual(most.protocol, 9223372036854775807)

    @given(st.binary(max_size=60))
    @settings(deadline=None)
    def test_noise(self, noise: bytes) -> None:
        """Any bytes are read or refused."""
        try:
            self.assertIsInstance(read_connect(noise, ConnectOptions()), ConnectOptions)
        except ValueError:
            return
