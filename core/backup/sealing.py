"""What protects the frames of a backup: a cipher where there is a secret, a checksum where there is none."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from core.domain.errors import BackupError, BadInput

TAG = 16  # bytes that sealing adds to a frame
LEAST_SECRET = 8  # bytes
SALT = 16  # bytes
_KEY, _CHECK = 32, 16
_SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20}  # 32 MB and a tenth of a second


class Seal(Protocol):
    """Bound to one backup: frames cannot be changed, left out, put in another order or taken from another."""

    def close(self, index: int, frame: bytes, *, last: bool) -> bytes:
        """The frame, sealed; `TAG` bytes longer."""
        ...

    def open(self, index: int, sealed: bytes, *, last: bool) -> bytes:
        """Raises BackupError: `backup_damaged`."""
        ...


class Checksum:
    """Shows what was changed by accident; whoever wants to can change a frame together with it."""

    def __init__(self, head: bytes) -> None:
        """`head` is all that comes before the frames."""
        self._head = hashlib.sha256(head).digest()

    def close(self, index: int, frame: bytes, *, last: bool) -> bytes:
        return frame + self._sum(index, frame, last)

    def open(self, index: int, sealed: bytes, *, last: bool) -> bytes:
        frame, found = sealed[:-TAG], sealed[-TAG:]
        if not hmac.compare_digest(found, self._sum(index, frame, last)):
            raise damaged()
        return frame

    def _sum(self, index: int, frame: bytes, last: bool) -> bytes:
        made = hashlib.blake2b(_nonce(index, last), digest_size=TAG, key=self._head)
        made.update(frame)
        return made.digest()


class Cipher:
    """AES-256-GCM. The key is this backup's own, so that counting is enough for a nonce."""

    def __init__(self, head: bytes, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._aes = AESGCM(key)
        self._head = hashlib.sha256(head).digest()

    def close(self, index: int, frame: bytes, *, last: bool) -> bytes:
        return self._aes.encrypt(_nonce(index, last), frame, self._head)

    def open(self, index: int, sealed: bytes, *, last: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            return self._aes.decrypt(_nonce(index, last), sealed, self._head)
        except InvalidTag:
            raise damaged() from None


class Secret:
    """A passphrase, or the content of a key file; it is in no message, log or backup."""

    def __init__(self, value: bytes) -> None:
        """Raises BadInput: `bad_parameter` when it is too short."""
        if len(value) < LEAST_SECRET:
            raise BadInput(
                "bad_parameter",
                f"A passphrase or key has at least {LEAST_SECRET} characters.",
                "Choose a longer one; a key file can be made by: openssl rand -base64 32.",
            )
        self._value = value

    @classmethod
    def of_file(cls, path: Path) -> Secret:
        """Raises BadInput: `bad_parameter`."""
        try:
            return cls(path.read_bytes().rstrip(b"\r\n"))
        except OSError as problem:
            raise BadInput(
                "bad_parameter", f"The key file cannot be read: {problem.strerror}.", "Name another one."
            ) from None

    def derived(self, salt: bytes) -> tuple[bytes, bytes]:
        """The key of a backup with this salt, and what shows that it is the right one."""
        made = hashlib.scrypt(self._value, salt=salt, dklen=_KEY + _CHECK, **_SCRYPT)
        return made[:_KEY], made[_KEY:]


def new_lock(secret: Secret, salt: bytes) -> tuple[dict[str, str], bytes]:
    """What the head of a backup says of its encryption, and the key."""
    key, check = secret.derived(salt)
    return {"cipher": "aes-256-gcm", "salt": salt.hex(), "check": check.hex()}, key


def key_of(lock: Mapping[str, str], secret: Secret | None) -> bytes:
    """
    Raises:
        BackupError: `backup_key_needed`, `backup_wrong_key`, `backup_damaged`.
    """
    if secret is None:
        raise BackupError("backup_key_needed", "The backup is encrypted.", "Give --key-file or --passphrase.")
    try:
        salt, expected = bytes.fromhex(lock["salt"]), bytes.fromhex(lock["check"])
    except (KeyError, TypeError, ValueError):
        raise damaged() from None
    key, check = secret.derived(salt)
    if not hmac.compare_digest(check, expected):
        raise BackupError(
            "backup_wrong_key",
            "The backup was encrypted with another key.",
            "Give the key file or the passphrase that it was made with.",
        )
    return key


def damaged() -> BackupError:
    return BackupError("backup_damaged", "The backup is damaged: it was changed.", "Take another one.")


def _nonce(index: int, last: bool) -> bytes:
    return index.to_bytes(8, "big") + (b"\0\0\0\1" if last else b"\0\0\0\0")
