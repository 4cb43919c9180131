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
            *(b'{"name":5,"name":"b"}', b'{"NAME":5,"name":"b"}', '{"u\u017fer":5}'.encode()),
            *(b'{"import":5}', b'{"Export":[]}', b'{"import":{"allow":"a"}}'),
            *(b'{"export":{"Deny":["a",5]}}', b'{"name":{}}', b'{"name":[]}'),
        ):
            self.assertRaises(ValueError, read_connect, wrong, ConnectOptions())

    def test_what_is_said_twice(self) -> None:
        """The last word counts, unless it is none; names are the same in any case."""
        for text, name in (
            (b'{"name":"a","name":"b"}', "b"),
            (b'{"name":"b","NAME":"a"}', "a"),
            (b'{"name":"a","Name":null}', "a"),
        ):
            self.assertEqual(read_connect(text, ConnectOptions(name="kept")).name, name)
        strange = '{"ver\u017fion":"1","\u212aind":5}'.encode()
        self.assertEqual(read_connect(strange, ConnectOptions()).version, "1")

    def test_what_is_for_servers(self) -> None:
        """What only servers say to each other is no fault if it is what they say."""
        for said in (b"null", b"{}", b'{"allow":["a",null],"deny":null}', b'{"x":5}'):
            options = read_connect(b'{"import":%s,"name":"x"}' % said, ConnectOptions())
            self.assertEqual(options.name, "x")

    def test_what_is_no_text(self) -> None:
        """In a name there are letters that nobody knows where it is no UTF-8, as in Go."""
        options = read_connect(b'{"name":"a\xff\xfeb","\xff":1}', ConnectOptions())
        self.assertEqual(options.name, "a\ufffd\ufffdb")
        halves = read_connect(b'{"name":"\\ude00\\ud83d \\ud83d\\ude00"}', ConnectOptions())
        self.assertEqual(halves.name, "\ufffd\ufffd \U0001f600")
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
