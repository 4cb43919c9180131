"""
Make ``atbus:`` endpoints known to Twisted.

This is a file of its own: who looks for commands of ``twistd`` need not load all that streams need.
"""

from __future__ import annotations

from atbus.stream.strings import ClientParser, ServerParser

server = ServerParser()
client = ClientParser()
