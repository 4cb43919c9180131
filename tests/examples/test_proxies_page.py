"""The page about proxies that come and go: its files can be used as they are."""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from atbus.node.toml import parse_config
from tests.documents import captioned_blocks

PAGE = "howto/add-and-remove-proxies.rst"
UNIT = "atbus-proxy@.service"


class ProxiesPageTests(SynchronousTestCase):
    """docs/howto/add-and-remove-proxies.rst."""

    def setUp(self) -> None:
        self.files = captioned_blocks(PAGE)
        self.drain_seconds = parse_config(self.files["proxy.toml"], ["id=17"]).drain_seconds

    def test_configurations(self) -> None:
        """The service knows more than one proxy, and both say that positions are records."""
        service = parse_config(self.files["service.toml"])
        proxy = parse_config(self.files["proxy.toml"], ["id=17"])
        self.assertEqual((service.topology, proxy.topology), ("records", "records"))
        self.assertEqual(len(service.upstreams), 2)
        self.assertTrue(proxy.proxy)

    def test_the_unit(self) -> None:
        """The unit waits longer than a drain takes, and knows how a node ends in good order."""
        unit = configparser.ConfigParser(interpolation=None, strict=True)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(self.files[UNIT])
        service = unit["Service"]
        self.assertGreater(float(service["TimeoutStopSec"]), self.drain_seconds)
        self.assertEqual(service["SuccessExitStatus"], "143")
        self.assertIn("--id %i", service["ExecStart"])
        self.assertEqual(service["ExecReload"], "/bin/kill -HUP $MAINPID")

    def test_what_systemd_says_of_the_unit(self) -> None:
        """systemd's own check finds nothing in the unit, where there is systemd."""
        tool = shutil.which("systemd-analyze")
        if tool is None:
            raise SkipTest("this needs systemd-analyze")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / UNIT.replace("@", "@0x11")
            text = self.files[UNIT].replace("/opt/bus/bin/twistd", sys.executable)
            path.write_text(text, encoding="utf-8")
            words = [tool, "verify", "--man=no", str(path)]
            ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        mine = [line for line in ended.stderr.splitlines() if "atbus-proxy" in line]
        self.assertEqual(mine, [])

    def test_the_manifest(self) -> None:
        """Service and set belong together, and a proxy has the time that its drain takes."""
        items = json.loads(self.files["proxies.json"])["items"]
        service, stateful = items
        self.assertEqual([each["kind"] for each in items], ["Service", "StatefulSet"])
        spec: dict[str, Any] = stateful["spec"]
        pod = spec["template"]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        self.assertEqual(service["spec"]["selector"], labels)
        self.assertEqual(spec["selector"]["matchLabels"], labels)
        self.assertEqual(spec["serviceName"], service["metadata"]["name"])
        self.assertGreater(pod["terminationGracePeriodSeconds"], self.drain_seconds)
        (container,) = pod["containers"]
        self.assertTrue(container["command"][-1].startswith("exec twistd "))
        mounted = {each["name"] for each in container["volumeMounts"]}
        self.assertEqual(mounted, {each["name"] for each in pod["volumes"]})
        port = service["spec"]["ports"][0]["port"]
        self.assertEqual(port, container["ports"][0]["containerPort"])
        self.assertIn(f":{port}", self.files["proxy.toml"])
