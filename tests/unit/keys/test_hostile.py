"""Whatever is done to what is signed or sealed: refused by one of our errors, or as it was.

Each thing that a stranger, a hub or a partner can hand us is taken apart at every node of its JSON,
bent in the ways that have broken other readers, and put together again: once as it is, which the
signature notices, and once signed anew by its rightful author, which leaves the reading alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

import pytest

from broker.audit.log.checkpoint import open_checkpoint
from broker.audit.log.note import parse_signature
from broker.audit.proofs.tlog_proof import parse_proof
from keys import strict_json
from keys.ceremony.proposal import Proposal
from keys.jws import sign_jws
from keys.sealing import seal_access, seal_envelope
from keys.signing import (
    countersign,
    parse_envelope,
    sign_agreement,
    verify_agreement,
    verify_envelope,
    verify_evidence,
    verify_grant,
)
from keys.statements.code_sets import sign_code_set, verify_code_set
from keys.statements.high_water import sign_high_water, verify_high_water
from keys.statements.revocation import sign_revocation, verify_revocation
from keys.statements.suspension import word_of
from keys.unsealing import open_access, unseal_envelope
from schemas.agreement import SUSPENSION_TYP
from schemas.codes.sets import CODE_SET_TYP, CodeSetNote
from schemas.consent import GRANT_TYP
from schemas.directory import Compartment
from schemas.envelope import ENVELOPE_TYP, Lane, Part
from schemas.errors import BrokerError, KeyUnknown, Suspect
from schemas.evidence import EVIDENCE_TYP
from schemas.high_water import HIGH_WATER_TYP, HighWater
from schemas.revocation import REVOCATION_TYP, Revocation
from tests.support import statements
from tests.support.audit_log import LogKeys, MemoryLog
from tests.support.jose import jws, payload_of
from tests.support.parties import NOW, directory_of, make_draft, make_party

ITALY, ALBANIA = make_party("it.nrm"), make_party("al.nrm")
DIRECTORY = directory_of(ITALY, ALBANIA)
ID = UUID("01938f5e-0000-7000-8000-000000000001")
CANARY = "Canary Eve 7731"


@dataclass(frozen=True)
class Opener:
    """Something that reads what others wrote."""

    good: bytes
    read: Callable[[bytes], object]
    typ: str | None = None
    """Of a JWS with one signature."""


def envelope() -> bytes:
    parts = {Compartment.CASEWORK: b'{"a":1}', Compartment.HEALTH: b'{"b":2}'}
    draft = make_draft()
    return seal_envelope(draft, parts, recipient=ALBANIA.entry, signer=ITALY.signer(), now=NOW).raw


def read_envelope(raw: bytes) -> object:
    verified = verify_envelope(parse_envelope(raw), DIRECTORY, now=NOW)
    return unseal_envelope(verified, ALBANIA, ALBANIA.entry)


def evidence() -> bytes:
    content = statements.evidence().to_json()
    return sign_jws(content, typ=EVIDENCE_TYP, signer=ITALY.signer())


def grant() -> bytes:
    return sign_jws(statements.grant().to_json(), typ=GRANT_TYP, signer=ITALY.signer())


def suspension() -> bytes:
    content = statements.suspension().to_json()
    return sign_jws(content, typ=SUSPENSION_TYP, signer=ITALY.signer())


def revocation() -> bytes:
    content = Revocation(
        id=ID,
        participant="it.nrm",
        keys=(ITALY.sealing_key().kid,),
        since=NOW - timedelta(days=1),
        by="it.nrm",
        issued_at=NOW,
    )
    return sign_revocation(content, ITALY.signer())


def high_water() -> bytes:
    mark = HighWater(
        by="it.nrm",
        to="al.nrm",
        lane=Lane.URGENT,
        incarnation="A" * 22,
        upto=9,
        over=((1, 2), (5, 5)),
        issued_at=NOW,
    )
    return sign_high_water(mark, ITALY.signer())


def code_set() -> bytes:
    note = CodeSetNote(country="IT", version=1, digest="A" * 43, by="it.nrm", signed_at=NOW)
    return sign_code_set(note, ITALY.signer())


def agreement() -> bytes:
    return countersign(sign_agreement(statements.agreement(), ITALY.signer()), ALBANIA.signer())


def access() -> bytes:
    sealed = seal_access(ALBANIA.entry, "u.x", "an invented password", NOW)
    assert sealed is not None
    return sealed.to_json()


def plan() -> bytes:
    return Proposal({"it": b"{}"}, {"targets": b"{}"}).to_bytes()


LOG_KEYS = LogKeys()
LOG = MemoryLog(LOG_KEYS)
LOG.grow(7)

OPENERS = {
    "envelope": Opener(envelope(), read_envelope, ENVELOPE_TYP),
    "evidence": Opener(
        evidence(), lambda raw: verify_evidence(raw, DIRECTORY, now=NOW), EVIDENCE_TYP
    ),
    "grant": Opener(grant(), lambda raw: verify_grant(raw, DIRECTORY, now=NOW), GRANT_TYP),
    "suspension": Opener(
        suspension(),
        lambda raw: word_of(raw, ("it.nrm", "al.nrm"), DIRECTORY, now=NOW),
        SUSPENSION_TYP,
    ),
    "revocation": Opener(
        revocation(),
        lambda raw: verify_revocation(raw, DIRECTORY, now=NOW, in_force=True),
        REVOCATION_TYP,
    ),
    "high-water mark": Opener(
        high_water(), lambda raw: verify_high_water(raw, DIRECTORY, now=NOW), HIGH_WATER_TYP
    ),
    "code set": Opener(
        code_set(), lambda raw: verify_code_set(raw, DIRECTORY, now=NOW), CODE_SET_TYP
    ),
    "agreement": Opener(agreement(), lambda raw: verify_agreement(raw, DIRECTORY, now=NOW)),
    "plan": Opener(plan(), Proposal.from_bytes),
    "access": Opener(
        access(), lambda raw: open_access(Part.from_json(raw), "al.nrm", "u.x", ALBANIA)
    ),
    "checkpoint": Opener(
        LOG.head().note.to_text().encode(), lambda raw: open_checkpoint(raw, LOG_KEYS.verifiers)
    ),
    "tlog-proof": Opener(
        LOG.proof(3).encode(), lambda raw: parse_proof(raw.decode("utf-8", "surrogateescape"))
    ),
    "signature line": Opener(
        LOG.head().note.to_text().encode().split(b"\n")[-2],
        lambda raw: parse_signature(raw.decode("utf-8", "surrogateescape")),
    ),
    "strict JSON": Opener(
        json.dumps(payload_of(envelope())).encode(), lambda raw: strict_json.parse(raw, limit=10**6)
    ),
}
SIGNED = {name: one for name, one in OPENERS.items() if one.typ is not None}
OF_JSON = {
    name: one
    for name, one in OPENERS.items()
    if one.good.startswith(b"{") and name != "strict JSON"
}


def attempt(read: Callable[[bytes], object], data: bytes) -> object:
    """What the reader makes of it; None if it refused it by an error of ours that repeats nothing."""
    try:
        return read(data)
    except BrokerError as error:
        told = f"{error} {error.__cause__ or ''}"
        if CANARY in told or len(told) > 500:
            pytest.fail(f"{type(error).__name__} repeats what it was given")
        return None


# --- Ways to bend ---------------------------------------------------------------------------


class Raw(str):
    """JSON as it shall stand there."""


def deep(levels: int) -> object:
    value: object = CANARY
    for _ in range(levels):
        value = [value]
    return value


def bent(value: object) -> Iterator[object]:
    """Other values in its place."""
    yield from (CANARY, "", None, True, 0, -1, 1.5, 2**53, 10**400, [], {}, [value, value])
    yield from ({"x": value}, deep(40), Raw("NaN"), Raw("1e999"), Raw("1.0"), Raw('"\\ud800"'))
    yield from (CANARY * 4000, {CANARY: 1}, [CANARY])
    if isinstance(value, str) and value:
        yield from (value + "=", value + "A", value[:-1], value.swapcase(), value + "\u202e")
        yield from (value + "\u0000", "\ufeff" + value, value + "e\u0301", " " + value)
        # The last character of base64url has bits that mean nothing: another one, same bytes.
        yield value[:-1] + ("B" if value[-1] == "A" else chr(ord(value[-1]) ^ 1))


def replaced(put: Callable[[object], object], value: Any, name: Any, new: object) -> object:
    """The document with another member or element at `name` of `value`."""
    other = value.copy()
    other[name] = new
    return put(other)


def variants(document: object) -> Iterator[str]:
    """The document's JSON with each node bent, left out or doubled."""

    def write(value: object) -> str:
        if isinstance(value, Raw):
            return str(value)
        if isinstance(value, dict):
            return "{" + ",".join(f"{json.dumps(k)}:{write(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(write, value)) + "]"
        return json.dumps(value)

    def walk(value: object, put: Callable[[object], object]) -> Iterator[str]:
        for other in bent(value):
            yield write(put(other))
        if isinstance(value, dict):
            for name, inner in value.items():
                rest = {key: item for key, item in value.items() if key != name}
                yield write(put(rest))
                yield write(put({**rest, name.upper(): inner}))
                twice = write(value)[:-1] + f",{json.dumps(name)}:{write(inner)}" + "}"
                yield write(put(Raw(twice)))
                yield from walk(inner, partial(replaced, put, value, name))
        if isinstance(value, list):
            for place, inner in enumerate(value):
                yield write(put(value[:place] + value[place + 1 :]))
                yield from walk(inner, partial(replaced, put, value, place))

    yield from walk(document, lambda new: new)


# --- The tests ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in OPENERS if name != "strict JSON"])
def test_what_is_good_is_read(name: str) -> None:
    assert OPENERS[name].read(OPENERS[name].good)


@pytest.mark.parametrize("name", OPENERS)
def test_flipped_cut_doubled_or_moved_bytes_raise_nothing_but_ours(
    name: str, soaking: bool
) -> None:
    opener, random = OPENERS[name], Random(20261122)
    for _ in range(20_000 if soaking else 400):
        data = bytearray(opener.good)
        start = random.randrange(len(data))
        end = min(len(data), start + random.randrange(1, 40))
        match random.randrange(5):
            case 0:
                data[start] ^= 1 << random.randrange(8)
            case 1:
                del data[start:]
            case 2:
                data[end:end] = data[start:end]
            case 3:
                del data[start:end]
            case _:
                data[start:end] = random.randbytes(end - start)
        attempt(opener.read, bytes(data))


@pytest.mark.parametrize("name", OF_JSON)
def test_no_bent_node_of_the_outside_raises_anything_but_ours(name: str) -> None:
    opener = OF_JSON[name]
    for text in variants(json.loads(opener.good)):
        attempt(opener.read, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", SIGNED)
def test_no_bent_node_of_what_its_author_signed_raises_anything_but_ours(name: str) -> None:
    opener = SIGNED[name]
    assert opener.typ is not None
    for text in variants(payload_of(opener.good)):
        data = text.encode("utf-8", "surrogatepass")
        attempt(opener.read, jws(data, ITALY.signer(), typ=opener.typ))


HEADERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "alg none": lambda h: {**h, "alg": "none"},
    "alg None": lambda h: {**h, "alg": "None"},
    "alg in another case": lambda h: {**h, "alg": h["alg"].lower()},
    "the old name of alg": lambda h: {**h, "alg": "EdDSA"},
    "alg of the other suite": lambda h: {**h, "alg": "ES256"},
    "a shared secret": lambda h: {**h, "alg": "HS256"},
    "alg twice by case": lambda h: {**h, "ALG": "none"},
    "a key": lambda h: {**h, "jwk": ITALY.signing_key().jwk},
    "where a key is": lambda h: {**h, "jku": "https://x.example/"},
    "where a certificate is": lambda h: {**h, "x5u": "https://x.example/"},
    "a certificate": lambda h: {**h, "x5c": ["AA=="]},
    "crit": lambda h: {**h, "crit": ["b64"], "b64": False},
    "crit of nothing": lambda h: {**h, "crit": []},
    "payload not encoded": lambda h: {**h, "b64": False},
    "compressed": lambda h: {**h, "zip": "DEF"},
    "no typ": lambda h: {key: value for key, value in h.items() if key != "typ"},
    "typ in another case": lambda h: {**h, "typ": h["typ"].upper()},
    "typ of another thing": lambda h: {**h, "typ": "JWT"},
    "no kid": lambda h: {key: value for key, value in h.items() if key != "kid"},
    "kid as a number": lambda h: {**h, "kid": 7},
    "kid padded": lambda h: {**h, "kid": h["kid"] + "="},
    "another's kid": lambda h: {**h, "kid": ALBANIA.signing_key().kid},
    "the sealing key's kid": lambda h: {**h, "kid": ITALY.sealing_key().kid},
}


@pytest.mark.parametrize("trick", HEADERS)
@pytest.mark.parametrize("name", SIGNED)
def test_a_header_that_plays_tricks_is_suspect_though_its_author_signed_it(
    name: str, trick: str
) -> None:
    opener, signer = SIGNED[name], ITALY.signer()
    header = HEADERS[trick]({"alg": signer.alg, "kid": signer.kid, "typ": opener.typ})
    with pytest.raises(Suspect):
        opener.read(jws(payload_of(opener.good), signer, protected=header))


@pytest.mark.parametrize("name", SIGNED)
def test_members_beside_the_signed_ones_and_unknown_keys_are_refused(name: str) -> None:
    opener, signer = SIGNED[name], ITALY.signer()
    extras: tuple[dict[str, Any], ...] = (
        {"header": {"alg": "none"}},
        {"signatures": []},
        {CANARY: 1},
    )
    for extra in extras:
        assert (
            attempt(
                opener.read, jws(payload_of(opener.good), signer, typ=opener.typ or "", extra=extra)
            )
            is None
        )
    header = {"alg": signer.alg, "kid": "A" * 43, "typ": opener.typ}
    with pytest.raises(KeyUnknown):
        opener.read(jws(payload_of(opener.good), signer, protected=header))
