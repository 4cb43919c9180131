"""
How this node proves to a server of NATS who it is: with a key, or with a token and its key.

Both are in files that NATS's tools write. They are read when the gateway starts, so that faults are
told then, and again for each connection, because tokens end and are replaced by newer ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from atbus.errors import ConfigurationError
from atbus.nats.nkeys import SigningKey

if TYPE_CHECKING:
    from atbus.nats.leaf_settings import Remote

#: A part of a credentials file: what it is, and its text.
_PART: Final = re.compile(r"-{3,}BEGIN ([A-Z ]+?)-{3,}\s+(\S+)\s+-{3,}END")
_VOUCHER: Final = "NATS USER JWT"
_SEED: Final = "USER NKEY SEED"


@attrs.frozen
class Credentials:
    """
    What is shown.

    :param key: Signs what the server has drawn; None when nothing is signed.
    :param token: Vouches for the key; empty for none.
    """

    key: SigningKey | None = None
    token: str = attrs.field(default="", repr=False)

    def prove(self, nonce: str) -> dict[str, str]:
        """
        Answer what a server has drawn for this connection.

        :returns: Fields of CONNECT.
        """
        if self.key is None:
            return {}
        shown = {"jwt": self.token} if self.token else {"nkey": self.key.public_text}
        return {**shown, "sig": self.key.sign(nonce)}


def read_credentials(remote: Remote) -> Credentials:
    """
    Read the files that a remote has for this, if it has some.

    :raises ConfigurationError: A file cannot be used. What is in it is not told.
    """
    path = remote.credentials_file or remote.nkey_file
    if not path:
        return Credentials()
    try:
        text = Path(path).read_text()
        if not remote.credentials_file:
            return Credentials(SigningKey(text.strip()))
        parts = dict(_PART.findall(text))
        if not parts.keys() >= {_VOUCHER, _SEED}:
            raise ValueError("it has no token of a user with its seed")
        return Credentials(SigningKey(parts[_SEED]), parts[_VOUCHER])
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError([f"nats.leaf_remotes: {path}: {why}"]) from error
