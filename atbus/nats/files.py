"""
What is made of files, and made anew when these are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from twisted.logger import Logger

from atbus.errors import ConfigurationError

if TYPE_CHECKING:
    from atbus.nats.own_certificate import OwnCertificate

T = TypeVar("T")

#: When a file was written and changed last, its size and which one it is; None: it is not there.
_Look: TypeAlias = tuple[int, int, int, int] | None

_LOG: Final = Logger(namespace="atbus.nats")


class Latest(Generic[T]):
    """
    Something that is made of files.

    They are looked at whenever it is asked for. Those that cannot be used are told of in the log,
    once, and what was made before stays in use: whoever renews a certificate and its key writes two
    files.

    :param paths: The files; empty ones are none.
    :param make: Makes it; a ConfigurationError says why it cannot.
    :param own: The certificate in it that is shown to others, if there is one. Where it is not that
        in the files, the log says why, and it is looked at again in time.
    :raises ConfigurationError: It cannot be made now.
    """

    def __init__(
        self, paths: Iterable[str], make: Callable[[], T], own: OwnCertificate | None = None
    ) -> None:
        self.own = own
        self._paths = [path for path in paths if path]
        self._make = make
        self._looks = self._look()
        self._made = make()
        self._tell_worse("")

    def get(self) -> T:
        """Give what the files make by now."""
        looks = self._look()
        if looks != self._looks:
            self._looks = looks
            self._renew("")
        elif self.own is not None and self.own.is_due:
            self._renew(self.own.fault)
        return self._made

    def _renew(self, told: str) -> None:
        try:
            self._made = self._make()
        except ConfigurationError as error:
            _LOG.error("{faults}; what was there before is used", faults="; ".join(error.faults))
        else:
            if not self._tell_worse(told):
                _LOG.info("new files are in use: {paths}", paths=", ".join(self._paths))

    def _tell_worse(self, told: str) -> bool:
        fault = "" if self.own is None else self.own.fault
        if fault and fault != told:
            _LOG.error("{fault}; what was there before is used", fault=fault)
        return bool(fault)

    def _look(self) -> list[_Look]:
        return [_looked_at(path) for path in self._paths]


def _looked_at(path: str) -> _Look:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    # The time of its last change as well: who could not read it may read it now.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
