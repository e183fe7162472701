"""Evidence, grants, suspensions and agreements: each stands by its authors' keys alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from keys.jws import (
    sign_jws,
    signature_object,
)
from keys.signing import (
    countersign,
    sign_agreement,
    verify_agreement,
    verify_evidence,
    verify_grant,
    verify_suspension,
)
from schemas.agreement import AGREEMENT_TYP, SUSPENSION_TYP
from schemas.consent import GRANT_TYP
from schemas.directory import KeyStatus, TrustedDirectory
from schemas.envelope import Lane
from schemas.errors import (
    BadSignature,
    Conflict,
    FromTheFuture,
    KeyRevoked,
    KeyUnknown,
    MalformedJson,
    SchemaRefused,
)
from schemas.evidence import EVIDENCE_TYP
from tests.support.parties import NOW, Party, directory_of
from tests.support.statements import agreement, evidence, grant, suspension

STATEMENTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "evidence": (evidence, EVIDENCE_TYP, verify_evidence),
    "grant": (grant, GRANT_TYP, verify_grant),
    "suspension": (suspension, SUSPENSION_TYP, verify_suspension),
}


@pytest.mark.parametrize(("make", "typ", "check"), STATEMENTS.values(), ids=STATEMENTS.keys())
def test_a_statement_is_only_its_authors(
    make: Callable[[], Any],
    typ: str,
    check: Callable[..., Any],
    italy: Party,
    albania: Party,
    stranger: Party,
    directory: TrustedDirectory,
) -> None:
    payload = make().to_json()
    found = check(sign_jws(payload, typ=typ, signer=italy.signer()), directory, now=NOW)
    assert getattr(found, "content", found) == make()
    with pytest.raises(BadSignature):
        check(sign_jws(payload, typ=typ, signer=albania.signer()), directory, now=NOW)
    with pytest.raises(KeyUnknown):
        check(sign_jws(payload, typ=typ, signer=stranger.signer()), directory, now=NOW)
    with pytest.raises(BadSignature):
        check(sign_jws(payload, typ="other+jws", signer=italy.signer()), directory, now=NOW)
    with pytest.raises(KeyRevoked):
        check(
            sign_jws(payload, typ=typ, signer=italy.signer()),
            directory_of(italy.with_status(KeyStatus.COMPROMISED)),
            now=NOW,
        )
    twice = (
        payload[:-1] + b',"version":1}' if typ != SUSPENSION_TYP else payload[:-1] + b',"by":"x"}'
    )
    with pytest.raises(MalformedJson):
        check(sign_jws(twice, typ=typ, signer=italy.signer()), directory, now=NOW)


@pytest.mark.parametrize("suites", [(1, 1), (1, 2)])
def test_an_agreement_stands_when_both_have_signed(
    suites: tuple[int, int], italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    half = sign_agreement(agreement(), italy.signer(suites[0]))
    with pytest.raises(BadSignature):
        verify_agreement(half, directory, now=NOW)
    whole = countersign(half, albania.signer(suites[1]))
    found = verify_agreement(whole, directory, now=NOW)
    assert found.content == agreement()
    assert found.raw == whole


def test_an_agreement_and_a_grant_outlive_the_keys_that_signed_them(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    whole = countersign(sign_agreement(agreement(), italy.signer()), albania.signer())
    given = sign_jws(grant().to_json(), typ=GRANT_TYP, signer=italy.signer())
    years_later = NOW + timedelta(days=1000)
    retired = directory_of(italy.with_status(KeyStatus.RETIRED), albania)
    for known in (directory, retired):
        assert verify_agreement(whole, known, now=years_later)
        assert verify_grant(given, known, now=years_later)
    stolen = directory_of(italy.with_status(KeyStatus.COMPROMISED), albania)
    with pytest.raises(KeyRevoked):
        verify_agreement(whole, stolen, now=years_later)
    with pytest.raises(KeyRevoked):
        verify_grant(given, stolen, now=years_later)


def test_a_statement_is_not_older_than_its_key_nor_from_the_future(
    italy: Party, directory: TrustedDirectory
) -> None:
    def given(days: int) -> bytes:
        statement = grant().model_copy(update={"issued_at": NOW + timedelta(days=days)})
        return sign_jws(statement.to_json(), typ=GRANT_TYP, signer=italy.signer())

    with pytest.raises(FromTheFuture):
        verify_grant(given(1), directory, now=NOW)
    for days in (-2, 365):
        with pytest.raises(KeyRevoked):
            verify_grant(given(days), directory, now=NOW + timedelta(days=1000))


def test_an_agreement_is_not_signed_twice_by_one_nor_by_a_third(
    italy: Party, albania: Party, stranger: Party, directory: TrustedDirectory
) -> None:
    half = sign_agreement(agreement(), italy.signer())
    with pytest.raises(Conflict):
        countersign(half, italy.signer())
    with pytest.raises(BadSignature):
        verify_agreement(countersign(half, italy.signer(2)), directory, now=NOW)
    both = countersign(half, albania.signer())
    with pytest.raises(Conflict):
        countersign(both, stranger.signer())
    third = countersign(half, stranger.signer())
    with pytest.raises(KeyUnknown):
        verify_agreement(third, directory, now=NOW)
    with pytest.raises(BadSignature):
        verify_agreement(third, directory_of(italy, albania, stranger), now=NOW)


def test_what_one_party_signed_the_other_cannot_change(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    mine = json.loads(sign_agreement(agreement(), italy.signer()))
    theirs = json.loads(
        countersign(
            sign_agreement(agreement(lanes=(Lane.URGENT,)), italy.signer(2)), albania.signer()
        )
    )
    forged = {
        "payload": theirs["payload"],
        "signatures": [mine["signatures"][0], theirs["signatures"][1]],
    }
    with pytest.raises(BadSignature):
        verify_agreement(json.dumps(forged).encode(), directory, now=NOW)


def test_a_member_twice_in_an_agreement_is_refused(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    twice = agreement().to_json()[:-1] + b',"title":"Another title"}'

    class Twice:
        parties = ("it.nrm", "al.nrm")

        def to_json(self) -> bytes:
            return twice

    half = sign_agreement(Twice(), italy.signer())  # type: ignore[arg-type]
    document = json.loads(half)
    body = document["payload"].encode()
    second = json.loads(
        b"[" + signature_object(body, typ=AGREEMENT_TYP, signer=albania.signer()) + b"]"
    )
    whole = {**document, "signatures": [*document["signatures"], *second]}
    for check in (
        lambda: countersign(half, albania.signer()),
        lambda: verify_agreement(json.dumps(whole).encode(), directory, now=NOW),
    ):
        with pytest.raises(MalformedJson):
            check()


def test_an_agreement_with_oneself_is_refused(
    italy: Party, albania: Party, directory: TrustedDirectory
) -> None:
    alone = countersign(
        sign_agreement(agreement(parties=("it.nrm", "it.nrm")), italy.signer()), albania.signer()
    )
    with pytest.raises(SchemaRefused):
        verify_agreement(alone, directory, now=NOW)


@pytest.mark.parametrize(
    "document",
    [
        {"payload": "e30", "signatures": []},
        {"payload": "e30", "signatures": [{}, {}, {}]},
        {"payload": "e30", "signatures": {}},
        {"payload": 1, "signatures": [{}]},
        {"payload": "e30", "signatures": ["x"]},
        {"payload": "e30", "signatures": [{"protected": "e30", "signature": "", "header": {}}]},
        {"payload": "e30", "signatures": [{"protected": 1, "signature": "AA"}]},
    ],
    ids=str,
)
def test_other_forms_of_an_agreement_are_refused(
    document: dict[str, Any], directory: TrustedDirectory
) -> None:
    with pytest.raises((SchemaRefused, BadSignature)):
        verify_agreement(json.dumps(document).encode(), directory, now=NOW)
