"""
Make ``twistd -n atbus`` known to Twisted.

Twisted imports every file of this folder whenever any plug-in is looked for, so this one only
names things. Neither this folder nor the one above may have an ``__init__.py``: they would hide
Twisted's own plug-ins.
"""

from __future__ import annotations

from twisted.application.service import ServiceMaker

atbus = ServiceMaker("atbus", "atbus.cli.plugin", "a message bus node", "atbus")
