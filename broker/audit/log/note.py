"""C2SP signed notes: a text, and lines that sign it. Pure; standard library and `cryptography`.

Three kinds of signature, told apart by one byte in the key (C2SP signed-note, tlog-cosignature):
the plain Ed25519 one of a log, and the dated ones, Ed25519 and ML-DSA-44, which say that their
signer had seen nothing larger at that second. A log signs plainly and dates the same text too,
since a checkpoint itself holds no time: that is how silence differs from suppression.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from schemas.errors import BadSignature, SchemaRefused

MAX_NOTE = 256 * 1024
MAX_SIGNATURES = 64
SEED_SIZE = 32
_NAME = re.compile(r"[^\s+\x00-\x1f]{1,200}")
_LINE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class SignatureType(IntEnum):
    """The byte before the public key; with the name it makes the key id."""

    ED25519 = 0x01
    DATED_ED25519 = 0x04
    DATED_MLDSA44 = 0x06


_KEY_SIZES = {
    SignatureType.ED25519: 32,
    SignatureType.DATED_ED25519: 32,
    SignatureType.DATED_MLDSA44: 1312,
}


@dataclass(frozen=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        return f"\u2014 {self.name} {b64(self.key_id + self.value)}\n"


@dataclass(frozen=True)
class Note:
    """A text (with its final newline) and its signatures, not verified."""

    text: str
    signatures: tuple[Signature, ...]

    def to_text(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)


@dataclass(frozen=True)
class Signed:
    """A signature that verified, and its date if it has one."""

    by: Verifier
    at: datetime | None


@dataclass(frozen=True)
class Verifier:
    """A public key with the name it signs under: a C2SP verifier key ("vkey")."""

    name: str
    type: SignatureType
    public: bytes

    @classmethod
    def from_text(cls, vkey: str) -> Verifier:
        """Read `name+id+key`.

        Raises:
            SchemaRefused: Not a verifier key of a kind that we know, or its id is wrong.
        """
        name, identifier, material = _three(vkey.strip(), "verifier key")
        verifier = cls(name, *_typed(material, _KEY_SIZES))
        if verifier.key_id.hex() != identifier:
            raise SchemaRefused("verifier key: the id does not belong to the key")
        return verifier

    def to_text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.type]) + self.public)}"

    @cached_property
    def key_id(self) -> bytes:
        """Four bytes; they find the key, they do not vouch for it."""
        return key_id(self.name, self.type, self.public)

    def dated(self) -> Verifier:
        """The same key as one that dates; a plain Ed25519 key gets another key id by it."""
        if self.type is not SignatureType.ED25519:
            return self
        return Verifier(self.name, SignatureType.DATED_ED25519, self.public)

    def verify(self, text: str, value: bytes) -> Signed:
        """Check one signature over a note's text.

        Raises:
            BadSignature: It does not verify.
        """
        try:
            if self.type is SignatureType.ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(value, text.encode())
                return Signed(self, None)
            seconds = int.from_bytes(value[:8], "big")
            # An ML-DSA cosigner that dates nothing says zero (C2SP tlog-cosignature).
            undated = seconds == 0 and self.type is SignatureType.DATED_MLDSA44
            at = None if undated else datetime.fromtimestamp(seconds, UTC)
            message = dated_message(self.type, self.name, text, seconds)
            if self.type is SignatureType.DATED_ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(value[8:], message)
            else:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(value[8:], message)
        except (InvalidSignature, ValueError, OverflowError, OSError):
            raise BadSignature(f"note: the signature of {self.name} does not verify") from None
        return Signed(self, at)


class NoteSigner:
    """A private key with the name it signs under. Its text form is `PRIVATE+KEY+name+id+seed`."""

    def __init__(self, name: str, kind: SignatureType, seed: bytes) -> None:
        if len(seed) != SEED_SIZE or not _NAME.fullmatch(name):
            raise SchemaRefused("signer key: bad name or seed")
        self.name = name
        self.type = kind
        self._seed = seed
        if kind is SignatureType.DATED_MLDSA44:
            self._pq: MLDSA44PrivateKey | None = MLDSA44PrivateKey.from_seed_bytes(seed)
            public = self._pq.public_key().public_bytes_raw()
        else:
            self._pq = None
            self._ed = Ed25519PrivateKey.from_private_bytes(seed)
            public = self._ed.public_key().public_bytes_raw()
        self.verifier = Verifier(name, kind, public)

    def __repr__(self) -> str:
        return f"<NoteSigner {self.name} {self.verifier.key_id.hex()}>"

    @classmethod
    def from_text(cls, skey: str) -> NoteSigner:
        """Read a private key as `to_text` wrote it.

        Raises:
            SchemaRefused: Not a private key of a kind that we know, or its id is wrong.
        """
        prefix = "PRIVATE+KEY+"
        if not skey.startswith(prefix):
            raise SchemaRefused("signer key: not a private note key")
        name, identifier, material = _three(skey.strip().removeprefix(prefix), "signer key")
        kind, seed = _typed(material, dict.fromkeys(SignatureType, SEED_SIZE))
        signer = cls(name, kind, seed)
        if signer.verifier.key_id.hex() != identifier:
            raise SchemaRefused("signer key: the id does not belong to the key")
        return signer

    def to_text(self) -> str:
        identifier = self.verifier.key_id.hex()
        return f"PRIVATE+KEY+{self.name}+{identifier}+{b64(bytes([self.type]) + self._seed)}"

    def dated(self) -> NoteSigner:
        """The same Ed25519 key as a signer that dates (another type, so another key id).

        Safe with one key: the dated message begins with `cosignature/v1`, a note's text with
        the log's origin, which `Checkpoint` does not let be that.
        """
        return NoteSigner(self.name, SignatureType.DATED_ED25519, self._seed)

    def sign(self, text: str, now: datetime) -> Signature:
        """Sign a note's text; the dated kinds, which need a checkpoint, as of `now`."""
        if self.type is SignatureType.ED25519:
            value = self._ed.sign(text.encode())
        else:
            seconds = int(now.timestamp())
            message = dated_message(self.type, self.name, text, seconds)
            made = self._pq.sign(message) if self._pq is not None else self._ed.sign(message)
            value = seconds.to_bytes(8, "big") + made
        return Signature(self.name, self.verifier.key_id, value)


def key_id(name: str, kind: SignatureType, public: bytes) -> bytes:
    """SHA-256(name, newline, type, key), first four bytes (C2SP signed-note)."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def parse_note(data: bytes) -> Note:
    """Take a note apart. What it says must be ignored until a signature has verified.

    Raises:
        SchemaRefused: Not a note.
    """
    if len(data) > MAX_NOTE:
        raise SchemaRefused("note: too large")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise SchemaRefused("note: not UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise SchemaRefused("note: control characters")
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not text or not lines.endswith("\n"):
        raise SchemaRefused("note: no signatures")
    found = tuple(parse_signature(line) for line in lines[:-1].split("\n"))
    if len(found) > MAX_SIGNATURES:
        raise SchemaRefused("note: too many signatures")
    return Note(text + "\n", found)


def parse_signature(line: str) -> Signature:
    """Read one signature line, with or without its newline.

    Raises:
        SchemaRefused: Not a signature line.
    """
    match = _LINE.fullmatch(line.removesuffix("\n"))
    if match is None:
        raise SchemaRefused("note: not a signature line")
    value = unb64(match[2])
    if len(value) < 5:
        raise SchemaRefused("note: the signature is too short")
    return Signature(match[1], value[:4], value[4:])


def verify_note(note: Note, verifiers: Sequence[Verifier]) -> tuple[Signed, ...]:
    """All signatures by the given keys. Those of unknown keys are ignored; there may be none.

    Raises:
        BadSignature: A signature that names a known key does not verify.
    """
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    found: dict[tuple[str, bytes], Signed] = {}
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.key_id))
        if verifier is not None:
            signed = verifier.verify(note.text, signature.value)
            found[(signature.name, signature.key_id)] = signed
    return tuple(found.values())


def dated_message(kind: SignatureType, name: str, text: str, seconds: int) -> bytes:
    """What a dated signature signs (C2SP tlog-cosignature); `text` must be a checkpoint's."""
    if kind is SignatureType.DATED_ED25519:
        return f"cosignature/v1\ntime {seconds}\n{text}".encode()
    origin, size, root = text.split("\n")[:3]
    return (
        b"subtree/v1\n\x00"
        + _short(name)
        + seconds.to_bytes(8, "big")
        + _short(origin)
        + (0).to_bytes(8, "big")
        + int(size).to_bytes(8, "big")
        + unb64(root)
    )


def b64(data: bytes) -> str:
    """Standard base64 with padding, as notes use it."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Decode canonical standard base64.

    Raises:
        SchemaRefused: `b64` would not have written this.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SchemaRefused("not base64") from None
    if b64(data) != text:
        raise SchemaRefused("base64 is not canonical")
    return data


def _short(text: str) -> bytes:
    data = text.encode()
    if not 1 <= len(data) <= 255:
        raise ValueError("name is empty or too long")
    return bytes([len(data)]) + data


def _three(text: str, what: str) -> tuple[str, str, bytes]:
    # The key itself is base64 and may hold a plus sign, so only the first two are cut at.
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise SchemaRefused(f"{what}: not name+id+key")
    return parts[0], parts[1], unb64(parts[2])


def _typed(material: bytes, sizes: dict[SignatureType, int]) -> tuple[SignatureType, bytes]:
    try:
        kind = SignatureType(material[0])
    except (IndexError, ValueError):
        raise SchemaRefused("note key: unknown type") from None
    if len(material) != sizes[kind] + 1:
        raise SchemaRefused("note key: wrong length")
    return kind, material[1:]
