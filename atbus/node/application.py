"""
Find the callable that a configuration names as its application.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from twisted.application.service import IService

from atbus.errors import ConfigurationError

if TYPE_CHECKING:
    from atbus.node.node import Node

Application = Callable[["Node", Mapping[str, object]], IService | None]
"""Takes the node, before it starts, and the settings; may give a service."""


def load_application(name: str) -> Application:
    """
    Import an application.

    :param name: ``module:callable``; the callable may be an attribute of an attribute.
    :returns: The callable.
    :raises ConfigurationError: When there is no such module or no such callable, or when the
        module fails; the cause is chained.
    """
    module_name, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except Exception as error:
        why = f"cannot be imported: {type(error).__name__}: {error}"
        raise ConfigurationError([f"application: {module_name} {why}"]) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            fault = f"application: {module_name} has no {path}"
            raise ConfigurationError([fault]) from error
    if not callable(found):
        raise ConfigurationError([f"application: {name} is not callable"])
    return found
