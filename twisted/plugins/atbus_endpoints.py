"""
Make ``atbus:`` endpoints known to Twisted.

Where Twisted cannot keep what it has found, it imports this file whenever it looks for any plug-in:
what reads a text is loaded for the first one.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.plugin import IPlugin
from zope.interface import implementer

PREFIX = "atbus"


@implementer(IPlugin, IStreamServerEndpointStringParser)
class _Server:
    prefix = PREFIX

    def parseStreamServer(  # Twisted's name
        self, reactor: Any, *args: Any, **kwargs: Any
    ) -> IStreamServerEndpoint:
        from atbus.stream.strings import read_server  # noqa: PLC0415

        return read_server(reactor, *args, **kwargs)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _Client:
    prefix = PREFIX

    def parseStreamClient(  # Twisted's name
        self, reactor: Any, *args: Any, **kwargs: Any
    ) -> IStreamClientEndpoint:
        from atbus.stream.strings import read_client  # noqa: PLC0415

        return read_client(reactor, *args, **kwargs)


server = _Server()
client = _Client()
