"""
What a client is told whose publication, or subscription, the bus cannot carry.

Clients take most errors for the end of everything, and go on after one that begins as those about
rights do. nats-server has words of that kind for a subject, and for a reply subject.
"""

from __future__ import annotations

from atbus.errors import Status, SubjectError, Undeliverable
from atbus.nats.accounts import Names
from atbus.nats.faults import error_line
from atbus.nats.raw_subjects import is_pattern, quoted
from atbus.subjects.pattern import parse_subject


def complaint(names: Names, subject: bytes, reply: bytes, error: Exception) -> bytes:
    """
    Write what is told of a publication that was refused.

    :param names: How the client's subjects are called on the bus.
    :param subject: As the client has written it.
    :param reply: Likewise; empty for none.
    :param error: Why it was refused.
    :returns: The line; empty where nobody could have got it: the node is not up, or the subject has
        an empty token, of which nats-server says nothing, too.
    """
    if isinstance(error, Undeliverable):
        return refused(subject) if error.status is Status.NO_RIGHT else b""
    if not isinstance(error, SubjectError | UnicodeDecodeError):
        return b""
    if _is_good(names, subject):
        # Then it is the other one.
        return refused_reply(reply)
    return b"" if b"" in subject.split(b".") else refused(subject)


def refused(subject: bytes) -> bytes:
    """Write that a client may not publish on a subject."""
    return error_line(f"Permissions Violation for Publish to {quoted(subject)}")


def refused_reply(reply: bytes) -> bytes:
    """Write that a client may not have answers sent to a reply subject."""
    return error_line(f"Permissions Violation for Publish with Reply of {quoted(reply)}")


def violation(subject: bytes, queue: bytes) -> str:
    """
    Write that a client may not subscribe.

    :param subject: To this.
    :param queue: As a member of this group; empty for none.
    """
    text = f"Permissions Violation for Subscription to {quoted(subject)}"
    return f"{text} using queue {quoted(queue)}" if queue else text


def unsubscribable(subject: bytes, queue: bytes) -> bytes:
    """
    Write what a client is told who may subscribe, but to what no bus carries.

    What is no pattern anywhere is called that, as by nats-server, after which clients close. What
    is one there is refused in its words for what is not allowed, after which they go on.

    :param subject: What it has asked for.
    :param queue: As a member of this group; empty for none.
    """
    return error_line(violation(subject, queue) if is_pattern(subject) else "Invalid Subject")


def _is_good(names: Names, subject: bytes) -> bool:
    try:
        parse_subject(names.read(subject), literal_wildcards=True)
    except (SubjectError, UnicodeDecodeError):
        return False
    return True
