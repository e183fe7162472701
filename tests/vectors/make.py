"""Make the known answers of the wire, `tests/vectors/keys.json`.

    python tests/vectors/make.py

Keys, ids and bindings are the same each time, since they come from labels; seals are new each time,
as sealing is random. The file is kept: it shows whether later code still reads what earlier code wrote,
and lets another implementation test itself. The private keys in it protect nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import binding, jwk
from keys.lifecycle import KeySet, PrivateKey
from keys.sealing import EnvelopeDraft, seal_envelope
from schemas.base import b64u, instant_text
from schemas.consent import Purpose
from schemas.directory import (
    Compartment,
    Function,
    KeyUse,
    OrganisationKind,
    Participant,
)
from schemas.envelope import AttachmentRef, ConsentTag, Kind, Lane, Stream
from tests.support.jose import header_of, jws, payload_of
from tests.support.parties import Party

FILE = Path(__file__).with_name("keys.json")
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CONTENT = '{"greeting":"Përshëndetje"}'
GRANT_KEY = bytes(range(32))


def seed(label: str) -> bytes:
    """32 bytes that anybody can compute."""
    return hashlib.sha256(b"referral-broker test key, protects nothing: " + label.encode()).digest()


def key_of(label: str, alg: str) -> dict[str, str]:
    """A private JWK from a label."""
    data = seed(label)
    if alg == jwk.ED25519:
        key = Ed25519PrivateKey.from_private_bytes(data)
        return {**jwk.public_jwk(key.public_key()), "d": b64u(data)}
    if alg == jwk.HPKE_9_KE:
        public = jwk.private_jwk_public_half(jwk.hybrid_private(data), data)
        return {**public, "priv": b64u(data)}
    point = ec.derive_private_key(int.from_bytes(data, "big"), ec.SECP256R1())
    return {**jwk.public_jwk(point.public_key()), "d": b64u(data)}


def party(name: str, suites: tuple[int, ...] = (1, 2)) -> Party:
    """A participant with one signing and one sealing key per suite."""
    made = []
    for suite in suites:
        for use, algs in ((KeyUse.SIGN, jwk.SIGNING_ALG), (KeyUse.SEAL, jwk.SEALING_ALG)):
            compartment = Compartment.CASEWORK if use is KeyUse.SEAL else None
            private = key_of(f"{name} {use} {suite}", algs[suite])
            dates = NOW - timedelta(days=1), NOW + timedelta(days=89)
            made.append(PrivateKey(use, suite, algs[suite], compartment, *dates, private))
    entry = Participant(
        id=name,
        name=f"Invented participant {name}",
        country=name[:2].upper(),
        kind=OrganisationKind.STATE,
        function=Function.NRM,
        suites=(1, 2),
        keys=tuple(key.published() for key in made),
        entry_issued_at=NOW,
    )
    return Party(entry, KeySet(tuple(made)))


def draft(suite: int) -> EnvelopeDraft:
    """The same header each time."""
    scope = binding.blind_scope(GRANT_KEY, Purpose.PROTECTION, "identity_core")
    return EnvelopeDraft(
        suite=2 if suite == 2 else 1,
        id=UUID("019aab4c-8400-7000-8000-000000000001"),
        from_="it.nrm",
        to="al.nrm",
        lane=Lane.URGENT,
        stream=Stream(incarnation="AAECAwQFBgcICQoLDA0ODw", number=41),
        thread=UUID("d3a1f7c0-3f0e-4a53-9a43-000000000002"),
        kind=Kind.REQUEST,
        issued_at=NOW,
        expires_at=NOW + timedelta(days=7),
        answer_by=NOW + timedelta(days=2, milliseconds=250),
        agreement=UUID("d3a1f7c0-3f0e-4a53-9a43-000000000003"),
        consent=ConsentTag(
            grant=UUID("d3a1f7c0-3f0e-4a53-9a43-000000000004"),
            scopes=(scope,),
            until=date(2027, 2, 1),
        ),
        attachments=(AttachmentRef(scope=scope, digest=b64u(seed("file")), bucket=65672),),
    )


def flipped(text: str) -> str:
    """The same length, another value, still canonical."""
    return ("B" if text[0] != "B" else "C") + text[1:]


def bad(suite: int, raw: bytes, italy: Party, thief: Party) -> list[tuple[str, str, bytes]]:
    """Envelopes that are wrong, why, and the code with which they are refused."""
    document, payload, signer = json.loads(raw), payload_of(raw), italy.signer(suite)

    def changed(change: Callable[[dict[str, Any]], None]) -> bytes:
        copy = json.loads(json.dumps(payload))
        change(copy)
        return jws(copy, signer)

    def whole(**members: str) -> bytes:
        return json.dumps({**document, **members}).encode()

    part = ("parts", 0, "jwe")
    return [
        ("signature changed", "bad-signature", whole(signature=flipped(document["signature"]))),
        ("signature stripped", "bad-signature", whole(signature="")),
        ("payload padded", "malformed-json", whole(payload=document["payload"] + "=")),
        ("member twice", "malformed-json", raw[:-1] + b',"payload":"e30"}'),
        (
            "jwk in header",
            "bad-signature",
            jws(payload, signer, protected={**header_of(raw), "jwk": {}}),
        ),
        (
            "crit in header",
            "bad-signature",
            jws(payload, signer, protected={**header_of(raw), "crit": ["x"]}),
        ),
        (
            "alg none",
            "bad-signature",
            jws(payload, signer, protected={**header_of(raw), "alg": "none"}),
        ),
        ("unknown key", "key-unknown", jws({**payload, "from": "xx.thief"}, thief.signer(suite))),
        ("key of another suite", "suite", jws(payload, italy.signer(3 - suite))),
        ("unknown field", "schema", changed(lambda p: p.update(extra=1))),
        ("version 2", "version", changed(lambda p: p.update(version=2))),
        ("readdressed", "suite", changed(lambda p: p.update(to="it.nrm"))),
        ("other lane", "cannot-open", changed(lambda p: p.update(lane="routine"))),
        (
            "consent widened",
            "cannot-open",
            changed(lambda p: p["consent"].update(until="2028-02-01")),
        ),
        ("consent removed", "cannot-open", changed(lambda p: p.update(consent=None))),
        (
            "ciphertext changed",
            "cannot-open",
            changed(
                lambda p: p[part[0]][part[1]][part[2]].update(
                    ciphertext=flipped(payload["parts"][0]["jwe"]["ciphertext"])
                )
            ),
        ),
    ]


def main() -> None:
    """Write the file."""
    italy, albania, thief = party("it.nrm"), party("al.nrm"), party("xx.thief")
    envelopes = []
    for suite in (1, 2):
        sealed = seal_envelope(
            draft(suite),
            {Compartment.CASEWORK: CONTENT.encode()},
            recipient=albania.entry,
            signer=italy.signer(suite),
            now=NOW,
        )
        cases = [("as sent", "opened", sealed.raw), *bad(suite, sealed.raw, italy, thief)]
        envelopes += [
            {"suite": suite, "case": case, "expect": expect, "envelope": raw.decode()}
            for case, expect, raw in cases
        ]
        if suite == 1:
            digest = binding.header_digest(sealed.content)
            header = {k: v for k, v in payload_of(sealed.raw).items() if k != "parts"}
            to_keys = [sealed.content.parts[0].to_key]
    document = {
        "about": "Known answers of docs/protocol.md; made by make.py; the keys protect nothing.",
        "now": instant_text(NOW),
        "content": CONTENT,
        "participants": [json.loads(p.entry.to_json()) for p in (italy, albania)],
        "insecure_recipient_keys": {
            k.kid: k.jwk for k in albania.keys.keys if k.use is KeyUse.SEAL
        },
        "bindings": {
            "header": {"header": header, "to_keys": to_keys, "digest": b64u(digest)},
            "scope": {
                "grant_key": b64u(GRANT_KEY),
                "purpose": "protection",
                "section": "identity_core",
                "scope": binding.blind_scope(GRANT_KEY, "protection", "identity_core"),
            },
            "commitment": {
                "salt": b64u(seed("salt")),
                "subject": b64u(seed("subject")),
                "commitment": b64u(binding.commitment(seed("salt"), seed("subject"))),
            },
        },
        "envelopes": envelopes,
    }
    FILE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
