"""
The codes of libatbus, the C++ original, for tools that count or show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from atbus.errors import Status

# Its code, its name, what it means, and those of our outcomes to which
# it is the nearest. Several of ours share one of its codes: ours say more.
# fmt: off
_LIBATBUS: Final[Mapping[int, tuple[str, str, *tuple[Status, ...]]]] = {
    0: ("SUCCESS", "success", Status.OK),
    -1: ("PARAMS", "an argument is wrong", Status.UNKNOWN_COMMAND),
    -2: ("INNER", "internal error", Status.HANDLER_FAILED),
    -3: ("NO_DATA", "there is no data", Status.FRAGMENT_LOST),
    -4: ("BUFF_LIMIT", "a buffer is full", Status.BACKPRESSURE, Status.BUFFER_LIMIT,
          Status.SLOW_CONSUMER, Status.SLOW_READER),
    -5: ("MALLOC", "out of memory"),
    -6: ("SCHEME", "the scheme of an address is unknown"),
    -7: ("BAD_DATA", "data do not pass their check", Status.NOT_ATBUS),
    -8: ("INVALID_SIZE", "a size is outside its limits", Status.MESSAGE_TOO_LARGE,
          Status.FRAME_TOO_LARGE),
    -9: ("NOT_INITED", "not initialized yet", Status.NOT_STARTED),
    -10: ("ALREADY_INITED", "initialized already"),
    -11: ("ACCESS_DENY", "access denied", Status.ACCESS_DENIED, Status.NOT_ADMITTED,
          Status.POLICY_DENIED, Status.SOURCE_REFUSED, Status.SOURCE_UNVERIFIED,
          Status.NO_RIGHT),
    -12: ("UNPACK", "a message cannot be decoded", Status.MALFORMED_FRAME),
    -13: ("PACK", "a message cannot be encoded"),
    -14: ("UNSUPPORTED_VERSION", "the protocol version is not supported",
          Status.UNSUPPORTED_VERSION),
    -15: ("CLOSING", "closing or closed", Status.CLOSING, Status.CROSSED_DIAL, Status.REPLACED,
          Status.GOODBYE, Status.STOPPED, Status.DISCONNECTED),
    -16: ("ALGORITHM_NOT_SUPPORT", "the algorithm is not supported"),
    -17: ("MESSAGE_NOT_FINISH_YET", "a message is not complete yet"),
    -65: ("ATNODE_NOT_FOUND", "the node is not known", Status.UNKNOWN_ENDPOINT,
          Status.NO_RESPONDERS),
    -66: ("ATNODE_INVALID_ID", "the bus id may not be used here", Status.INVALID_ID,
          Status.NO_FREE_ID, Status.SECOND_UPSTREAM, Status.NO_ROUTE),
    -67: ("ATNODE_NO_CONNECTION", "there is no connection to the node", Status.NOT_CONNECTED,
          Status.NO_DATA_CONNECTION),
    -68: ("ATNODE_FAULT_TOLERANT", "the node failed more often than is tolerated",
          Status.HEARTBEAT_LOST),
    -69: ("ATNODE_INVALID_MSG", "the message is not valid here", Status.OUT_OF_TURN,
          Status.UNKNOWN_MANDATORY),
    -70: ("ATNODE_BUS_ID_NOT_MATCH", "the bus id is not the expected one", Status.BUS_ID_MISMATCH),
    -71: ("ATNODE_TTL", "the message passed too many nodes", Status.HOP_LIMIT),
    -72: ("ATNODE_MASK_CONFLICT", "subnets are in conflict", Status.SUBNET_CONFLICT),
    -73: ("ATNODE_ID_CONFLICT", "the bus id is in use", Status.ID_CONFLICT),
    -75: ("ATNODE_SRC_DST_IS_SAME", "source and destination are the same", Status.SELF_CONNECT,
          Status.LOOP),
    -101: ("CHANNEL_SIZE_TOO_SMALL", "the channel's memory is too small"),
    -102: ("CHANNEL_BUFFER_INVALID", "the channel's memory is damaged"),
    -103: ("CHANNEL_ADDR_INVALID", "the channel's address is invalid"),
    -104: ("CHANNEL_CLOSING", "the channel is closing"),
    -105: ("CHANNEL_NOT_SUPPORT", "the channel is not supported here"),
    -106: ("CHANNEL_UNSUPPORTED_VERSION", "the channel's layout has another version"),
    -107: ("CHANNEL_ALIGN_SIZE_MISMATCH", "the channel's alignment differs"),
    -108: ("CHANNEL_ARCH_SIZE_T_MISMATCH", "the channel's word size differs"),
    -202: ("NODE_BAD_BLOCK_NODE_NUM", "a block has a wrong number of slots"),
    -203: ("NODE_BAD_BLOCK_BUFF_SIZE", "a block has a wrong size"),
    -204: ("NODE_BAD_BLOCK_WSEQ_ID", "a block was written by another writer"),
    -205: ("NODE_BAD_BLOCK_CSEQ_ID", "a block fails its check on reading"),
    -211: ("NODE_TIMEOUT", "timed out", Status.TIMEOUT, Status.HANDSHAKE_TIMEOUT),
    -231: ("CRYPTO_DECRYPT", "decryption failed"),
    -232: ("CRYPTO_ENCRYPT", "encryption failed"),
    -233: ("CRYPTO_ALGORITHM_NOT_SUPPORT", "the cipher is not supported"),
    -234: ("CRYPTO_ALGORITHM_NOT_MATCH", "the two sides chose different ciphers"),
    -235: ("CRYPTO_INVALID_IV", "the initialization vector is invalid"),
    -236: ("CRYPTO_HANDSHAKE_MAKE_KEY_PAIR", "no key pair could be made"),
    -237: ("CRYPTO_HANDSHAKE_READ_PEER_KEY", "the other side's key cannot be read"),
    -238: ("CRYPTO_HANDSHAKE_MAKE_SECRET", "no shared secret could be made"),
    -239: ("CRYPTO_HANDSHAKE_SEQUENCE_EXPIRED", "the key exchange came too late"),
    -240: ("CRYPTO_HANDSHAKE_NO_AVAILABLE_ALGORITHM", "no cipher in common"),
    -241: ("CRYPTO_HANDSHAKE_KDF_ERROR", "the key derivation failed"),
    -242: ("CRYPTO_HANDSHAKE_KDF_NOT_SUPPORT", "the key derivation is not supported"),
    -251: ("COMPRESSION_ALGORITHM_NOT_SUPPORT", "the compression is not supported"),
    -301: ("SHM_GET_FAILED", "shared memory cannot be had"),
    -302: ("SHM_NOT_FOUND", "shared memory is not there"),
    -303: ("SHM_CLOSE_FAILED", "shared memory cannot be closed"),
    -304: ("SHM_PATH_INVALID", "the name of the shared memory is invalid"),
    -305: ("SHM_MAP_FAILED", "shared memory cannot be mapped"),
    -401: ("SOCK_BIND_FAILED", "the socket cannot be bound"),
    -402: ("SOCK_LISTEN_FAILED", "the socket cannot listen"),
    -403: ("SOCK_CONNECT_FAILED", "the socket cannot connect", Status.CONNECT_FAILED),
    -501: ("PIPE_BIND_FAILED", "the unix socket cannot be bound"),
    -502: ("PIPE_LISTEN_FAILED", "the unix socket cannot listen"),
    -503: ("PIPE_CONNECT_FAILED", "the unix socket cannot connect"),
    -504: ("PIPE_ADDR_TOO_LONG", "the path of the unix socket is too long"),
    -505: ("PIPE_REMOVE_FAILED", "the old unix socket cannot be removed"),
    -506: ("PIPE_PATH_EXISTS", "the path of the unix socket is in use"),
    -507: ("PIPE_LOCK_PATH_FAILED", "the path of the unix socket cannot be locked"),
    -601: ("DNS_GETADDR_FAILED", "the name cannot be resolved"),
    -602: ("CONNECTION_NOT_FOUND", "the connection is not known"),
    -603: ("WRITE_FAILED", "writing failed", Status.UNCERTAIN),
    -604: ("READ_FAILED", "reading failed", Status.LINK_LOST),
    -605: ("EV_RUN", "the event loop failed"),
    -606: ("NO_LISTEN", "nothing is listened on"),
    -607: ("NOT_READY", "not ready", Status.NOT_REGISTERED, Status.OVERLOADED),
}
# fmt: on

#: For tools that count or show libatbus's codes: every member has one.
LIBATBUS_CODES: Final[Mapping[Status, int]] = MappingProxyType(
    {status: code for code, (_, _, *members) in _LIBATBUS.items() for status in members}
)


def libatbus_text(code: int) -> str:
    """
    Name one of libatbus's codes as libatbus does.

    :param code: A code, as a value of `LIBATBUS_CODES` or out of a log of the original.
    :returns: ``NAME(code): description``, also for a code that nobody knows.
    """
    if code not in _LIBATBUS:
        return f"ATBUS_ERROR_TYPE({code}): unknown"
    name, description, *_ = _LIBATBUS[code]
    return f"EN_ATBUS_ERR_{name}({code}): {description}"
