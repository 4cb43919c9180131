"""
Built-in commands about services: what a node knows of what others offer, for a tool.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from atbus import limits
from atbus.busid import BusId, parse_bus_id
from atbus.node.admin import Words, reading
from atbus.node.report import ServiceReport, plain

if TYPE_CHECKING:
    from atbus.node.commands import Executor
    from atbus.routing.services import Service, ServiceSet

# A page ends with the first service beyond so many, or beyond so many bytes: each is shorter than
# 100 KiB as JSON, so that the page stays shorter than an answer may be.
_SERVICES_IN_ANSWER: Final = 200
_PAGE_BYTES: Final = limits.COMMAND_ANSWER_BYTES // 2


def commands_about(known: ServiceSet) -> Mapping[bytes, Executor]:
    """
    Make the built-in commands about services.

    :param known: What the node knows, wherever it has heard of it.
    :returns: They, by name.
    """
    return {b"atbus.services": reading(lambda words: _page_of(known, words))}


def _page_of(known: ServiceSet, words: Words) -> object:
    """Give some services, in the order of id and name, from the first above these on."""
    after = (-1, "")
    if len(words) > 1:
        name = words[2].decode("utf-8", "replace") if len(words) > 2 else ""
        after = parse_bus_id(words[1].decode("ascii", "replace")), name
    found = heapq.nsmallest(
        _SERVICES_IN_ANSWER,
        (service for service in known if _place(service) > after),
        key=_place,
    )
    page, size_bytes = [], 0
    for service in found:
        row = plain(_report(service))
        page.append(row)
        size_bytes += len(json.dumps(row))
        if size_bytes >= _PAGE_BYTES:
            break
    return page


def _place(service: Service) -> tuple[int, str]:
    return service.bus_id, service.name


def _report(service: Service) -> ServiceReport:
    return ServiceReport(
        id=BusId(service.bus_id),
        name=service.name,
        type=service.type,
        namespace=service.namespace,
        api_version=service.api_version,
        kind=service.kind,
        group=service.group,
        service_subset=service.service_subset,
        version=service.version,
        uid=service.uid,
        pod_index=service.pod_index,
        labels=dict(service.labels),
        gateways=service.gateways,
        addresses=service.addresses,
        data=service.data,
    )
