"""
A service that runs under ``twistd atbus``: answers requests, and says who has asked.

``make`` is what the configuration names; it gets the node before it is started and the table
``application.settings`` of the file.
"""

from twisted.application.service import Service
from twisted.logger import Logger


class Echo(Service):
    """Answers a question with itself, louder."""

    log = Logger()

    def __init__(self, node, mark):
        self.node = node
        self.mark = mark

    def startService(self):
        super().startService()
        self.node.on_request(self.answer)

    def answer(self, source, question):
        self.log.info("asked by {source}", source=hex(source))
        return question.upper() + self.mark


def make(node, settings):
    """Make the service for *node*."""
    return Echo(node, str(settings.get("mark", "!")).encode())
