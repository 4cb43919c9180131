"""
Certificates of a small bus: ``cert new-ca``, ``cert new-node``, ``cert renew``, ``cert show``,
``cert check``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from atbus.cli.options import DAYS, certificate_options, output_option
from atbus.cli.output import Output

if TYPE_CHECKING:
    from cryptography import x509

    from atbus.channels.authority import Authority
    from atbus.cli.outcome import CommandFailed
    from atbus.handshake.certificate import CertificateIdentity


@click.group()
def cert() -> None:
    """Make and look at the certificates of TLS connections."""


_folder = click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
_file = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))


_days = click.option(
    "--days",
    metavar="FLOAT",
    type=DAYS,
    default=365.0,
    show_default=True,
    help="How long the certificate is good.",
)


@cert.command("new-ca")
@_folder
@click.option("--realm", default="atbus", show_default=True, help="The realm of the bus.")
@click.option(
    "--days",
    metavar="FLOAT",
    type=DAYS,
    default=3650.0,
    show_default=True,
    help="How long the authority is believed.",
)
@output_option
def new_ca(folder: Path, realm: str, days: float, output: Output) -> None:
    """
    Make an authority: FOLDER/authority.pem and authority.key.

    Nodes need authority.pem. Keep authority.key where nobody else can read it: who has it can be
    any node.
    """
    from atbus.channels.authority import Authority

    _identity(realm, "0x0", 0)
    issued = Authority.new(realm, days)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _failed(f"{folder}: {error.strerror}") from error
    paths = folder / "authority.pem", folder / "authority.key"
    _write(issued, *paths)
    _tell(output, paths, f"an authority for the realm {realm}")


@cert.command("new-node")
@_folder
@click.argument("bus_id", metavar="ID")
@click.option("--bits", default=0, show_default=True, help="How many low bits of ID are free.")
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name or address under which others dial it; may be repeated.",
)
@click.option("--realm", default="atbus", show_default=True, help="The realm of the bus.")
@_days
@output_option
def new_node(
    folder: Path,
    bus_id: str,
    bits: int,
    hosts: tuple[str, ...],
    realm: str,
    days: float,
    output: Output,
) -> None:
    """
    Make a node's certificate with the authority in FOLDER.

    It is written to FOLDER/ID.pem and ID.key. Who only dials needs no --host. With --bits, ID is
    the first of the range.
    """
    from datetime import timedelta

    identity = _identity(realm, bus_id, bits)
    for host in hosts:
        _check_host(host)
    try:
        issued = _authority_in(folder).issue(identity, hosts, timedelta(days=days))
    except ValueError as error:
        raise _failed(f"{folder}: {error}") from error
    name = f"{identity.subnet.first:#x}"
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    if paths[0].exists():
        raise _failed(f"{paths[0]}: exists; atbus cert renew {paths[0]} makes it good for longer")
    _write(issued, *paths)
    _tell(output, paths, f"a certificate for {identity}")


@cert.command()
@_file
@_days
@click.option("--new-key", is_flag=True, help="Make another private key as well.")
@output_option
def renew(path: Path, days: float, new_key: bool, output: Output) -> None:
    """
    Make a node's certificate anew, with the authority in the folder of FILE.

    It names the same ids and hosts, and has the same key beside it unless told otherwise. Files
    are replaced as a whole, so a node that runs takes the new ones when it looks next; with
    --new-key both keys are there until the certificate is the new one, so the pair always fits.
    """
    from datetime import timedelta

    from atbus.handshake.certificate import parse_identity

    own, *above = load_certificates(path)
    key, folder = path.with_suffix(".key"), path.parent
    authority = _authority_in(folder)
    try:
        uris, hosts = _names(own)
        if len(uris) != 1:
            raise ValueError("it does not name the ids of one node")
        if not authority.has_signed(own):
            raise ValueError(f"the authority in {folder} has not signed it")
        issued = authority.issue(
            parse_identity(uris[0]),
            hosts,
            timedelta(days=days),
            key=None if new_key else key.read_bytes(),
        )
        issued.followed_by(above).replace(path, key)
    except OSError as error:
        raise _failed(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise _failed(f"{path}: {error}") from error
    _tell(output, (path, key), f"a certificate for {uris[0]}, for {days:g} days from now")


@cert.command()
@_file
@output_option
def show(path: Path, output: Output) -> None:
    """Print what a certificate says: the ids that it names, the hosts, until when it is good."""
    from atbus.errors import printable

    shown = describe_certificate(load_certificates(path)[0])
    if output.is_json:
        output.value({"file": str(path), **shown})
        return
    for key, value in shown.items():
        # Whoever made it may have written anything, lines that look like ours as well.
        text = printable(", ".join(value) if isinstance(value, list) else value)
        click.echo(f"{key:<10} {text}")


@cert.command()
@_file
@certificate_options
@output_option
def check(path: Path, realm: str, authorities: Path | None, days: float, output: Output) -> None:
    """
    Tell whether a node could use a certificate, and for how long.

    It ends with 0 when it could, with 1 when it could not or will not for long; that is what a
    monitoring system asks.
    """
    faults, left_days = judge(load_certificates(path), realm, authorities)
    if 0 < left_days < days:
        faults.append(f"it expires in {left_days:.1f} days, less than {days:g}")
    if faults:
        raise _failed(f"{path}: not good", faults)
    if output.is_json:
        output.value({"file": str(path), "valid": True, "days": round(left_days, 1)})
    else:
        output.say(f"{path}: good for {left_days:.1f} days")


def _identity(realm: str, bus_id: str, bits: int) -> CertificateIdentity:
    from atbus.busid import Subnet, parse_bus_id
    from atbus.cli.outcome import CommandFailed, ExitCode
    from atbus.errors import BusIdError
    from atbus.handshake.certificate import CertificateIdentity, parse_identity

    try:
        number = parse_bus_id(bus_id)
        identity = parse_identity(str(CertificateIdentity(realm, Subnet(number, bits))))
    except (BusIdError, ValueError) as error:
        raise CommandFailed(ExitCode.USAGE, "USAGE", str(error)) from error
    first = identity.subnet.first
    if number != first:
        said = f"a range of {bits} bits does not begin at {number:#x}; the one around it does at"
        raise CommandFailed(ExitCode.USAGE, "USAGE", f"{said} {first:#x}")
    return identity


def _check_host(host: str) -> None:
    """Refuse what nobody could dial; a name may stand for all of a domain (``*.example``)."""
    import ipaddress

    from atbus.address import Address, Scheme
    from atbus.cli.outcome import CommandFailed, ExitCode
    from atbus.errors import AddressError, printable

    with suppress(ValueError):
        ipaddress.ip_address(host)
        return
    try:
        name = Address(Scheme.DNS, host.removeprefix("*."), 1).host
        is_name = not name.rpartition(".")[2].isdecimal()
    except AddressError:
        is_name = False
    if not is_name:
        why = f"--host: {printable(repr(host))} is neither a name nor an address"
        raise CommandFailed(ExitCode.USAGE, "USAGE", why)


def _authority_in(folder: Path) -> Authority:
    """Read the authority of a folder, whose certificates somebody would believe."""
    from atbus.channels.authority import Authority
    from atbus.channels.outlook import seconds_until

    try:
        authority = Authority(
            (folder / "authority.pem").read_bytes(), (folder / "authority.key").read_bytes()
        )
    except OSError as error:
        raise _failed(f"{error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise _failed(f"{folder}: authority.pem and authority.key: {error}") from error
    if not authority.may_vouch:
        raise _failed(f"{folder}/authority.pem: it is not that of an authority")
    if seconds_until(authority.expires) <= 0:
        raise _failed(f"{folder}/authority.pem: it has expired")
    return authority


def _write(issued: Any, certificate: Path, key: Path) -> None:
    try:
        issued.write(certificate, key)
    except OSError as error:
        raise _failed(f"{error.filename}: {error.strerror}") from error


def _tell(output: Output, paths: tuple[Path, Path], what: str) -> None:
    if output.is_json:
        output.value({"certificate": str(paths[0]), "key": str(paths[1])})
    else:
        output.say(f"{paths[0]}, {paths[1]}: {what}")


def load_certificates(path: Path) -> list[x509.Certificate]:
    """
    Read a file of certificates.

    :param path: The file, in PEM.
    :returns: The certificates, that of the node first.
    :raises CommandFailed: It cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _failed(f"{path}: {error.strerror}") from error
    return read_certificates(data, f"{path}: ")


def read_certificates(data: bytes, prefix: str = "") -> list[x509.Certificate]:
    """
    Read certificates.

    :param data: All of them, in PEM.
    :param prefix: What stands before a fault, for people.
    :returns: The certificates, that of the node first.
    :raises CommandFailed: They cannot be read.
    """
    from cryptography import x509

    from atbus.pem import whole

    try:
        certificates = x509.load_pem_x509_certificates(whole(data))
        for certificate in certificates:
            # What is inside is not read before somebody asks for it.
            describe_certificate(certificate)
    except (
        ValueError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise _failed(f"{prefix}{error}") from error
    return certificates


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Give the URIs and the hosts that a certificate is issued for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], []
    hosts = list(names.get_values_for_type(x509.DNSName))
    hosts += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return list(names.get_values_for_type(x509.UniformResourceIdentifier)), hosts


def describe_certificate(certificate: x509.Certificate) -> dict[str, Any]:
    """
    Tell what a certificate says.

    :param certificate: One that `read_certificates` has read.
    :returns: Names, issuer and dates.
    """
    uris, hosts = _names(certificate)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial": f"{certificate.serial_number:x}",
        "uris": uris,
        "hosts": hosts,
        "from": certificate.not_valid_before_utc.isoformat(),
        "until": certificate.not_valid_after_utc.isoformat(),
    }


def faults_in_name(certificate: x509.Certificate, realm: str) -> list[str]:
    """
    Tell why a certificate names no node of a realm.

    :param certificate: The node's.
    :param realm: The realm of the bus.
    :returns: The fault, if there is one.
    """
    from atbus.handshake.certificate import find_identity

    try:
        find_identity(_names(certificate)[0], realm)
    except ValueError as error:
        return [str(error)]
    return []


def judge(
    chain: list[x509.Certificate], realm: str, authorities: Path | None
) -> tuple[list[str], float]:
    """
    Tell why nodes would refuse a certificate, and how long it is good.

    :param chain: What its file has.
    :param realm: The realm of the bus.
    :param authorities: The file of those whose signature is believed; None to ask nobody.
    :returns: The faults, and the days until the first of it and of those above it ends.
    :raises CommandFailed: That file cannot be used.
    """
    from atbus.channels.outlook import (
        misuses_of,
        outlook_of,
        seconds_until,
        weak_keys_of,
        weak_signatures_of,
    )

    own = chain[0]
    faults = faults_in_name(own, realm)
    expires = own.not_valid_after_utc
    if authorities is not None:
        outlook = outlook_of(chain, load_certificates(authorities))
        if outlook.is_foreign:
            faults.append(f"nobody in {authorities} has signed it")
        faults += outlook.faults[outlook.is_foreign :]
        expires = outlook.expires
    else:
        faults += (*weak_keys_of(own), *weak_signatures_of(own), *misuses_of(own))
        if seconds_until(own.not_valid_before_utc) > 0:
            faults.append("it is not valid yet")
        if seconds_until(expires) <= 0:
            faults.append("it has expired")
        # Whoever believes it does so for the sake of these.
        expires = min(each.not_valid_after_utc for each in chain)
        if seconds_until(expires) <= 0 < seconds_until(own.not_valid_after_utc):
            faults.append("one behind it in the file has expired")
    return faults, seconds_until(expires) / 86_400


def _failed(message: str, faults: list[str] | None = None) -> CommandFailed:
    from atbus.cli.outcome import CommandFailed, ExitCode

    return CommandFailed(ExitCode.FAILED, "CERTIFICATE", message, tuple(faults or ()))
