"""Registering grants, agreements and suspensions."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from uuid import uuid4

from adapters.corridors import corridors, draft
from keys.signing import countersign, sign_agreement
from keys.statements.suspension import word_of
from schemas.agreement import Agreement
from schemas.envelope import Kind, Lane
from tests.support.hub import Served


async def test_the_same_grant_again_is_the_same_answer(served: Served) -> None:
    it, al, _ = await served.pair()
    grant = it.grant_statement("al.nrm")

    first = await it.http.post("/grants", content=grant.raw)
    again = await it.http.post("/grants", content=grant.raw)
    seen = (await al.get(f"/grants/{grant.id}")).json()

    assert (first.status_code, again.status_code) == (201, 200)
    assert (seen["statement"], seen["status"], seen["removed"]) == (grant.raw.decode(), "live", [])


async def test_a_grant_id_belongs_to_one_statement(served: Served) -> None:
    it, al, _ = await served.pair()
    grant = await it.grant("al.nrm")
    from keys.jws import sign_jws
    from schemas.consent import GRANT_TYP, GrantStatement

    content = GrantStatement.model_validate(
        {
            "grant": grant.id,
            "from": "al.nrm",
            "to": "it.nrm",
            "scopes": grant.scopes,
            "valid_from": grant.until - timedelta(days=1),
            "until": grant.until,
            "record_digest": "A" * 43,
            "derived_from": None,
            "issued_at": served.world.clock.now(),
        }
    )
    raw = sign_jws(content.to_json(), typ=GRANT_TYP, signer=al.party.signer())

    answer = await it.http.post("/grants", content=raw)

    assert answer.json()["code"] == "id-conflict"


async def test_a_grant_that_ran_out_is_said_to_be_expired_and_carries_nothing(
    served: Served,
) -> None:
    it, al, agreement = await served.pair()
    today = served.world.clock.now().date()
    grant = await it.grant(
        "al.nrm", valid_from=today - timedelta(days=9), until=today - timedelta(days=2)
    )

    answer = await it.submit(it.seal(it.draft("al.nrm", agreement=agreement, grant=grant)))

    assert answer.json()["code"] == "consent-expired"
    assert (await al.get(f"/grants/{grant.id}")).json()["status"] == "expired"


async def test_only_who_received_may_pass_on_and_only_while_the_consent_lives(
    served: Served,
) -> None:
    it, al, _ = await served.pair()
    grant = await it.grant("al.nrm")
    not_theirs = it.grant_statement("al.shelter", derived_from=grant.id)
    theirs = al.grant_statement("al.shelter", derived_from=grant.id)

    refused = await it.http.post("/grants", content=not_theirs.raw)
    await it.submit(it.withdrawal(grant, "al.nrm"))
    too_late = await al.http.post("/grants", content=theirs.raw)

    assert refused.json()["code"] == "consent-recipient"
    assert too_late.json()["code"] == "consent-withdrawn"


async def test_a_consent_that_is_passed_on_keeps_within_the_days_of_the_first(
    served: Served,
) -> None:
    it, al, _ = await served.pair()
    today = served.world.clock.now().date()
    grant = await it.grant("al.nrm")
    day = timedelta(days=1)
    onward = partial(al.grant_statement, "al.shelter", derived_from=grant.id)
    longer, earlier = onward(until=grant.until + day), onward(valid_from=today - day)
    same = onward(until=grant.until)

    refused = [await al.http.post("/grants", content=one.raw) for one in (longer, earlier)]

    assert [(one.json()["code"], one.json()["where"]) for one in refused] == [
        ("grant-widened", ["until"]),
        ("grant-widened", ["valid_from"]),
    ]
    assert (await al.http.post("/grants", content=same.raw)).status_code == 201


async def test_an_agreement_needs_both_signatures(served: Served) -> None:
    it = served.client("it.nrm")
    today = served.world.clock.now().date()
    content = Agreement(
        id=uuid4(),
        title="Invented agreement",
        parties=("it.nrm", "al.nrm"),
        valid_from=today,
        valid_until=today,
        lanes=(Lane.ROUTINE,),
        types=("referral.*",),
        sections=(),
        purposes=(),
        transfer=(),
        signed_on=served.world.clock.now(),
    )

    answer = await served.http.post(
        "/agreements", content=sign_agreement(content, it.party.signer())
    )

    assert answer.json()["code"] == "suspect"
    assert (await it.get("/agreements")).json() == {"agreements": []}


async def test_the_terms_of_every_corridor_are_signed_by_both_and_registered(
    served: Served,
) -> None:
    now = served.world.clock.now()
    for name, corridor in corridors().items():
        one = (*corridor.origins, "IT")[0].lower()
        other = (*corridor.to, "BR")[0].lower()
        parties = [served.world.parties.get(f"{code}.nrm") for code in (one, other)]
        first, second = (
            party or served.world.enrol(f"{code}.nrm")
            for party, code in zip(parties, (one, other), strict=True)
        )
        await served.hub.refresh_directory()
        terms = draft(
            name,
            first.entry.id,
            second.entry.id,
            agreement=uuid4(),
            valid_from=now.date(),
            valid_until=now.date() + timedelta(days=365),
            now=now,
        )
        raw = countersign(sign_agreement(terms, first.signer()), second.signer())

        answer = await served.http.post("/agreements", content=raw)
        listed = (await served.client(second.entry.id).get("/agreements")).json()["agreements"]

        assert answer.status_code == 201, (name, answer.text)
        assert raw.decode() in [each["agreement"] for each in listed]


async def test_either_party_suspends_at_once_and_only_it_resumes(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    draft = it.draft("al.nrm", agreement=agreement, grant=grant)

    await al.http.post("/suspensions", content=al.suspension(agreement))
    suspended = await it.submit(it.seal(draft))
    listed = (await it.get("/agreements")).json()["agreements"]
    await it.http.post("/suspensions", content=it.suspension(agreement, "resume"))
    still = await it.submit(it.seal(draft))

    assert suspended.json()["code"] == "no-agreement"
    now, parties = served.world.clock.now(), ("it.nrm", "al.nrm")
    words = [
        word_of(raw.encode(), parties, served.world.directory(), now=now)
        for raw in listed[0]["suspensions"]
    ]
    assert [(word.by, word.holds) for word in words] == [("al.nrm", True)]
    assert still.json()["code"] == "no-agreement"


async def test_who_is_no_party_cannot_suspend(served: Served) -> None:
    _, _, agreement = await served.pair()
    shelter = served.client("al.shelter")

    answer = await served.http.post("/suspensions", content=shelter.suspension(agreement))

    assert answer.json()["code"] == "forbidden"


async def test_a_replayed_older_suspension_changes_nothing(served: Served) -> None:
    it, al, agreement = await served.pair()
    grant = await it.grant("al.nrm")
    suspend = al.suspension(agreement)
    served.world.clock.turn(timedelta(seconds=1))  # type: ignore[attr-defined]
    resume = al.suspension(agreement, "resume")

    for statement in (suspend, resume, suspend):
        assert (await served.http.post("/suspensions", content=statement)).status_code == 201

    sealed = it.seal(it.draft("al.nrm", agreement=agreement, grant=grant, kind=Kind.REQUEST))
    assert (await it.submit(sealed)).status_code == 201
