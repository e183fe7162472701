"""JSON over HTTPS to a case system, and its faults in the words of the port. Blocking.

Every fault of the network, and every answer that the system may give otherwise later, is
`CaseSystemUnavailable`: the systems spoken to here can be asked what they hold, so that repeating is
safe. What an answer says in words is never repeated, neither in an error nor in a log.
"""

from __future__ import annotations

import json
import ssl
import stat
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import httpx2

from schemas.errors import CaseSystemUnavailable, SchemaRefused

Json: TypeAlias = Any
"""What `json` reads. Foreign: each user checks what it takes."""

MOST = 32 << 20
"""Bytes of one answer."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LATER = frozenset({401, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the system said. Silent in `repr`."""

    status: int
    body: Json
    """None if there is none, or if it is not JSON and the status tells of a fault."""
    headers: Mapping[str, str]

    @property
    def good(self) -> bool:
        """It did what was asked."""
        return 200 <= self.status < 300

    def __repr__(self) -> str:
        return f"<Answer {self.status}>"


class Rest:
    """One system under one base URL. Threads may share it."""

    def __init__(self, url: str, *, timeout: float, ca_file: Path | None = None) -> None:
        self.url = url.rstrip("/")
        verify = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._client = httpx2.Client(
            timeout=timeout, verify=verify, trust_env=False, follow_redirects=False
        )
        # The port has no end of its own: the connections go when the adapter does.
        weakref.finalize(self, self._client.close)

    def call(
        self,
        method: str,
        path: str,
        *,
        json_body: Json = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        sign_in: bool = False,
    ) -> Answer:
        """Ask, and read the whole answer.

        Args:
            path: Under the base URL, or a whole URL under it.
            form: A body as forms send it, instead of JSON.
            sign_in: 401 is an answer: the caller signs in and asks again.

        Raises:
            CaseSystemUnavailable: No answer, or one that may be another later.
        """
        whole = path.startswith((f"{self.url}/", f"{self.url}?"))
        url = path if whole else f"{self.url}/{path}".rstrip("/")
        content = None if json_body is None else json.dumps(json_body).encode()
        given = {"accept": "application/json", **(headers or {})}
        if form is not None:
            content = urlencode(form).encode()
            given["content-type"] = "application/x-www-form-urlencoded"
        elif content is not None:
            given.setdefault("content-type", "application/json")
        try:
            with self._client.stream(
                method, url, content=content, params=query, headers=given
            ) as response:
                text = bytearray()
                for part in response.iter_bytes():
                    text += part
                    if len(text) > MOST:
                        raise CaseSystemUnavailable("an answer of more than 32 MiB")
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise CaseSystemUnavailable(f"no answer: {type(error).__name__}") from None
        status = response.status_code
        later = status in _LATER and not (sign_in and status == 401)
        if 300 <= status < 400 or later or status >= 500:
            raise CaseSystemUnavailable(f"answered {status}")
        return Answer(status, _body(bytes(text), status), dict(response.headers))


def _body(text: bytes, status: int) -> Json:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if status < 300:
            # A sign-in page or a proxy's apology: nothing is known of what was asked.
            raise CaseSystemUnavailable("answered, but not with JSON") from None
        return None


# --- settings --------------------------------------------------------------------------------


def checked_url(value: object) -> str:
    """A base URL: HTTPS, or HTTP to this machine.

    Raises:
        SchemaRefused: Anything else.
    """
    try:
        url = httpx2.URL(value if isinstance(value, str) else "")
    except httpx2.InvalidURL:
        url = httpx2.URL("")
    safe = url.scheme == "https" or (url.scheme == "http" and url.host in _LOOPBACK)
    if not (safe and url.host) or url.userinfo or url.query or url.fragment:
        raise SchemaRefused(
            "https, or http to this machine; no user, query or fragment", where=("url",)
        )
    return str(url)


def checked_settings(
    settings: Mapping[str, Any], *, needed: Mapping[str, type], known: Mapping[str, type]
) -> None:
    """Return if the needed settings are there, and nothing is that is unknown or of another type.

    Raises:
        SchemaRefused: Names the settings.
    """
    kinds = {**needed, **known}
    wrong = [f"{name}: missing" for name in needed if name not in settings]
    wrong += [f"{name}: unknown" for name in sorted(settings.keys() - kinds.keys())]
    wrong += [
        f"{name}: not a {kinds[name].__name__}"
        for name, value in settings.items()
        if name in kinds and not _is_of(value, kinds[name])
    ]
    if wrong:
        raise SchemaRefused("the adapter's settings do not fit", where=tuple(wrong))


def _is_of(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def read_secret(path: Path) -> str:
    """The one line of a file that its owner alone can read.

    Raises:
        SchemaRefused: Others can read it, or it is empty.
        CaseSystemUnavailable: It is not there.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SchemaRefused("a file with a secret must be for its owner alone (mode 0600)")
        secret = path.read_text().strip()
    except OSError as error:
        raise CaseSystemUnavailable(f"cannot read a secret: errno {error.errno}") from None
    if not secret or "\n" in secret:
        raise SchemaRefused("a file with a secret has one line, which is the secret")
    return secret
