"""
The bounds of services, with their reasons; `atbus.limits` has those of the bus.
"""

from __future__ import annotations

from typing import Final

#: One word of a service, and one label with its key: as long as a name in Kubernetes may be.
SERVICE_TEXT_BYTES: Final = 253

#: What an application adds to its service: everybody who watches reads it.
SERVICE_DATA_BYTES: Final = 4_096

#: Filters for which there is an index; beyond it the one that was asked for longest ago goes.
SERVICE_FILTERS_MAX: Final = 256
