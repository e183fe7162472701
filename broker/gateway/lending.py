"""What the gateway lends its adapter: functions and a folder, never a key.

| tool | lent when | with |
|---|---|---|
| `sign_request` | always | the participant's newest signing key in force (RFC 9421) |
| `verify_request` | `[adapter.inbound]` registers the system's own public key | that key alone |
| `seal_file`, `open_file` | custody holds a file key (`referral keys file-key`) | the newest key; opened with any that is kept (JWE) |
| `state` | always | `adapter/` in the home, mode 0700 |
| `register` | always | the cases that are filed here, to be read |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from adapters.base import Register, Tools
from broker.clock import Clock
from broker.gateway.settings import InboundSettings, Settings
from keys import strict_json
from keys.file_sealing import keys_of, open_with_any, seal_file
from keys.http_signing import Nonces, sign_request, verify_request_by
from keys.jwk import ED25519, ES256, thumbprint
from keys.jws import Signer
from schemas.base import KeyId
from schemas.directory import KeyStatus, KeyUse, PublishedKey
from schemas.errors import BadSignature, BrokerError, Refused, SchemaRefused, StorageUnavailable

FILE_KEY = "country-files"
"""Under which custody keeps the keys of the country's own files; see `keys.file_sealing.keys_of`."""
STATE = "adapter"
_MAX_KEY_FILE = 16 * 1024
_JWK = frozenset({"crv", "kty", "x", "y"})
_ALWAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


class Secrets(Protocol):
    """What of a custody is needed here."""

    def has_secret(self, name: str) -> bool: ...
    def secret(self, name: str) -> bytes: ...


def lend(
    settings: Settings,
    custody: Secrets,
    sign_with: Callable[[], Signer],
    clock: Clock,
    *,
    register: Register | None = None,
) -> Tools:
    """The tools of one gateway's adapter.

    Raises:
        SchemaRefused: A key file of `[adapter.inbound]` is not a public signing key.
        StorageUnavailable: The state folder cannot be made.
    """

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
        return sign_request(
            method=method, url=url, headers=headers, body=body, signer=sign_with(), now=clock.now()
        )

    has_file_key = custody.has_secret(FILE_KEY)
    return Tools(
        sign_request=sign,
        verify_request=_verifier(settings, clock),
        # Asked for at each use: nothing of ours keeps a key longer than it needs it.
        seal_file=(lambda content: seal_file(content, keys_of(custody.secret(FILE_KEY))[0]))
        if has_file_key
        else None,
        open_file=(lambda data: open_with_any(data, keys_of(custody.secret(FILE_KEY))))
        if has_file_key
        else None,
        state=_state(settings.path(Path(STATE))),
        register=register,
    )


class SystemRequests:
    """Verifies that a request comes from the country's own case system. Each counts once."""

    def __init__(self, keys: Mapping[KeyId, PublishedKey], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._nonces = Nonces()

    def verify(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> KeyId:
        """The registered key that signed it.

        Raises:
            Unauthenticated: Not signed so, too old, or seen before.
        """
        return verify_request_by(
            self._keys,
            method=method,
            url=url,
            headers=headers,
            body=body,
            now=self._clock.now(),
            nonces=self._nonces,
        )


def system_requests(settings: Settings, inbound: InboundSettings, clock: Clock) -> SystemRequests:
    """Who may bring decisions, by the keys that the settings register.

    Raises:
        SchemaRefused: A file is not a public signing key.
        Refused: A file cannot be read.
    """
    keys = [_registered(settings.path(path)) for path in inbound.keys]
    return SystemRequests({key.kid: key for key in keys}, clock)


def _verifier(
    settings: Settings, clock: Clock
) -> Callable[[str, str, Mapping[str, str], bytes], str] | None:
    if settings.adapter.inbound is None:
        return None
    requests = system_requests(settings, settings.adapter.inbound, clock)

    def verify(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
        try:
            return requests.verify(method, url, headers, body)
        except BrokerError:
            raise BadSignature from None

    return verify


def _registered(path: Path) -> PublishedKey:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"adapter.inbound.keys: errno {error.errno}") from None
    members = strict_json.parse_object(data, limit=_MAX_KEY_FILE, depth=2)
    public = {name: str(members[name]) for name in sorted(_JWK & members.keys())}
    suite, alg = {"Ed25519": (1, ED25519), "P-256": (2, ES256)}.get(
        str(members.get("crv")), (0, "")
    )
    if not suite or "d" in members:
        raise SchemaRefused(
            "a public Ed25519 or P-256 key is needed", where=("adapter.inbound.keys",)
        )
    return PublishedKey.model_validate(
        {
            "kid": thumbprint(public),
            "use": KeyUse.SIGN,
            "suite": suite,
            "alg": alg,
            "jwk": public,
            "status": KeyStatus.ACTIVE,
            "not_before": _ALWAYS[0],
            "not_after": _ALWAYS[1],
        }
    )


def _state(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        os.chmod(path, 0o700)
    except OSError as error:
        raise StorageUnavailable(f"the adapter's folder: errno {error.errno}") from None
    return path
