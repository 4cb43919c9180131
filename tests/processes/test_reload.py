"""A process whose configuration changes while it runs."""

from __future__ import annotations

import signal

from tests.processes.harness import UP, ProcessCase

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
