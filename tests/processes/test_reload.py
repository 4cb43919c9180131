"""A process whose configuration changes while it runs."""

from __future__ import annotations

import json
import re
import signal
import socket

from twisted.internet.threads import deferToThread

from tests.processes.harness import PATIENCE_SECONDS, UP, ProcessCase

ROOT = """
id = "0x10000"
subnets = ["0/16"]
listen = ["unix://{folder}/root.sock"]
access_tokens = ["old"]
"""

CHILD = """
id = "ID"
upstream = "unix://{folder}/root.sock"
access_tokens = ["TOKEN"]
"""


NATS = """
id = "0x10000"
[nats]
listen = "127.0.0.1:0"
users = [{users}]
"""
BEFORE = ", ".join(f'{{user = "{name}", password = "p"}}' for name in ("stays", "narrow", "goes"))
AFTER = (
    '{user = "stays", password = "p"}, '
    '{user = "narrow", password = "p", permissions = {subscribe = ["y"]}}'
)


class Client:
    """
    A client of NATS that has subscribed to everything below ``x``, on a blocking socket.

    :param name: Its user.
    """

    def __init__(self, port: int, name: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.settimeout(PATIENCE_SECONDS)
        said = {"user": name, "pass": "p", "verbose": False}
        self.says(b"CONNECT " + json.dumps(said).encode() + b"\r\nSUB x.> 1\r\n")
        self.hears(b"PONG\r\n")

    def says(self, data: bytes) -> None:
        """Send."""
        self._socket.sendall(data)

    def hears(self, end: bytes) -> bytes:
        """
        Ask whether the process is there, and give what comes until it says something, or closes.

        :param end: What it says; empty for its end.
        """
        if end:
            self.says(b"PING\r\n")
        heard = b""
        while not (end and heard.endswith(end)) and (data := self._socket.recv(65_536)):
            # It asks the same now and then.
            heard = (heard + data).replace(b"PING\r\n", b"")
        return heard

    def close(self) -> None:
        """Go."""
        self._socket.close()


class HangupTests(ProcessCase):
    """SIGHUP has the file read again."""

    async def test_what_can_change_changes(self) -> None:
        """
        After SIGHUP the new token is accepted, and who was there stays.

        The second option that has changed needs a new process, and the log names it.
        """
        root = self.start("root", ROOT)
        await root.says(UP)
        first = self.start("first", CHILD.replace("ID", "0x10001").replace("TOKEN", "old"))
        await first.says(UP)
        changed = ROOT.replace('"old"', '"old", "new"').replace("subnets", 'name="x"\nsubnets')
        self.write("root.toml", changed)
        root.kill(signal.SIGHUP)
        await root.says("0x10000 runs with another access_tokens\n")
        await root.says("0x10000 has to be started again for another name\n")
        second = self.start("second", CHILD.replace("ID", "0x10002").replace("TOKEN", "new"))
        await second.says(UP)
        self.assertNotIn("has lost", root.output + first.output)
        root.kill(signal.SIGHUP)
        await root.says("0x10000 has to be started again for another name\n")

    async def test_registries_change(self) -> None:
        """
        After SIGHUP a node uses other servers of a registry; without any it would have to be
        started again, and files that cannot be used are refused by the names of their options.
        """
        where = 'endpoints = ["http://127.0.0.1:9"]\nstart_seconds = 0\n'
        text = f'id = "0x10000"\n[discovery.etcd]\n{where}'
        node = self.start("node", text)
        await node.says(UP)

        async def reload(text: str, answer: str) -> None:
            self.write("node.toml", text)
            node.kill(signal.SIGHUP)
            await node.says(answer)

        await reload(
            text + 'ca_file = "/no/such/file"\n',
            "0x10000 keeps its configuration: .*: etcd.ca_file: .*No such file",
        )
        user = 'user = "me"\npassword = "geheim"\n'
        await reload(text + user, "0x10000 runs with another discovery.etcd\n")
        again = "0x10000 has to be started again for another discovery.etcd\n"
        await reload('id = "0x10000"\n', again)
        for not_said in ("geheim", "Traceback", "Starting factory"):
            self.assertNotIn(not_said, node.output)

    async def test_clients_of_nats(self) -> None:
        """
        After SIGHUP a user who is gone is closed, one who has other rights is told so, and one who
        stays gets every message; what cannot change is refused by name, and nothing is different.
        """
        node = self.start("node", NATS.format(users=BEFORE))
        await node.says(UP)
        port = int((await node.says(r"nats listen: 127\.0\.0\.1:(\d+)"))[1])
        stays, narrow, goes = [
            await deferToThread(Client, port, name) for name in ("stays", "narrow", "goes")
        ]
        for client in (stays, narrow, goes):
            self.addCleanup(client.close)
        goes.says(b"".join(b"PUB x.%d 1\r\n1\r\n" % number for number in range(500)))

        async def reload(text: str, answer: str) -> None:
            self.write("node.toml", text)
            node.kill(signal.SIGHUP)
            await node.says(answer)

        fault = "nats.listen: cannot change from '127.0.0.1:0' to '127.0.0.1:1' while"
        text = NATS.format(users=AFTER)
        changed = text.replace("127.0.0.1:0", "127.0.0.1:1")
        await reload(changed, f"keeps its configuration: .*{re.escape(fault)}")
        heard = await deferToThread(goes.hears, b"PONG\r\n")
        self.assertTrue(heard.endswith(b"PONG\r\n"))
        await reload(text, "0x10000 runs with another nats\n")
        self.assertEqual(await deferToThread(goes.hears, b""), b"")
        heard = await deferToThread(narrow.hears, b"PONG\r\n")
        told = b'-ERR \'Permissions Violation for Subscription to "x.>" (sid "1")\'\r\n'
        self.assertTrue(heard.endswith(told + b"PONG\r\n"), heard[-200:])
        stays.says(b"PUB x.500 1\r\n1\r\n")
        heard = await deferToThread(stays.hears, b"PONG\r\n")
        wanted = [b"MSG x.%d 1 1\r\n1\r\n" % number for number in range(501)]
        self.assertEqual(heard, b"".join(wanted) + b"PONG\r\n")
        node.kill(signal.SIGHUP)
        await node.says("0x10000 finds nothing new in its configuration")
        self.assertNotIn("Traceback", node.output)

    async def test_faults_change_nothing(self) -> None:
        """A file with faults is refused with all of them; the node goes on as it was."""
        root = self.start("root", ROOT)
        await root.says(UP)
        self.write("root.toml", ROOT.replace('"old"', '"new", 5') + "hops = 0\ncolour = 1")
        root.kill(signal.SIGHUP)
        line = (await root.says("0x10000 keeps its configuration: .*\n"))[0]
        for fault in ("access_tokens[1]: ", "hops: unknown", "colour: unknown"):
            self.assertIn(fault, line)
        child = self.start("child", CHILD.replace("ID", "0x10001").replace("TOKEN", "old"))
        await child.says(UP)
        (self.folder / "root.toml").unlink()
        root.kill(signal.SIGHUP)
        await root.says("0x10000 keeps its configuration: .*No such file")
        self.write("root.toml", ROOT)
        root.kill(signal.SIGHUP)
        await root.says("0x10000 finds nothing new in its configuration")
        self.assertNotIn("Traceback", root.output)
