"""
INFO that a client says. Nobody reads it; but what is none ends the connection, as at nats-server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from atbus.nats.connect_options import check_rights, fold, read_object

#: The fields that servers of all versions know, by what stands in them.
_TEXTS: Final = (
    *("server_id", "server_name", "version", "git_commit", "go", "host", "ip", "client_ip"),
    *("nonce", "cluster", "domain", "remote_account", "gateway", "gateway_url"),
)
_TRUTHS: Final = (
    *("headers", "auth_required", "tls_required", "tls_verify", "tls_available", "jetstream"),
    *("cluster_dynamic", "ldm", "lnoc", "info_on_connect", "connect_info"),
    *("gateway_nrp", "gateway_iom"),
)
_LISTS: Final = ("connect_urls", "ws_connect_urls", "leafnode_urls", "gateway_urls")
#: Whole numbers: the least, and the first that is too large.
_NUMBERS: Final = {
    "proto": (-1 << 63, 1 << 63),
    "port": (-1 << 63, 1 << 63),
    "max_payload": (-1 << 31, 1 << 31),
    "client_id": (0, 1 << 64),
    "gateway_cmd": (0, 1 << 8),
}


def is_info(text: bytes) -> bool:
    """
    Tell whether something is what INFO is about.

    :param text: What stands behind the verb.
    """
    try:
        for name, value in read_object(text) or ():
            _check(fold(name), value)
    except ValueError:
        return False
    return True


def _check(name: str, value: Any) -> None:
    """
    Look at one field.

    :raises ValueError: It is of the wrong type.
    """
    if name in ("import", "export"):
        check_rights(value)
    elif value is not None and not _KINDS.get(name, _is_anything)(value):
        raise ValueError(f"{name} is of the wrong type")


def _is_anything(_: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_truth(value: Any) -> bool:
    return type(value) is bool


def _is_list(value: Any) -> bool:
    return type(value) is list and all(type(each) in (str, type(None)) for each in value)


def _is_within(least: int, end: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value < end


_KINDS: Final[dict[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(_TEXTS, _is_text),
    **dict.fromkeys(_TRUTHS, _is_truth),
    **dict.fromkeys(_LISTS, _is_list),
    **{name: _is_within(*bounds) for name, bounds in _NUMBERS.items()},
}
