"""Which of several servers is asked."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from atbus.discovery import bounds
from atbus.discovery.etcd.servers import Member, Servers, read_url
from atbus.errors import ConfigurationError

A, B, C = "http://a:1", "http://b:2", "http://c:3"


def first(urls: Sequence[str]) -> str:
    """Choose without lots."""
    return urls[0]


class UrlTests(SynchronousTestCase):
    """What names a server."""

    def test_urls_have_one_form(self) -> None:
        """A slash at the end says nothing, and a port may be left out."""
        self.assertEqual(read_url("http://a:1/"), A)
        self.assertEqual(read_url("https://a"), "https://a:443")
        self.assertEqual(read_url("http://[::1]:5"), "http://[::1]:5")

    def test_anything_else_is_no_server(self) -> None:
        """What has a path, a user, another scheme or no host is refused, with a sentence."""
        for text in (
            *("", "a:1", "ftp://a:1", "http://", "http://a:1/v3", "http://u:p@a:1"),
            *("http://a:x", "http://a:99999", "http://a:1?x", "http://a b:1", "http://ä:1"),
        ):
            with self.assertRaises(ValueError, msg=text):
                read_url(text)


class ServerTests(SynchronousTestCase):
    """Several of them."""

    def test_one_is_asked_until_it_does_not_answer(self) -> None:
        """
        The next one is one that has not failed; when all have, they begin anew.

        Scenario: Q7
        """
        servers = Servers([A, B, C], first)
        self.assertEqual(servers.current, A)
        self.assertTrue(servers.failed(A))
        self.assertEqual(servers.current, B)
        self.assertFalse(servers.failed(A))
        servers.failed(B)
        self.assertEqual(servers.current, C)
        servers.failed(C)
        self.assertEqual(servers.current, A)

    def test_an_answer_forgives(self) -> None:
        """When a server answers, those that failed before may be asked again."""
        servers = Servers([A, B, C], first)
        servers.failed(A)
        servers.answered(B)
        servers.failed(B)
        self.assertEqual(servers.current, A)

    def test_the_only_one_is_kept(self) -> None:
        """Where there is one server, there is nobody else to ask."""
        servers = Servers([A], first)
        self.assertFalse(servers.failed(A))
        self.assertEqual(servers.current, A)

    def test_members_are_asked_as_well(self) -> None:
        """
        What the cluster says of its members is added; nonsense in it is not.

        Scenario: Q2, S14
        """
        servers = Servers([A], first)
        servers.learned([B, "nonsense", B, C])
        self.assertEqual(servers.members, (B, C))
        self.assertEqual(servers.known, (B, C, A))
        servers.failed(A)
        self.assertEqual(servers.current, B)
        servers.learned([C])
        self.assertEqual(servers.current, C)

    def test_nobody_leads_us_out_of_tls(self) -> None:
        """Where all that was configured is safe, a member that is not is not asked."""
        servers = Servers(["https://a:1"], first)
        servers.learned([B, "https://c:3"])
        self.assertEqual(servers.members, ("https://c:3",))

    def test_there_are_not_too_many(self) -> None:
        """A cluster that names thousands of members is believed a few."""
        servers = Servers([A], first)
        servers.learned(f"http://m{number}:1" for number in range(5_000))
        self.assertEqual(len(servers.members), bounds.ETCD_MEMBERS_MAX)

    def test_a_wrong_configuration_is_told_at_once(self) -> None:
        """
        No server at all, or some that are none: every fault is named.

        Scenario: S15
        """
        error = self.assertRaises(ConfigurationError, Servers, ["x", A, "y"], first)
        self.assertEqual(len(error.faults), 2)
        self.assertRaises(ConfigurationError, Servers, [], first)

    def test_members_are_read(self) -> None:
        """What is no text among the addresses of a member is left out."""
        member = Member.parse({"ID": "5", "name": "one", "clientURLs": [A, 5, None]})
        self.assertEqual(member, Member(member_id=5, name="one", client_urls=(A,)))
        self.assertEqual(Member.parse({}), Member(member_id=0, name="", client_urls=()))
