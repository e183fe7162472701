"""The encrypted key file: one line of JSON, a passphrase between it and the keys.

Argon2id makes the key, AES-256-GCM seals, and the parameters of both are authenticated, so that
nobody can weaken them in the file unseen. Encrypted PKCS#8 is not used: `cryptography` writes it with
2 048 rounds of PBKDF2, and nothing can raise that.

Python cannot wipe memory. Whoever reads the memory of a process that has opened its custody has its
keys; keep the passphrase file and the key file for different eyes.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keys import jwk, strict_json
from keys.lifecycle import KeySet, PrivateKey
from keys.signing import LocalSigner, Signer
from schemas.base import KeyId, b64u, unb64u
from schemas.directory import KeyUse, Participant
from schemas.errors import Conflict, CustodyLocked, MalformedJson, StorageUnavailable

SCHEME = "file:"
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


class Custody:
    """The open keys of one participant. Safe to use from several threads.

    Every change is on disk before it counts: a process that dies has the old file or the new one.
    """

    def __init__(self, path: Path, seal: Callable[[bytes], bytes], keys: KeySet) -> None:
        """Use `open_custody` or `create_custody`."""
        self._path = path
        self._seal = seal
        self._lock = threading.Lock()
        self._keys = keys
        self._objects: dict[KeyId, object] = {}
        self._index()

    @property
    def keys(self) -> tuple[PrivateKey, ...]:
        """All private keys, with what is published about them."""
        return self._keys.keys

    def private(self, kid: KeyId) -> object | None:
        """The private sealing key with this id, or None (`keys.unsealing.Keyring`)."""
        found = self._objects.get(kid)
        return None if isinstance(found, LocalSigner) else found

    def signer(self, kid: KeyId) -> Signer:
        """The signer with this id.

        Raises:
            CustodyLocked: This custody has no such signing key.
        """
        found = self._objects.get(kid)
        if not isinstance(found, LocalSigner):
            raise CustodyLocked(f"no signing key {kid}")
        return found

    def signer_for(self, suite: int, now: datetime, entry: Participant | None = None) -> Signer:
        """The newest signing key of a suite that may be used now.

        Args:
            suite: 1 or 2.
            now: Compared with the key's own dates.
            entry: If given, the key must also be current in this entry of the directory.

        Raises:
            CustodyLocked: There is none.
        """
        published = {key.kid for key in entry.keys if key.is_current(now)} if entry else None
        candidates = [
            key
            for key in self._keys.keys
            if key.use is KeyUse.SIGN
            and key.suite == suite
            and key.not_before <= now < key.not_after
            and (published is None or key.kid in published)
        ]
        if not candidates:
            raise CustodyLocked(f"no current signing key of suite {suite}")
        return self.signer(max(candidates, key=lambda key: key.not_before).kid)

    def secret(self, name: str) -> bytes:
        """A secret that is not a key of the protocol, as the log's signing key.

        Raises:
            CustodyLocked: No such secret.
        """
        try:
            return self._keys.secrets[name]
        except KeyError:
            raise CustodyLocked(f"no secret {name}") from None

    def has_secret(self, name: str) -> bool:
        """True if `secret(name)` would answer."""
        return name in self._keys.secrets

    def put_secret(self, name: str, value: bytes) -> None:
        """Keep a secret; it replaces one with the same name."""
        self._change(lambda keys: keys.with_secret(name, value))

    def add(self, more: KeySet) -> None:
        """Keep more keys, as after a rotation."""
        self._change(lambda keys: keys.plus(more))

    def destroy(self, kid: KeyId) -> None:
        """Forget a key for ever. Backups of the file must go too."""
        self._change(lambda keys: keys.without(kid))

    def _change(self, change: Callable[[KeySet], KeySet]) -> None:
        with self._lock:
            keys = change(self._keys)
            _write(self._path, self._seal(_encode(keys)))
            self._keys = keys
            self._index()

    def _index(self) -> None:
        objects: dict[KeyId, object] = {}
        for key in self._keys.keys:
            loaded = jwk.private_key(key.jwk)
            if key.use is KeyUse.SIGN and isinstance(loaded, jwk.SigningPrivate):
                objects[key.kid] = LocalSigner(key.kid, key.alg, key.suite, loaded)
            else:
                objects[key.kid] = loaded
        self._objects = objects  # one assignment: a reader sees the old index or the new one

    def __repr__(self) -> str:
        return f"<Custody of {self._keys!r}>"


def create_custody(uri: str, keys: KeySet, passphrase: bytes, *, cost: KdfCost = STRONG) -> Custody:
    """Write a new key file, mode 0600, and open it.

    Raises:
        Conflict: There is a file already; it is left alone.
        StorageUnavailable: It cannot be written.
    """
    path = _path(uri)
    if path.exists():
        raise Conflict("the key file exists")
    seal = _sealer(passphrase, cost)
    _write(path, seal(_encode(keys)))
    return Custody(path, seal, keys)


def open_custody(uri: str, passphrase: bytes) -> Custody:
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
    try:
        if path.stat().st_mode & 0o077:
            raise CustodyLocked("the key file is open to others; chmod 600")
        data = path.read_bytes()
    except OSError as error:
        raise CustodyLocked(f"key file: {error.strerror}") from None
    cost, salt, plaintext = _open(data, passphrase)
    keys = KeySet.from_json_value(strict_json.parse(plaintext, limit=MAX_FILE_BYTES))
    # Changes are sealed under the same salt and so the same key, each with a fresh random nonce.
    return Custody(path, _sealer(passphrase, cost, salt), keys)


def _path(uri: str) -> Path:
    if not uri.startswith(SCHEME):
        raise CustodyLocked("a custody URI begins with file:")
    return Path(uri.removeprefix(SCHEME).removeprefix("//"))


def _sealer(
    passphrase: bytes, cost: KdfCost, salt: bytes | None = None
) -> Callable[[bytes], bytes]:
    salt = salt or secrets.token_bytes(_SALT_BYTES)
    aead = AESGCM(_derive(passphrase, cost, salt))
    parameters: dict[str, object] = {
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

    def seal(plaintext: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        header = {**parameters, "nonce": b64u(nonce)}
        ciphertext = aead.encrypt(nonce, plaintext, _parameters(header))
        return json.dumps({**header, "ciphertext": b64u(ciphertext)}).encode() + b"\n"

    return seal


def _open(data: bytes, passphrase: bytes) -> tuple[KdfCost, bytes, bytes]:
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
        aead = AESGCM(_derive(passphrase, cost, salt))
    except (KeyError, ValueError):
        raise MalformedJson("not a key file") from None
    try:
        return cost, salt, aead.decrypt(nonce, ciphertext, _parameters(header))
    except (InvalidTag, ValueError):
        raise CustodyLocked("wrong passphrase, or the key file was changed") from None


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
