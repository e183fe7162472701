"""The encrypted key file: one line of JSON, a passphrase between it and the keys.

Argon2id makes the key, AES-256-GCM seals, and the parameters of both are authenticated, so that
nobody can weaken them in the file unseen. Encrypted PKCS#8 is not used: `cryptography` writes it with
2 048 rounds of PBKDF2, and nothing can raise that.

Python cannot wipe memory. Whoever reads the memory of a process that has opened its custody has its
keys; keep the passphrase file and the key file for different eyes.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keys import jwk, strict_json
from keys.custody.base import Custody
from keys.jws import LocalSigner, Signer
from keys.lifecycle import KeySet, PrivateKey, new_key
from schemas.base import KeyId, b64u, unb64u
from schemas.directory import Compartment, KeyUse
from schemas.errors import Conflict, CustodyLocked, MalformedJson, StorageUnavailable

FILE = "file:"
FORMAT = "referral-key-file/1"
MAX_FILE_BYTES = 1024 * 1024
_SALT_BYTES = 16
_NONCE_BYTES = 12
_MAX_MEMORY_KIB = 4 * 1024 * 1024
_MAX_ITERATIONS = 64
_MAX_LANES = 64


@dataclass(frozen=True, slots=True)
class KdfCost:
    """What a guess at the passphrase costs (RFC 9106, 4)."""

    memory_kib: int
    iterations: int
    lanes: int


STRONG = KdfCost(memory_kib=256 * 1024, iterations=3, lanes=4)
"""About a second and 256 MiB. Weaker costs are for tests and demonstrations only."""


class FileCustody(Custody):
    """The keys of a key file. A process that dies has left the old file or the new one.

    Several processes may have it open: a change is made to what the file says then, under a lock,
    and a key that is looked for in vain is looked for in the file again.
    """

    def __init__(self, path: Path, box: _Box, keys: KeySet, *, writable: bool = True) -> None:
        """Use `open_custody` or `create_custody`."""
        self._path = path
        self._box = box
        self._lock = threading.Lock()
        self._keys = keys
        self._writable = writable
        self._objects: dict[KeyId, object] = {}
        self._mark = self._look()
        self._index()

    @classmethod
    def read_only(cls, path: Path, passphrase: bytes) -> FileCustody:
        """A key file that somebody else keeps; changing it is refused.

        systemd gives a credential to its service alone by an access list, which looks like rights
        of a group.
        """
        box, keys = _read(path, passphrase, strangers=0o007)
        return cls(path, box, keys, writable=False)

    @property
    def keys(self) -> tuple[PrivateKey, ...]:
        return self._keys.keys

    @property
    def writable(self) -> bool:
        return self._writable

    def private(self, kid: KeyId) -> object | None:
        found = self._find(kid)
        return None if isinstance(found, LocalSigner) else found

    def signer(self, kid: KeyId) -> Signer:
        found = self._find(kid)
        if not isinstance(found, LocalSigner):
            raise CustodyLocked(f"no signing key {kid}")
        return found

    def secret(self, name: str) -> bytes:
        try:
            return self._keys.secrets[name]
        except KeyError:
            raise CustodyLocked(f"no secret {name}") from None

    def has_secret(self, name: str) -> bool:
        return name in self._keys.secrets

    def put_secret(self, name: str, value: bytes) -> None:
        self._change(lambda keys: keys.with_secret(name, value))

    def add(self, more: KeySet) -> None:
        self._change(lambda keys: keys.plus(more))

    def make(
        self, use: KeyUse, suite: int, compartment: Compartment | None, *, start: datetime
    ) -> PrivateKey:
        made = new_key(use, suite, compartment, start=start)
        self.add(KeySet((made,)))
        return made

    def destroy(self, kid: KeyId) -> None:
        self._change(lambda keys: keys.without(kid))

    def refresh(self) -> None:
        """Take what another process wrote. What cannot be read leaves what is open as it is."""
        if self._look() == self._mark:
            return
        with self._lock:
            self._take()

    def _find(self, kid: KeyId) -> object | None:
        found = self._objects.get(kid)
        if found is None:
            self.refresh()
            found = self._objects.get(kid)
        return found

    def _take(self) -> None:
        mark = self._look()
        if mark is None or mark == self._mark:
            return
        self._keys, self._mark = self._box.open(self._path.read_bytes()), mark
        self._index()

    def _change(self, change: Callable[[KeySet], KeySet]) -> None:
        if not self._writable:
            raise StorageUnavailable("this key file is read only")
        with self._lock, _file_lock(self._path):
            self._take()
            keys = change(self._keys)
            _write(self._path, self._box.seal(_encode(keys)))
            self._keys, self._mark = keys, self._look()
            self._index()

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _index(self) -> None:
        objects: dict[KeyId, object] = {}
        for key in self._keys.keys:
            loaded = jwk.private_key(key.jwk)
            if key.use is KeyUse.SIGN and isinstance(loaded, jwk.SigningPrivate):
                objects[key.kid] = LocalSigner(key.kid, key.alg, key.suite, loaded)
            else:
                objects[key.kid] = loaded
        self._objects = objects  # one assignment: a reader sees the old index or the new one


def create_custody(
    uri: str, keys: KeySet, passphrase: bytes, *, cost: KdfCost = STRONG
) -> FileCustody:
    """Write a new key file, mode 0600, and open it.

    Raises:
        Conflict: There is a file already; it is left alone.
        StorageUnavailable: It cannot be written.
    """
    path = _path(uri)
    if path.exists():
        raise Conflict("the key file exists")
    box = _Box(passphrase, cost, secrets.token_bytes(_SALT_BYTES))
    _write(path, box.seal(_encode(keys)))
    return FileCustody(path, box, keys)


def open_file(uri: str, passphrase: bytes) -> FileCustody:
    """Open a key file.

    Args:
        uri: `file:/absolute/path`, or `file:relative/path`.
        passphrase: As it was given to `create_custody`; a line feed at its end does not count.

    Raises:
        CustodyLocked: No file, a wrong passphrase, or a file that was changed; or others than its
            owner may read it.
        MalformedJson: Not a key file.
    """
    path = _path(uri)
    return FileCustody(path, *_read(path, passphrase))


class _Box:
    """A key made of a passphrase once; seals and opens the file again and again under one salt, each
    time with a fresh random nonce."""

    def __init__(self, passphrase: bytes, cost: KdfCost, salt: bytes) -> None:
        self._aead = AESGCM(_derive(passphrase, cost, salt))
        self._parameters: dict[str, object] = {
            "format": FORMAT,
            "kdf": {
                "name": "argon2id",
                "memory_kib": cost.memory_kib,
                "iterations": cost.iterations,
                "lanes": cost.lanes,
                "salt": b64u(salt),
            },
            "aead": "A256GCM",
        }

    def seal(self, plaintext: bytes) -> bytes:
        """The whole file."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = {**self._parameters, "nonce": b64u(nonce)}
        ciphertext = self._aead.encrypt(nonce, plaintext, _parameters(header))
        return json.dumps({**header, "ciphertext": b64u(ciphertext)}).encode() + b"\n"

    def open(self, data: bytes) -> KeySet:
        """The keys in a file.

        Raises:
            CustodyLocked: Another passphrase, another salt, or a changed file.
            MalformedJson: Not a key file.
        """
        header, _, _, nonce, ciphertext = _parse(data)
        try:
            plaintext = self._aead.decrypt(nonce, ciphertext, _parameters(header))
        except (InvalidTag, ValueError):
            raise CustodyLocked("wrong passphrase, or the key file was changed") from None
        return KeySet.from_json_value(strict_json.parse(plaintext, limit=MAX_FILE_BYTES))


def _read(path: Path, passphrase: bytes, *, strangers: int = 0o077) -> tuple[_Box, KeySet]:
    try:
        if path.stat().st_mode & strangers:
            raise CustodyLocked("the key file is open to others; chmod 600")
        data = path.read_bytes()
    except OSError as error:
        raise CustodyLocked(f"key file: {error.strerror}") from None
    _, cost, salt, _, _ = _parse(data)
    try:
        box = _Box(passphrase, cost, salt)
    except ValueError:
        raise MalformedJson("not a key file") from None
    return box, box.open(data)


def _parse(data: bytes) -> tuple[dict[str, object], KdfCost, bytes, bytes, bytes]:
    header = strict_json.parse_object(data, limit=MAX_FILE_BYTES, depth=2)
    try:
        ciphertext = unb64u(_text(header.pop("ciphertext", None)))
        kdf = header["kdf"]
        if header["format"] != FORMAT or not isinstance(kdf, dict) or kdf["name"] != "argon2id":
            raise ValueError
        cost = KdfCost(
            _within(kdf["memory_kib"], _MAX_MEMORY_KIB),
            _within(kdf["iterations"], _MAX_ITERATIONS),
            _within(kdf["lanes"], _MAX_LANES),
        )
        salt, nonce = unb64u(_text(kdf["salt"])), unb64u(_text(header["nonce"]))
    except (KeyError, ValueError):
        raise MalformedJson("not a key file") from None
    return header, cost, salt, nonce, ciphertext


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Held while the file is read and written anew; a file of its own, since the other is replaced."""
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageUnavailable(f"key file: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(uri: str) -> Path:
    if not uri.startswith(FILE):
        raise CustodyLocked("a custody URI begins with file:")
    return Path(uri.removeprefix(FILE).removeprefix("//"))


def _derive(passphrase: bytes, cost: KdfCost, salt: bytes) -> bytes:
    kdf = Argon2id(
        salt=salt,
        length=32,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return kdf.derive(passphrase.rstrip(b"\r\n"))


def _encode(keys: KeySet) -> bytes:
    return json.dumps(keys.to_json_value(), separators=(",", ":")).encode()


def _write(path: Path, data: bytes) -> None:
    """Replace the file whole: a crash leaves the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the name too must outlive a power failure
        finally:
            os.close(directory)
    except OSError as error:
        raise StorageUnavailable(f"key file: {error.strerror}") from None


def _parameters(header: dict[str, object]) -> bytes:
    """The parameters as authenticated: sorted, so that the order in the file is of no account."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    return value


def _within(value: object, limit: int) -> int:
    # A changed file must not make us spend all memory before the tag shows that it was changed.
    if not isinstance(value, int) or not 1 <= value <= limit:
        raise ValueError("cost out of range")
    return value
