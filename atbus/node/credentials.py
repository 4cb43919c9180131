"""
What a node's configuration says of TLS, made into credentials, and looked at again on demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from atbus.address import Address
from atbus.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.logger import Logger

    from atbus.channels.credentials import Credentials
    from atbus.node.config import NodeConfig


TLS_FILES: Final = ("tls_certificate", "tls_key", "tls_authorities")
"""The options without which there is no TLS."""


def tls_faults(config: NodeConfig) -> Iterator[str]:
    """
    Tell what a configuration lacks for TLS, without looking into files.

    :param config: The node's configuration.
    :returns: The faults, by option.
    """
    files = {name: getattr(config, name) for name in TLS_FILES}
    if any(files.values()) or config.tls_revoked:
        yield from (f"{name}: missing; TLS needs it" for name, path in files.items() if not path)
        return
    for name, addresses in (("listen", config.listen), ("upstreams", config.upstreams)):
        for index, address in enumerate(addresses):
            # What cannot be read is a fault of its own.
            if isinstance(address, Address) and address.is_tls:
                yield f"{name}[{index}]: {address} needs tls_certificate"


def credentials_of(config: NodeConfig) -> Credentials | None:
    """
    Read the files that a configuration names.

    :param config: The node's configuration.
    :returns: The credentials; None when there is no TLS.
    :raises ConfigurationError: They cannot be used; it lists every fault, with option and file.
    """
    if config.tls_certificate is None:
        return None
    # OpenSSL is loaded by those who use it.
    from atbus.channels.credentials import Credentials  # noqa: PLC0415
    from atbus.channels.tls_files import TlsOptions  # noqa: PLC0415

    options = TlsOptions(
        certificate=config.tls_certificate,
        key=config.tls_key or "",
        authorities=config.tls_authorities or "",
        revoked=config.tls_revoked or "",
        realm=config.tls_realm,
        allow_tls_1_2=config.tls_allow_1_2,
        close_on_expiry=config.tls_close_on_expiry,
        bus_id=config.id,
        subnets=config.subnets,
    )
    try:
        return Credentials(options)
    except ConfigurationError as error:
        raise ConfigurationError([f"tls.{fault}" for fault in error.faults]) from error


def refresh(credentials: Credentials | None, log: Logger, *, looked: bool = False) -> None:
    """
    Use the files as they are now; connections that would not be made now end.

    :param credentials: The node's, if it has any.
    :param log: Is told when some cannot be used; then what was there before stays in use.
    :param looked: Whether somebody has looked at them just now; then only the log is told.
    """
    if credentials is None:
        return
    is_new = credentials.refresh() or (looked and not credentials.faults)
    if credentials.faults:
        log.error(
            "files for TLS cannot be used, what was there before stays in use: {faults}",
            faults="; ".join(f"tls.{fault}" for fault in credentials.faults),
        )
    elif is_new:
        log.info("new files for TLS are in use")
    if is_new:
        warn_of(credentials, log)


def warn_of(credentials: Credentials | None, log: Logger) -> None:
    """
    Say why other nodes will refuse us, before they do.

    :param credentials: The node's, if it has any.
    :param log: Is told; nothing is, when all is well.
    """
    outlook = None if credentials is None else credentials.outlook()
    if credentials is not None and outlook is not None and outlook.faults:
        log.error(
            "other nodes will refuse the certificate {file}: {faults}",
            file=credentials.options.certificate,
            faults="; ".join(outlook.faults),
        )
