"""
Options that several commands share, and the kinds of values that commands take.

Nothing here loads Twisted, or anything else that takes time, before a value has to be read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
import click

from atbus.cli.output import JSON, TABLE, Output

Command = TypeVar("Command", bound=Callable[..., Any])

TIMEOUT_SECONDS: Final = 5.0
"""How long a command waits for the bus unless told otherwise."""


class BusIdType(click.ParamType[int]):
    """A bus id as people write it, not 0."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """
        Read an id.

        :param value: The text.
        :param param: Whose value it is.
        :param ctx: Of which command.
        :returns: The id.
        :raises click.BadParameter: It is not one.
        """
        from atbus.busid import parse_bus_id
        from atbus.errors import BusIdError

        try:
            bus_id = parse_bus_id(value)
        except BusIdError as error:
            self.fail(str(error), param, ctx)
        if not bus_id:
            self.fail("0 is a temporary node, which cannot be asked", param, ctx)
        return bus_id


class UpstreamType(click.ParamType[str]):
    """An address that a node can be dialed at."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """
        Read an address.

        :param value: The text.
        :param param: Whose value it is.
        :param ctx: Of which command.
        :returns: The address, as it is written everywhere.
        :raises click.BadParameter: It is not one, or cannot be dialed.
        """
        from atbus.address import parse_address
        from atbus.errors import AddressError

        try:
            address = parse_address(value)
        except AddressError as error:
            self.fail(str(error), param, ctx)
        if not address.is_duplex or not address.is_dialable:
            self.fail(f"{address} cannot be dialed", param, ctx)
        return str(address)


class NumberType(click.FloatRange):
    """A number within bounds; "nan", which no bound keeps out, is none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """
        Read a number.

        :param value: The text.
        :param param: Whose value it is.
        :param ctx: Of which command.
        :returns: It.
        :raises click.BadParameter: It is none, or out of bounds.
        """
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class SecretType(click.types.StringParamType):
    """A text that may have blanks in it, also where it comes from the environment."""

    name = "secret"

    def split_envvar_value(self, rv: str) -> list[str]:
        """
        Take a variable as one secret.

        :param rv: Its value.
        :returns: It, as the only one.
        """
        return [rv]


BUS_ID: Final = BusIdType()

DAYS: Final = NumberType(-36_500, 36_500)
"""How long a certificate is good: a century at most, so that its end is a date."""


@attrs.frozen(kw_only=True)
class Via:
    """
    How to reach the bus.

    :param address: Of the node to talk to.
    :param tokens: Access tokens, of which that node must have one, if it has any.
    :param timeout_seconds: How long the whole command may take.
    :param certificate_file: Our certificate for TLS, if there is one.
    :param key_file: Its key.
    :param ca_file: Those whose signature is believed.
    :param realm: The realm of the bus.
    """

    address: str
    tokens: tuple[str, ...] = attrs.field(default=(), repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS
    certificate_file: str | None = None
    key_file: str | None = None
    ca_file: str | None = None
    realm: str = "atbus"


def output_option(command: Command) -> Command:
    """
    Let a command print a table or JSON; it gets an `Output` as ``output``.

    :param command: The function behind the command.
    :returns: It, with the option.
    """

    def make(_ctx: click.Context, _param: click.Parameter, value: str) -> Output:
        return Output(value)

    return click.option(
        "-o",
        "--output",
        type=click.Choice([TABLE, JSON]),
        default=TABLE,
        show_default=True,
        callback=make,
        help="For people, or one JSON value for programs.",
    )(command)


def certificate_options(command: Command) -> Command:
    """
    Let a command say when a certificate is good: ``realm``, ``authorities`` and ``days``.

    :param command: The function behind the command.
    :returns: It, with the options.
    """
    for option in reversed(
        (
            click.option(
                "--realm", default="atbus", show_default=True, help="The realm of the bus."
            ),
            click.option(
                "--authorities",
                metavar="FILE",
                type=click.Path(path_type=Path),
                help="Those whose signature is believed.",
            ),
            click.option(
                "--days",
                metavar="FLOAT",
                type=DAYS,
                default=14.0,
                show_default=True,
                help="For how long it has to be good, at least.",
            ),
        )
    ):
        command = option(command)
    return command


def via_options(command: Command) -> Command:
    """
    Let a command talk to a node; it gets a `Via` as ``via``.

    :param command: The function behind the command.
    :returns: It, with the options.
    """
    for option in reversed(
        (
            click.option(
                "--via",
                "address",
                metavar="ADDRESS",
                envvar="ATBUS_URL",
                required=True,
                type=UpstreamType(),
                expose_value=False,
                callback=_remember("address"),
                help="The node to talk to.",
                show_envvar=True,
            ),
            click.option(
                "--token",
                "tokens",
                metavar="SECRET",
                type=SecretType(),
                envvar="ATBUS_TOKEN",
                multiple=True,
                expose_value=False,
                callback=_remember("tokens"),
                help="An access token of the bus; may be repeated.",
                show_envvar=True,
            ),
            click.option(
                "--timeout",
                "timeout_seconds",
                metavar="SECONDS",
                type=NumberType(min=0.01, max=3_600),
                default=TIMEOUT_SECONDS,
                show_default=True,
                expose_value=False,
                callback=_remember("timeout_seconds"),
                help="How long to wait for an answer.",
            ),
            _file_option("--certificate-file", "ATBUS_CERTIFICATE", "Our certificate, as PEM."),
            _file_option("--key-file", "ATBUS_KEY", "Its key, as PEM."),
            _file_option("--ca-file", "ATBUS_AUTHORITIES", "Authorities to trust, as PEM."),
            click.option(
                "--realm",
                metavar="NAME",
                envvar="ATBUS_REALM",
                default="atbus",
                expose_value=False,
                callback=_remember("realm"),
                help="The realm that the certificates of the bus are of.",
                show_envvar=True,
            ),
        )
    ):
        command = option(command)
    return command


def via_of(ctx: click.Context) -> Via:
    """
    Collect what the options of `via_options` said.

    :param ctx: Of a command that has them.
    :returns: How to reach the bus.
    """
    return Via(**ctx.meta[_KEY])


_KEY: Final = "atbus.cli.via"


def _file_option(name: str, variable: str, purpose: str) -> Callable[[Command], Command]:
    return click.option(
        name,
        metavar="FILE",
        envvar=variable,
        expose_value=False,
        callback=_remember(name.removeprefix("--").replace("-", "_")),
        help=purpose,
        show_envvar=True,
    )


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        ctx.meta.setdefault(_KEY, {})[name] = value

    return remember
