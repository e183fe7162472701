"""Keys in a hardware module (PKCS#11), named by a URI of RFC 7512. Suite 2 and nothing else.

The private keys are made inside and never leave: P-256, for ES256 and for ECDH. What is said of them
in the directory, and secrets that are no keys of the protocol (the log's key, the vault's epochs),
are private data objects of the same token, readable with its PIN. Deleting an object of the token
destroys it; whether its backups die is the module's affair.

Several processes may have one token open, as a gateway and `referral keys rotate`: what is said of a
key is an object of its own, so neither overwrites what the other made or destroyed.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from keys import jwk, strict_json
from keys.custody.base import Custody
from keys.jwk import ECDH_ES_A256KW, ES256
from keys.jws import Signer
from keys.lifecycle import STANDARD_VALIDITY, KeySet, PrivateKey, Validity
from schemas.base import KeyId
from schemas.directory import Compartment, KeyUse, PublishedKey
from schemas.errors import Conflict, CustodyLocked, NotPermitted, StorageUnavailable

_SUITE = 2
_KEY = "referral-broker/key/"
_SECRET = "referral-broker/secret/"  # noqa: S105 (a label)
_MAX_BYTES = 1024 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Place:
    """Which token of which module, and where its PIN is."""

    token: str
    module: str
    pin_source: str | None

    @classmethod
    def of(cls, uri: str) -> Place:
        """Read a URI, as `pkcs11:token=referral?module-path=/usr/lib/softhsm/libsofthsm2.so`.

        Raises:
            CustodyLocked: No token or module in it, or a PIN, which does not belong into settings.
        """
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        try:
            where = dict(part.split("=", 1) for part in path.split(";") if part)
            how = dict(part.split("=", 1) for part in query.split("&") if part)
        except ValueError:
            raise CustodyLocked("not a pkcs11 URI") from None
        if "pin-value" in how:
            raise CustodyLocked("a PIN does not belong into a URI: pin-source=file:…")
        if where.keys() != {"token"} or not how.keys() <= {"module-path", "pin-source"}:
            raise CustodyLocked("a pkcs11 URI here has token, module-path and pin-source")
        if "module-path" not in how:
            raise CustodyLocked("a pkcs11 URI needs module-path")
        pin = unquote(how["pin-source"]) if "pin-source" in how else None
        return cls(unquote(where["token"]), unquote(how["module-path"]), pin)


@dataclass(frozen=True, slots=True, repr=False)
class _HardwareSigner:
    """ES256 by the module: r and s side by side, as JWS has it."""

    kid: KeyId
    alg: str
    suite: int
    custody: HardwareCustody

    def sign(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()

        def work(session: Any) -> bytes:
            key = _object(session, ObjectClass.PRIVATE_KEY, self.kid)
            return bytes(key.sign(digest, mechanism=Mechanism.ECDSA))

        return self.custody.work(work)


@dataclass(frozen=True, slots=True, repr=False)
class _HardwareExchange:
    """ECDH by the module (`keys.unsealing.Exchange`)."""

    kid: KeyId
    custody: HardwareCustody

    def shared_secret(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        numbers = peer.public_numbers()
        point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

        def work(session: Any) -> bytes:
            key = _object(session, ObjectClass.PRIVATE_KEY, self.kid)
            derived = key.derive_key(
                KeyType.GENERIC_SECRET,
                256,
                mechanism_param=(KDF.NULL, None, point),
                template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
            )
            return bytes(derived[Attribute.VALUE])

        return self.custody.work(work)


class HardwareCustody(Custody):
    """One token, open with its PIN. One call at a time: a session belongs to one thread."""

    def __init__(self, session: Any) -> None:
        """Use `open_hardware`."""
        self._session = session
        self._lock = threading.RLock()
        self._keys: tuple[PrivateKey, ...] = ()
        self.refresh()

    def work(self, call: Callable[[Any], _T]) -> _T:
        """Do something in the module.

        Raises:
            CustodyLocked: The module refuses, or was taken out.
        """
        with self._lock:
            try:
                return call(self._session)
            except PKCS11Error as error:
                raise CustodyLocked(f"pkcs11: {type(error).__name__}") from None

    @property
    def keys(self) -> tuple[PrivateKey, ...]:
        return self._keys

    def private(self, kid: KeyId) -> object | None:
        held = self._held(kid)
        return _HardwareExchange(kid, self) if held and held.use is KeyUse.SEAL else None

    def signer(self, kid: KeyId) -> Signer:
        held = self._held(kid)
        if held is None or held.use is not KeyUse.SIGN:
            raise CustodyLocked(f"no signing key {kid}")
        return _HardwareSigner(kid, held.alg, held.suite, self)

    def secret(self, name: str) -> bytes:
        value = self._data(_SECRET + name)
        if value is None:
            raise CustodyLocked(f"no secret {name}")
        return value

    def has_secret(self, name: str) -> bool:
        return self._data(_SECRET + name) is not None

    def put_secret(self, name: str, value: bytes) -> None:
        self._put_data(_SECRET + name, value)

    def add(self, more: KeySet) -> None:
        """Keep secrets. Private keys that were made outside are not taken in.

        Raises:
            NotPermitted: There is a key among them: make it inside, with `generate`.
        """
        if more.keys:
            raise NotPermitted("keys are made in the module")
        for name, value in more.secrets.items():
            self.put_secret(name, value)

    def generate(
        self,
        *,
        compartments: tuple[Compartment, ...],
        now: datetime,
        validity: Validity,
    ) -> tuple[PublishedKey, ...]:
        """Make one key to sign and one per compartment to open, inside; return the public halves."""
        wanted: list[tuple[KeyUse, Compartment | None, timedelta]] = [
            (KeyUse.SIGN, None, validity.sign),
            *((KeyUse.SEAL, one, validity.seal) for one in compartments),
        ]
        made = [self._generate(use, place, now, now + life) for use, place, life in wanted]
        return tuple(key.published() for key in made)

    def make(
        self, use: KeyUse, suite: int, compartment: Compartment | None, *, start: datetime
    ) -> PrivateKey:
        if suite != _SUITE:
            raise NotPermitted("a module has keys of suite 2")
        life = STANDARD_VALIDITY.sign if use is KeyUse.SIGN else STANDARD_VALIDITY.seal
        return self._generate(use, compartment, start, start + life)

    def destroy(self, kid: KeyId) -> None:
        def work(session: Any) -> None:
            # What is said of it goes last: cut off in between, it is found and destroyed again.
            for kind, label in (
                (ObjectClass.PRIVATE_KEY, kid),
                (ObjectClass.PUBLIC_KEY, kid),
                (ObjectClass.DATA, _KEY + kid),
            ):
                for found in list(_objects(session, kind, label)):
                    found.destroy()

        self.work(work)
        self.refresh()

    def refresh(self) -> None:
        def work(session: Any) -> dict[str, bytes]:
            found = session.get_objects({Attribute.CLASS: ObjectClass.DATA})
            said = {one[Attribute.LABEL]: one for one in found}
            return {
                label: bytes(one[Attribute.VALUE])
                for label, one in said.items()
                if label.startswith(_KEY)
            }

        read = [
            KeySet.from_json_value(strict_json.parse(data, limit=_MAX_BYTES)).keys
            for data in self.work(work).values()
        ]
        found = sorted((key for keys in read for key in keys), key=lambda key: key.not_before)
        self._keys = tuple(found)  # one assignment: a reader sees what was or what is

    # --- Inside ---------------------------------------------------------------------------

    def _held(self, kid: KeyId) -> PrivateKey | None:
        found = next((key for key in self._keys if key.kid == kid), None)
        if found is None:
            self.refresh()
            found = next((key for key in self._keys if key.kid == kid), None)
        return found

    def _generate(
        self, use: KeyUse, place: Compartment | None, now: datetime, until: datetime
    ) -> PrivateKey:
        signs = use is KeyUse.SIGN
        private = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.SIGN: signs,
            Attribute.DERIVE: not signs,
        }

        # SoftHSM never again sees what others wrote since our last look, once we write ourselves.
        self.refresh()

        def work(session: Any) -> dict[str, str]:
            curve = encode_named_curve_parameters("secp256r1")
            parameters = session.create_domain_parameters(
                KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True
            )
            public, secret = parameters.generate_keypair(
                store=True,
                label="new",
                private_template=private,
                public_template={Attribute.VERIFY: signs},
            )
            point = bytes(public[Attribute.EC_POINT])[-64:]
            numbers = ec.EllipticCurvePublicNumbers(
                int.from_bytes(point[:32], "big"),
                int.from_bytes(point[32:], "big"),
                ec.SECP256R1(),
            )
            found = jwk.public_jwk(numbers.public_key())
            for half in (public, secret):
                half[Attribute.LABEL] = jwk.thumbprint(found)
            return found

        alg = ES256 if signs else ECDH_ES_A256KW
        made = PrivateKey(use, _SUITE, alg, place, now, until, self.work(work))
        self._put_data(_KEY + made.kid, json.dumps(KeySet((made,)).to_json_value()).encode())
        self.refresh()
        return made

    def _data(self, label: str) -> bytes | None:
        def work(session: Any) -> bytes | None:
            found = list(_objects(session, ObjectClass.DATA, label))
            return bytes(found[-1][Attribute.VALUE]) if found else None

        return self.work(work)

    def _put_data(self, label: str, value: bytes) -> None:
        def work(session: Any) -> None:
            before = list(_objects(session, ObjectClass.DATA, label))
            session.create_object(
                {
                    Attribute.CLASS: ObjectClass.DATA,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.LABEL: label,
                    Attribute.VALUE: value,
                }
            )
            for one in before:  # only now: a crash in between leaves two, never none
                one.destroy()

        try:
            self.work(work)
        except CustodyLocked as error:
            raise StorageUnavailable(error.detail) from None


def open_hardware(uri: str, passphrase: bytes) -> HardwareCustody:
    """Open a token. The PIN is in the URI's `pin-source` file, or else is the passphrase.

    Raises:
        CustodyLocked: No such module or token, or a wrong PIN.
    """
    place = Place.of(uri)
    try:
        pin = passphrase
        if place.pin_source is not None:
            source = Path(place.pin_source.removeprefix("file:"))
            if source.stat().st_mode & 0o077:
                raise CustodyLocked("the PIN's file is open to others; chmod 600")
            pin = source.read_bytes()
        token = pkcs11.lib(place.module).get_token(token_label=place.token)
        session = token.open(rw=True, user_pin=pin.rstrip(b"\r\n").decode())
    except (PKCS11Error, RuntimeError) as error:
        raise CustodyLocked(f"pkcs11: {type(error).__name__}") from None
    except (OSError, UnicodeDecodeError):
        raise CustodyLocked("the PIN cannot be read") from None
    return HardwareCustody(session)


def _objects(session: Any, kind: ObjectClass, label: str) -> Any:
    wanted: Mapping[Attribute, object] = {Attribute.CLASS: kind, Attribute.LABEL: label}
    return session.get_objects(wanted)


def _object(session: Any, kind: ObjectClass, label: str) -> Any:
    found = list(_objects(session, kind, label))
    if not found:
        raise CustodyLocked(f"no key {label} in the module")
    if len(found) > 1:
        raise Conflict("two keys under one id in the module")
    return found[0]
