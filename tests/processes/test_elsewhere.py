"""Processes that run in another place, or as somebody else, than the one that was started."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

from twisted.internet.threads import deferToThread

from tests.chaos.case import need
from tests.processes.harness import PATIENCE_SECONDS, ProcessCase

NODE = """
id = "0x10000"
listen = ["unix:///run/node.sock"]
record_events = "/run/node.events"
[nats]
listen = "127.0.0.1:0"
websocket = "127.0.0.1:0"
monitor = "127.0.0.1:0"
"""

NOBODY = 65534


def http(port: int, asks: str) -> str:
    """Ask, and give what comes until the other side has said enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(asks.replace("\n", "\r\n").encode())
        heard = b""
        while b"\r\n\r\n" not in heard and (data := connection.recv(65_536)):
            heard += data
        return heard.decode("latin-1")


class ElsewhereTests(ProcessCase):
    """Only what is in its new root is there for the process."""

    async def test_another_root(self) -> None:
        """
        A node with a gateway, in a root without Python and as nobody in particular, does all that
        others do; its file is not there to be read again, and it says so.
        """
        need(os.geteuid() == 0, "root, to have another root")
        self.folder.chmod(0o755)
        root = self.folder / "root"
        for place in ("run", "dev", "etc"):
            (root / place).mkdir(parents=True)
        os.chown(root / "run", NOBODY, NOBODY)
        # Twisted opens it, to have a descriptor to give up.
        (root / "dev" / "null").write_bytes(b"")
        (root / "etc" / "passwd").write_text(f"nobody:x:{NOBODY}:{NOBODY}::/:/bin/false\n")
        self.write("node.toml", NODE)
        where = ("--chroot", str(root), "--uid", str(NOBODY), "--gid", str(NOBODY))
        node = self.run_twistd(
            "node", "-n", "--pidfile=", *where, "atbus", "--config", "node.toml"
        )
        await node.says("0x10000 is running\n")
        ports = [
            int((await node.says(rf"nats {name}: 127\.0\.0\.1:(\d+)"))[1])
            for name in ("listen", "websocket", "monitor")
        ]
        info = await deferToThread(http, ports[0], "CONNECT {}\nPING\n\n\n")
        self.assertIn("PONG", info)
        upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
        asks = f"GET / HTTP/1.1\nHost: x\n{upgrade}Sec-WebSocket-Key: {'A' * 22}==\n\n"
        self.assertIn(" 101 ", await deferToThread(http, ports[1], asks))
        self.assertIn(" 200 ", await deferToThread(http, ports[2], "GET /varz HTTP/1.0\n\n"))
        words = ("-m", "atbus", "status", "-o", "json", "--via", f"unix://{root}/run/node.sock")
        status = self.run_program("status", sys.executable, *words)
        self.assertEqual(await status.ends(), 0, status.output)
        self.assertEqual(json.loads(status.output)["id"], "0x10000")
        node.kill(signal.SIGHUP)
        await node.says("0x10000 keeps its configuration: .*No such file")
        self.assertEqual(await node.stops(), -signal.SIGTERM)
        self.assertNotRegex(node.output, "Traceback|No module")
        self.assertEqual((root / "run" / "node.events").stat().st_uid, NOBODY)
