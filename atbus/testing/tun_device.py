"""
Open a TUN device and hand its descriptor to whoever started this; run inside of a namespace.

A program of its own, of the standard library only: a process cannot visit another namespace without
the risk that a thread of it stays there, and a descriptor can travel.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from typing import Final

# linux/if_tun.h: TUNSETIFF; a device for IP packets, without four bytes in front of each.
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001


def hand_over(descriptor: int, name: str) -> None:
    """
    Make a device in the namespace of this process, and send its descriptor.

    :param descriptor: A unix socket; it is closed.
    :param name: What the device is called.
    :raises OSError: There are no such devices here, or the name is taken.
    """
    with socket.socket(fileno=descriptor) as to_whoever_asked:
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        request = struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI)
        fcntl.ioctl(device, _TUNSETIFF, request)
        socket.send_fds(to_whoever_asked, [b"\0"], [device])


if __name__ == "__main__":
    hand_over(int(sys.argv[1]), sys.argv[2])
