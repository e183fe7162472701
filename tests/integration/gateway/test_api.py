"""The local API: who may talk to it, what it says, and what it never repeats."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from broker.cli.homes.network import sample_cases
from broker.gateway.api import app as api_app
from broker.gateway.api.app import create_api
from broker.gateway.api.guard import REMEMBER_SECONDS
from broker.gateway.home import add_worker, remove_worker
from broker.gateway.store.tables import opening
from tests.support.gateways import CASE, Desk, World
from tests.support.waiting import until

UNTIL = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()


def consent() -> dict[str, object]:
    return {
        "to": "al.nrm",
        "case_ref": "CASE-1",
        "scopes": [{"purpose": "protection", "section": "case_admin"}],
        "principal": "pseudonym-1",
        "valid_until": UNTIL,
        "language": "sqi",
        "notice": "invented-1",
        "how": "read-out",
    }


def referral(grant: str) -> dict[str, object]:
    return {
        "type": "referral.request",
        "to": "al.nrm",
        "case_ref": "CASE-1",
        "grant": grant,
        "purpose": "protection",
        "sections": CASE,
        "body": {"services": ["safe_house"]},
    }


async def test_a_worker_consents_sends_looks_and_opens(two: World) -> None:
    italy, albania = Desk(two, "it.nrm"), Desk(two, "al.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    sent = (await italy.post("/v1/messages", referral(grant))).json()
    await two.settle()

    opened = await albania.post(f"/v1/messages/{sent['id']}/open")
    await two.settle()
    shown = (await italy.get(f"/v1/messages/{sent['id']}")).json()
    listed = (await albania.get("/v1/messages?box=inbox")).json()["messages"]
    thread = (await albania.get(f"/v1/threads/{sent['thread']}")).json()

    assert opened.json()["sections"]["case_admin"]["case_owner"] == "Invented worker"
    assert shown["state"] == "read"
    assert {item["fact"] for item in shown["facts"]} >= {"submitted", "delivered", "filed", "read"}
    assert [item["type"] for item in listed] == ["consent.record", "referral.request"]
    assert thread["state"] == "delivered"


async def test_who_waits_for_word_of_a_message_is_answered_when_it_comes(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    sent = (await italy.post("/v1/messages", referral(grant))).json()
    path = f"/v1/messages/{sent['id']}"

    in_vain = (await italy.get(f"{path}?until=filed&wait=0")).json()
    filed = asyncio.create_task(italy.get(f"{path}?until=filed"))
    delivered = asyncio.create_task(italy.get(f"{path}?until=delivered"))
    await two.settle()

    assert in_vain["state"] in ("queued", "sending", "submitted")
    assert (await filed).json()["state"] == "filed"
    assert (await delivered).json()["state"] in ("delivered", "filed")


async def test_who_sends_may_wait_for_the_end_of_it_in_one_request(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]

    in_vain = (await italy.post("/v1/messages?until=filed&wait=0", referral(grant))).json()
    filed = asyncio.create_task(italy.post("/v1/messages?until=filed", referral(grant)))
    async with asyncio.timeout(60):
        while not filed.done():
            await two.settle()

    assert in_vain["state"] in ("queued", "sending", "submitted")
    assert (await filed).json()["state"] == "filed"
    assert (await filed).json()["id"] != in_vain["id"]


async def test_nobody_waits_for_what_will_not_come(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    sent = (await italy.post("/v1/messages", referral(grant))).json()
    await italy.post(f"/v1/consents/{grant}/withdraw")
    await two.settle()

    answer = await italy.get(f"/v1/messages/{sent['id']}?until=read")
    assert answer.json()["state"] == "stopped"


async def test_a_dry_run_shows_clear_and_sealed_and_stores_nothing(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]

    shown = (await italy.post("/v1/messages", {**referral(grant), "dry_run": True})).json()

    assert shown["clear"]["consent"]["grant"] == grant
    assert "Invented worker" not in str(shown["clear"])
    assert shown["sealed"]["casework"]["sections"] == CASE
    assert shown["sealed"]["casework"]["grant_key"] == "<sealed>"
    sent = (await italy.get("/v1/messages?box=outbox")).json()["messages"]
    assert [item["type"] for item in sent] == ["consent.record"]


async def test_a_refusal_names_code_and_path_and_no_value(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    draft = referral(grant)
    draft["sections"] = {"case_admin": {"status": "Canary-value"}}

    answer = await italy.post("/v1/messages", draft)

    assert answer.status_code == 400
    assert answer.json()["code"] == "schema"
    assert "Canary" not in answer.text


async def test_without_a_workers_token_nothing_is_said(two: World) -> None:
    desk = Desk(two, "it.nrm")
    for header in ("", "Bearer wrong", f"Basic {desk.token}"):
        answer = await desk.http.get("/v1/status", headers={"authorization": header})
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthenticated"
    assert (await desk.get("/v1/status")).status_code == 200


async def test_every_route_but_health_wants_a_token(two: World) -> None:
    desk = Desk(two, "it.nrm")
    side = two["it.nrm"]
    paths = create_api(side.parts, not_ready=side.gateway.not_ready).openapi()["paths"]
    guarded = [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if path not in ("/livez", "/readyz", "/startupz")
    ]

    assert len(guarded) > 20
    for method, path in guarded:
        filled = path.replace("{number}", "1")
        for name in ("message", "grant", "thread", "exception"):
            filled = filled.replace(f"{{{name}}}", "01938f5e-0000-7000-8000-000000000001")
        answer = await desk.http.request(method, filled, headers={"authorization": ""})
        assert answer.status_code == 401, path


async def test_a_name_that_points_here_by_a_trick_is_refused(two: World) -> None:
    desk = Desk(two, "it.nrm")

    answer = await desk.http.get("/v1/status", headers={"host": "evil.example"})

    assert answer.status_code == 403


async def test_a_removed_worker_is_out_within_a_moment(two: World) -> None:
    home = two.network.participants["it.nrm"].home
    await asyncio.to_thread(add_worker, home, "third")
    desk = Desk(two, "it.nrm", "third")
    assert (await desk.get("/v1/status")).status_code == 200

    await asyncio.to_thread(remove_worker, home, "third")
    await asyncio.sleep(REMEMBER_SECONDS)

    assert (await desk.get("/v1/status")).status_code == 401


async def test_the_database_does_not_hold_a_token(two: World) -> None:
    home = two.network.participants["it.nrm"].home
    token = (home / "workers" / "first.token").read_text().strip()

    assert (home / "workers" / "first.token").stat().st_mode & 0o777 == 0o600
    for path in home.glob("gateway.sqlite3*"):
        assert token.encode() not in path.read_bytes()


async def test_ready_is_red_until_the_log_is_written(two: World) -> None:
    desk = Desk(two, "it.nrm")
    before = await desk.get("/readyz")
    await two["it.nrm"].gateway.core.log.sequencer.run_once()

    assert (before.status_code, before.json()["codes"]) == (503, ["log-unavailable"])
    assert (await desk.get("/readyz")).status_code == 200


async def test_ready_is_red_while_the_folder_of_cases_is_away_or_does_not_answer(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, desk = two["it.nrm"], Desk(two, "it.nrm")
    await side.gateway.core.log.sequencer.run_once()
    folder = two.network.participants["it.nrm"].home / "htcds"
    folder.rename(folder.with_name("away"))
    missing = await desk.get("/readyz")
    folder.with_name("away").rename(folder)
    mended = await desk.get("/readyz")
    assert (missing.status_code, missing.json()["codes"]) == (503, ["case-system-unavailable"])
    assert mended.status_code == 200

    asked, answers = 0, threading.Event()

    def hang() -> None:
        nonlocal asked
        asked += 1
        answers.wait()

    monkeypatch.setattr(api_app, "PATIENCE", timedelta())
    monkeypatch.setattr(side.gateway.core.adapter, "check", hang)
    hanging = [await desk.get("/readyz") for _ in range(3)]
    answers.set()
    assert [one.json()["codes"] for one in hanging] == [["case-system-unavailable"]] * 3
    assert asked == 1  # a disk that hangs holds one thread, however often it is asked for


async def test_the_proof_of_a_delivery_can_be_fetched(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    sent = (await italy.post("/v1/messages", referral(grant))).json()
    url = f"/v1/proof/{sent['id']}?fact=delivered"
    missing = await italy.get(url)
    await two.settle()

    async def proven() -> bool:
        return (await italy.get(url)).status_code == 200

    await until("the proof", proven)
    proof = await italy.get(url)

    assert missing.status_code == 404
    assert proof.json().keys() >= {"evidence", "leaf", "opening", "proof", "keys"}


async def test_drafts_come_from_a_national_file(two: World) -> None:
    answer = await Desk(two, "it.nrm").post("/v1/drafts", {"file": str(sample_cases())})

    assert len(answer.json()["cases"]) >= 12
    assert all(case["invented"] for case in answer.json()["cases"])


async def test_withdrawing_shows_who_has_said_nothing_yet(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]
    await italy.post("/v1/messages", referral(grant))
    await two.settle()
    two["it.nrm"].line.cut = True
    await italy.post(f"/v1/consents/{grant}/withdraw")
    silent = (await italy.get(f"/v1/erasures/{grant}")).json()
    two["it.nrm"].line.cut = False
    await two.settle()
    told = (await italy.get(f"/v1/erasures/{grant}")).json()

    assert silent["silent"] == ["al.nrm"]
    assert told["silent"] == []
    stores = {item["store"] for item in told["attestations"][0]["stores"]}
    assert {"vault", "case-system", "backups"} <= stores


async def test_an_exclusion_is_set_and_lifted_in_a_body_and_each_is_in_the_log(two: World) -> None:
    italy = Desk(two, "it.nrm")
    wanted = {"about": "CASE-1", "participant": "al.nrm"}

    answers = [await italy.post(f"/v1/exclusions{path}", wanted) for path in ("", "/lift", "/lift")]

    core = two["it.nrm"].gateway.core
    async with core.database.read() as connection:
        events = select(opening.c.event).where(opening.c.event.startswith("exclusion:"))
        recorded = list((await connection.execute(events)).scalars())
    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert sorted(recorded) == ["exclusion:lifted", "exclusion:set"]


async def test_a_person_gets_her_copy_and_others_her_record(two: World) -> None:
    italy = Desk(two, "it.nrm")
    grant = (await italy.post("/v1/consents", consent())).json()["grant"]

    record = (await italy.get(f"/v1/consents/{grant}/record")).json()
    paper = (await italy.get(f"/v1/consents/{grant}/receipt?language=ar")).json()

    assert record["dpv:hasDataController"]["dct:identifier"] == "it.nrm"
    assert record["dpv:hasConsentStatus"][0]["dpv:hasStatus"] == {"@id": "dpv:ConsentGiven"}
    assert 'dir="rtl"' in paper["html"]
    assert grant in paper["text"]
    assert (await italy.get(f"/v1/consents/{grant}/receipt?language=xx")).status_code == 404
