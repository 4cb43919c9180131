"""
Which channels are made between two nodes, by whom, on which address.

1. When two nodes dial each other at the same time, both keep the stream that the smaller id dialed.
2. The side that dialed the control stream dials the data stream, at the same address, and before it
   at a better one where there is one. Nobody waits for a dial that cannot come.
3. mem and shm carry one direction, so each side opens the ones that the other announced.
4. An address is used only from where it reaches: mem from the same process; shm, unix, loopback and
   listeners on all interfaces, which are dialed at the loopback, from the same host.
"""

from __future__ import annotations

from collections.abc import Iterable

from atbus.address import Address, Locality


def keep_dialled(my_id: int, peer_id: int) -> bool:
    """
    Decide which of two crossed dials stays; both sides come to the same stream.

    :param my_id: Our id.
    :param peer_id: The other id.
    :returns: True when the stream that *we* dialed stays, False when the peer's does.
    """
    return my_id < peer_id


def usable_addresses(
    announced: Iterable[Address], *, same_host: bool, same_process: bool
) -> tuple[Address, ...]:
    """
    Choose the addresses at which a node can be reached from here.

    :param announced: Where it listens.
    :param same_host: Whether it runs on this host.
    :param same_process: Whether it runs in this process, which is on this host.
    :returns: What to dial, each once: mem, shm, unix, then the tcp family, each in announced order.
    """
    nearness = Locality.NETWORK
    if same_host:
        nearness = Locality.HOST
    if same_process:
        nearness = Locality.PROCESS
    reachable: dict[Address, None] = {}
    for address in announced:
        dialed = address.dial_address()
        if dialed.is_dialable and dialed.locality >= nearness:
            reachable[dialed] = None
    return tuple(sorted(reachable, key=lambda each: each.rank))


def data_addresses(
    control: Address,
    announced: Iterable[Address],
    *,
    dialled: bool,
    same_host: bool,
    same_process: bool,
) -> tuple[Address, ...]:
    """
    Plan the data connections that this side opens after a registration.

    :param control: The address of the control stream; it is reachable, for it was reached.
    :param announced: Where the peer listens.
    :param dialled: Whether we dialed the control stream.
    :param same_host: Whether the peer runs on this host.
    :param same_process: Whether it runs in this process.
    :returns: What to dial, best first: one-way channels in any case, streams only for the side that
        dialed control - those that are better than the control stream, then its own address.
    """
    usable = usable_addresses(announced, same_host=same_host, same_process=same_process)
    one_way = [address for address in usable if not address.is_duplex]
    if not dialled:
        return tuple(one_way)
    better = [each for each in usable if each.is_duplex and each.rank < control.rank]
    return (*one_way, *better, control)


def notice_address(announced: Iterable[Address], *, same_host: bool) -> Address | None:
    """
    Choose the address that a CONNECT_NOTICE names to a sibling of the node that listens there.

    The receiver must be able to dial it without being registered, so it is a stream.

    :param announced: Where the node listens.
    :param same_host: Whether its sibling runs on the same host.
    :returns: The best stream address that reaches that far, the first announced of equals; None
        when there is none, and then nothing is to be sent.
    """
    for address in usable_addresses(announced, same_host=same_host, same_process=False):
        if address.is_duplex:
            return address
    return None
