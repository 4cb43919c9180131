"""
What a client is told when it does something wrong, and why a connection ended.

Clients look for the texts, so each is NATS's to the letter.
"""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why a connection ended, in the words that ``/connz`` has for it."""

    CLIENT_CLOSED = "Client Closed"
    AUTHENTICATION_TIMEOUT = "Authentication Timeout"
    AUTHENTICATION_VIOLATION = "Authentication Failure"
    AUTHENTICATION_EXPIRED = "Authentication Expired"
    REVOKED = "Credentials Revoked"
    TLS_HANDSHAKE = "TLS Handshake Failure"
    SLOW_CONSUMER_BYTES = "Slow Consumer (Pending Bytes)"
    SLOW_CONSUMER_TIME = "Slow Consumer (Write Deadline)"
    PARSE_ERROR = "Parse Error"
    STALE = "Stale Connection"
    PROTOCOL_VIOLATION = "Protocol Violation"
    PROTOCOL_VERSION = "Bad Client Protocol Version"
    CONNECTIONS_MAX = "Maximum Connections Exceeded"
    ACCOUNT_CONNECTIONS_MAX = "Maximum Account Connections Exceeded"
    SUBSCRIPTIONS_MAX = "Maximum Subscriptions Exceeded"
    PAYLOAD_MAX = "Maximum Message Payload Exceeded"
    LINE_MAX = "Maximum Control Line Exceeded"
    NO_RESPONDERS = "No Responders Requires Headers"
    SHUTDOWN = "Server Shutdown"


class Fault(enum.Enum):
    """
    What ends a connection.

    :param text: What the client is told; empty when it is told nothing.
    :param reason: What the connection is noted down with.
    """

    UNKNOWN_OPERATION = ("Unknown Protocol Operation", Reason.PROTOCOL_VIOLATION)
    MALFORMED = ("", Reason.PROTOCOL_VIOLATION)
    CLIENT_ERROR = ("", Reason.PARSE_ERROR)
    USER_GONE = ("", Reason.CLIENT_CLOSED)
    LINE_TOO_LONG = ("maximum control line exceeded", Reason.LINE_MAX)
    PAYLOAD_TOO_LARGE = ("Maximum Payload Violation", Reason.PAYLOAD_MAX)
    PROTOCOL_VERSION = ("invalid client protocol", Reason.PROTOCOL_VERSION)
    NO_RESPONDERS_WITHOUT_HEADERS = (
        "no responders requires headers support",
        Reason.NO_RESPONDERS,
    )
    NOT_AUTHORIZED = ("Authorization Violation", Reason.AUTHENTICATION_VIOLATION)
    AUTHENTICATION_TIMEOUT = ("Authentication Timeout", Reason.AUTHENTICATION_TIMEOUT)
    AUTHENTICATION_EXPIRED = ("User Authentication Expired", Reason.AUTHENTICATION_EXPIRED)
    AUTHENTICATION_REVOKED = ("User Authentication Revoked", Reason.REVOKED)
    TOO_MANY_CONNECTIONS = ("maximum connections exceeded", Reason.CONNECTIONS_MAX)
    TOO_MANY_OF_ACCOUNT = (
        "maximum account active connections exceeded",
        Reason.ACCOUNT_CONNECTIONS_MAX,
    )
    TOO_MANY_SUBSCRIPTIONS = ("maximum subscriptions exceeded", Reason.SUBSCRIPTIONS_MAX)
    STALE = ("Stale Connection", Reason.STALE)

    def __init__(self, text: str, reason: Reason) -> None:
        self.text = text
        self.reason = reason


def error_line(text: str) -> bytes:
    """
    Write what a client is told.

    :param text: Without quotes around it.
    :returns: The line.
    """
    return f"-ERR '{text}'\r\n".encode()
