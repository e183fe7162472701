"""Our signatures are RFC 9421's: judged by a reader of our own that the RFC's own example satisfies.

The reader below builds the signature base from the text of section 2.5 alone and shares no code with
the library that signs. It is tried on the RFC's example first (appendix B.2.6), then on us.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keys.http_signing import sign_request
from schemas.base import unb64u
from tests.support.parties import NOW, Party

B_1_4_PUBLIC = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
"""`test-key-ed25519` of appendix B.1.4."""
B_2_6 = {
    "host": "example.com",
    "date": "Tue, 20 Apr 2021 02:07:55 GMT",
    "content-type": "application/json",
    "content-length": "18",
    "signature-input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" '
    '"content-length");created=1618884473;keyid="test-key-ed25519"',
    "signature": "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0"
    "w6vuQv5lIp5WPpBKRCw==:",
}


def signature_base(method: str, url: str, headers: Mapping[str, str], label: str) -> bytes:
    """Section 2.5: each covered component, then the parameters."""
    parameters = headers["signature-input"].removeprefix(f"{label}=")
    covered = re.findall(r'"([^"]+)"', parameters.partition(")")[0])
    parts = urlsplit(url)
    derived = {
        "@method": method,
        "@target-uri": url,
        "@path": parts.path,
        "@authority": parts.netloc.lower(),
    }
    lines = [f'"{name}": {derived.get(name) or headers[name].strip()}' for name in covered]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")


def check(key: bytes, method: str, url: str, headers: Mapping[str, str], label: str) -> None:
    signature = re.fullmatch(rf"{label}=:([A-Za-z0-9+/=]+):", headers["signature"])
    assert signature is not None
    base = signature_base(method, url, headers, label)
    Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(signature[1]), base)


def test_the_reader_agrees_with_the_example_of_the_rfc() -> None:
    url = "https://example.com/foo?param=Value&Pet=dog"
    check(unb64u(B_1_4_PUBLIC), "POST", url, B_2_6, "sig-b26")
    with pytest.raises(InvalidSignature):
        check(unb64u(B_1_4_PUBLIC), "PUT", url, B_2_6, "sig-b26")


@pytest.mark.parametrize("body", [b"", b'{"hello": "world"}'])
def test_what_we_sign_is_what_the_reader_reads(body: bytes, italy: Party) -> None:
    url = "https://casebook.example:8443/cases/file"
    headers = sign_request(
        method="POST", url=url, headers={}, body=body, signer=italy.signer(), now=NOW
    )
    key = unb64u(str(italy.signing_key().jwk["x"]))
    check(key, "POST", url, headers, "sig1")
    with pytest.raises(InvalidSignature):
        check(key, "POST", f"{url}2", headers, "sig1")
    if body:
        # RFC 9530, section 2: of the bytes of the content.
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        assert headers["content-digest"] == f"sha-256=:{digest}:"
        assert '"content-digest"' in headers["signature-input"]
