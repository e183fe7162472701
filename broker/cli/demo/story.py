"""The story of the demo, in the order in which it happens. Each step is a function; read the list.

Italy's mechanism refers invented people to Albania's; Albania answers, passes one on to a shelter
and takes one case over; people change their minds; somebody tampers; the hub is killed. At the
end an auditor, who can read none of it, verifies that all of it happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.cli.demo import audit, tamper
from broker.cli.demo.processes import until
from broker.cli.demo.recount import NOT_YET_FILED, read_party, recount
from broker.cli.demo.world import (
    ALBANIA,
    ITALY,
    SHELTER,
    WAIT_SECONDS,
    Case,
    Referral,
    World,
    await_arrival,
    await_state,
    expect,
)
from broker.cli.drafting import casefile_body, reply
from broker.cli.homes.network import sample_cases
from broker.cli.local import LocalApi
from schemas.errors import PolicyRefused

HELD = {"delivered", "filed", "read"}
ROLES = (
    "accepted",
    "declined",
    "asked",
    "passed on",
    "handed over",
    "withdrawn late",
    "withdrawn early",
    "tampered",
    "narrow consent",
)
"""One person each; whoever is left is referred too and simply arrives."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it says, and what it does."""

    title: str
    act: Callable[[World], None]


# --- before the first referral ---------------------------------------------------------------


def start(world: World) -> None:
    """The network is laid out; here its processes come up, each with keys of its own."""
    world.hub.start()
    world.hub.wait_ready()
    for child in world.gateways.values():
        child.start()
    for child in world.gateways.values():
        child.wait_ready()
    world.workers = {
        participant: world.network.worker(participant, "first") for participant in world.gateways
    }
    for participant, child in world.gateways.items():
        world.tell(f"{participant}: process {child.pid}")


def agree(world: World) -> None:
    """No agreement, no route: both sides sign, then it is registered at the hub."""
    for one, other in ((ITALY, ALBANIA), (ALBANIA, SHELTER)):
        world.network.register_agreement(one, other)
        world.tell(f"{one} and {other} have both signed")


def read_cases(world: World) -> None:
    """Italy's adapter reads the sample file; the people in it are invented and marked so."""
    answer = world.italy.post("/v1/drafts", {"adapter": "files", "file": str(sample_cases())})
    cases = [Case(row["case_ref"], row["sections"]) for row in answer["cases"]]
    expect(len(cases) >= len(ROLES) + 3, f"at least {len(ROLES) + 3} cases in the sample")
    adults = [case for case in cases if not case.is_child]
    world.cases = dict(zip(ROLES, adults, strict=False))
    rest = [case for case in cases if case not in world.cases.values()]
    world.cases |= {f"person {case.case_ref}": case for case in rest}
    world.tell(f"{len(cases)} people, {len(cases) - len(adults)} of them children")


def consent(world: World) -> None:
    """Each person says which sections Albania may have, for which purpose."""
    for role, case in world.cases.items():
        sections = set(case.sections)
        if role == "narrow consent":
            sections -= {"trafficking_experience"}
        scopes = [{"purpose": "protection", "section": name} for name in sorted(sections)]
        grant = world.italy.post("/v1/consents", _consent(ALBANIA, case, scopes))["grant"]
        world.referrals[role] = Referral(case, grant)
    world.tell(f"{len(world.referrals)} grants; the hub sees blinded scopes and no names")


def _consent(to: str, case: Case, scopes: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    today = datetime.now(UTC).date()
    content: dict[str, Any] = {
        "to": to,
        "case_ref": case.case_ref,
        "scopes": scopes,
        "principal": f"corridor-{case.case_ref}",
        "valid_until": (today + timedelta(days=60)).isoformat(),
        "language": "sqi",
        "notice": "invented-notice-1",
        "how": "read-out",
        **more,
    }
    if case.is_child:
        content["presumed_child"] = True
        content["guardian"] = {
            "guardian_role": "court-appointed guardian (invented)",
            "guardian_agrees": True,
            "child_view": "Wants to be near an aunt. Invented for a demonstration.",
            "child_agrees": True,
        }
    return content


# --- referrals -------------------------------------------------------------------------------


def messages(api: LocalApi, box: str) -> list[dict[str, Any]]:
    """All messages in a gateway's inbox or outbox."""
    return [row for page in api.pages("/v1/messages", "messages", box=box) for row in page]


def refer(api: LocalApi, referral: Referral, *, to: str, **more: Any) -> None:
    """Send one referral; when this returns it is durable at the sender's gateway."""
    answer = api.post(
        "/v1/messages",
        {
            "type": "referral.request",
            "to": to,
            "case_ref": referral.case.case_ref,
            "grant": referral.grant,
            "purpose": "protection",
            "sections": referral.case.sections,
            "body": {"services": ["safe_house", "psychosocial"], "urgency": "normal"},
            **more,
        },
    )
    referral.message = answer["id"]
    referral.thread = answer["thread"]
    referral.business_id = answer["business_id"]


def refer_while_hub_dies(world: World) -> None:
    """Half are sent, the hub is killed with signal 9, the other half is sent to a dead hub."""
    held_back = {"narrow consent", "withdrawn early", "tampered"}
    roles = [role for role in world.referrals if role not in held_back]
    half = len(roles) // 2
    for role in roles[:half]:
        refer(world.italy, world.referrals[role], to=ALBANIA)
    old = world.hub.pid
    world.hub.kill()
    for role in roles[half:]:
        refer(world.italy, world.referrals[role], to=ALBANIA)
    world.hub.start()
    world.hub.wait_ready()
    world.tell(f"hub {old} killed after {half} referrals, {len(roles) - half} more sent meanwhile")
    for role in roles:
        what = f"the referral of role {role!r} to be filed in Albania"
        await_state(world.italy, world.referrals[role].message, {"filed", "read"}, what)
    world.tell(f"all {len(roles)} verified, unsealed, filed once and receipted by Albania")


def read(world: World) -> None:
    """A worker in Albania opens them; Italy learns that they were read."""
    for role in ("accepted", "declined", "asked", "passed on", "withdrawn late"):
        referral = world.referrals[role]
        content = world.albania.post(f"/v1/messages/{referral.message}/open")
        expect(content["sections"].keys() == referral.case.sections.keys(), "every section there")
        await_state(world.italy, referral.message, {"read"}, "the receipt that it was read")
    world.tell("five opened; Italy has the receipts, and was told no more than that")


def answer(world: World) -> None:
    """Albania accepts one, declines one with a reason, asks about one and gets an answer."""
    accepted, declined, asked = (
        world.referrals[role].message for role in ("accepted", "declined", "asked")
    )
    yes = reply(world.albania, accepted, "referral.accept", {"worker_role": "case worker"})
    no = reply(world.albania, declined, "referral.decline", {"reason": "no_capacity"})
    question = reply(
        world.albania,
        asked,
        "referral.clarify.request",
        {"question": "Which language for the interpreter?", "fields": ["demographics_language"]},
    )
    await_arrival(world.italy, question["id"], "Albania's question")
    told = reply(
        world.italy, question["id"], "referral.clarify.reply", {"answer": "Albanian, please."}
    )
    for api, sent, what in (
        (world.italy, yes, "the acceptance"),
        (world.italy, no, "the refusal with its reason"),
        (world.albania, told, "Italy's answer"),
    ):
        await_arrival(api, sent["id"], what)
    for role, state in (("accepted", "accepted"), ("declined", "declined"), ("asked", "received")):
        _await_thread(world.italy, world.referrals[role].thread, state)
    world.tell("accepted one, declined one (no_capacity), and an open question was answered")
    world.counts.accepted = _types(world.italy, "referral.accept")
    world.counts.declined = _types(world.italy, "referral.decline")
    world.counts.questions = _types(world.italy, "referral.clarify.request")


def _types(api: LocalApi, name: str) -> int:
    """How many messages of one type have arrived at this gateway."""
    rows = messages(api, "inbox")
    return sum(row["type"] == name for row in rows)


def _await_thread(api: LocalApi, thread: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = api.get(f"/v1/threads/{thread}")
        return found if found["state"] == state else None

    return until(f"a thread to be {state}", look, seconds=WAIT_SECONDS)


def pass_on(world: World) -> None:
    """Albania refers two people on to the shelter, each under a new grant derived from Italy's."""
    for role in ("passed on", "withdrawn late"):
        received = world.referrals[role]
        sections = ["case_admin", "identity_core", "demographics_language"]
        held = world.albania.post(f"/v1/messages/{received.message}/open")["sections"]
        case = Case(f"AL-{received.case.case_ref}", {name: held[name] for name in sections})
        scopes = [{"purpose": "protection", "section": name} for name in sections]
        grant = world.albania.post(
            "/v1/consents", _consent(SHELTER, case, scopes, derived_from=received.grant)
        )["grant"]
        onward = Referral(case, grant)
        refer(world.albania, onward, to=SHELTER, derived_from=received.business_id)
        await_state(world.albania, onward.message, {"filed", "read"}, "the shelter to file it")
        world.onward[role] = onward
    world.tell("three sections each, under new grants that hang on Italy's")
    rows = messages(world.shelter, "inbox")
    world.counts.onward = sum(
        row["type"] == "referral.request" and row["derived_from"] is not None for row in rows
    )


def hand_over(world: World) -> None:
    """A case changes hands: offered, accepted, sent whole, acknowledged, signed by both."""
    case = world.referrals["handed over"].case
    # Another yes than the one to being referred, so another record.
    scopes = [{"purpose": "case_transfer", "section": name} for name in sorted(case.sections)]
    grant = world.italy.post("/v1/consents", _consent(ALBANIA, case, scopes))["grant"]
    today = datetime.now(UTC).date().isoformat()
    # Both sides assessed the risk together; it is assessed anew when a month is over.
    assessed = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
    consented: dict[str, Any] = {"grant": grant, "purpose": "case_transfer"}
    offer = world.italy.post(
        "/v1/messages",
        {
            "type": "transfer.offer",
            "to": ALBANIA,
            "case_ref": case.case_ref,
            "sections": {"case_admin": case.sections["case_admin"]},
            "body": {
                "effective_date": today,
                "new_worker_known": True,
                "risk_valid_until": assessed,
            },
            **consented,
        },
    )
    thread = offer["thread"]
    met = {"met_person": True, "met_on": today, "worker_role": "case worker"}

    def say(speaker: LocalApi, listener: LocalApi, answered: str, name: str, **body: Any) -> str:
        more = consented if name == "transfer.casefile" else {}
        sections = {"sections": case.sections} if more else {}
        sent = reply(speaker, answered, name, body, **more, **sections)
        await_arrival(listener, sent["id"], name)
        return str(sent["id"])

    italy, albania = world.italy, world.albania
    await_arrival(albania, offer["id"], "the offer")
    yes = say(albania, italy, offer["id"], "transfer.accept", worker_role="case worker")
    file = say(italy, albania, yes, "transfer.casefile", **casefile_body(case.sections))
    await_state(italy, file, {"filed", "read"}, "the case file to be filed in Albania")
    good = say(albania, italy, file, "transfer.casefile.ack", outcome="complete")
    expect(_owner(world, thread) == ITALY, "the case to be Italy's until both have signed")
    first = say(italy, albania, good, "transfer.complete", **met)
    expect(_owner(world, thread) == ITALY, "the case to be Italy's while only Italy has signed")
    signed = albania.get(f"/v1/messages/{first}")["business_id"]
    say(albania, italy, first, "transfer.complete", **met, countersigns=signed)
    _await_thread(italy, thread, "completed")
    expect(_owner(world, thread) == ALBANIA, "the case to be Albania's with both signatures")
    world.counts.transferred = sum(
        api.get(f"/v1/threads/{thread}")["state"] == "completed" for api in (italy,)
    )
    world.tell("Italy was responsible until both signatures stood; now Albania is")


def _owner(world: World, thread: str) -> str:
    return str(world.italy.get(f"/v1/threads/{thread}")["owner"])


# --- what must not happen ---------------------------------------------------------------------


def refuse(world: World) -> None:
    """A worker asks to send a section that the person did not agree to. Nothing leaves."""
    referral = world.referrals["narrow consent"]
    extra = world.cases["accepted"].sections["trafficking_experience"]
    before = len(messages(world.italy, "outbox"))
    wider = Referral(
        Case(referral.case.case_ref, {**referral.case.sections, "trafficking_experience": extra}),
        referral.grant,
    )
    try:
        refer(world.italy, wider, to=ALBANIA)
    except PolicyRefused as refused:
        expect(refused.code == "consent-scope", f"consent-scope and not {refused.code}")
        world.counts.refused += 1
        world.tell(f"refused with {refused.code}: {', '.join(refused.where) or 'one section'}")
    after = len(messages(world.italy, "outbox"))
    expect(world.counts.refused == 1 and before == after, "the wider referral to be refused")
    allowed = {
        name: content
        for name, content in referral.case.sections.items()
        if name != "trafficking_experience"
    }
    referral.case = Case(referral.case.case_ref, allowed)
    refer(world.italy, referral, to=ALBANIA)
    await_state(world.italy, referral.message, {"filed", "read"}, "the narrower one to be filed")
    world.tell("without that section it went through")


def withdraw_early_and_tamper(world: World) -> None:
    """Albania's gateway is off and the hub only accepts. One person withdraws while waiting.

    Another message is altered in the hub's database by somebody who has no key.
    """
    early, altered = world.referrals["withdrawn early"], world.referrals["tampered"]
    world.gateways[ALBANIA].end()
    world.restart_hub("--role", "api")
    for referral in (early, altered):
        refer(world.italy, referral, to=ALBANIA)
        await_state(world.italy, referral.message, {"submitted", "relayed"}, "the hub to have it")
    withdrawal = world.italy.post(f"/v1/consents/{early.grant}/withdraw")["message"]
    await_state(world.italy, withdrawal, {"submitted", "relayed"}, "the hub to have the withdrawal")
    world.hub.kill()
    tamper.alter_at_rest(world.network.hub.settings_file, altered.message)
    world.altered = altered.message
    world.restart_hub()
    await_state(world.italy, early.message, {"stopped"}, "the waiting referral to be stopped")
    world.gateways[ALBANIA].start()
    world.gateways[ALBANIA].wait_ready()
    until(
        "Albania to quarantine the altered message",
        lambda: world.albania.items("/v1/quarantine", "quarantine"),
        seconds=WAIT_SECONDS,
    )
    arrived = {row["id"] for row in messages(world.albania, "inbox")}
    expect(early.message not in arrived, "the withdrawn referral never to be delivered")
    expect(altered.message not in arrived, "the altered referral never to be delivered")
    world.tell("the waiting referral was stopped at the hub and never delivered")
    world.tell("the altered one is in quarantine; nobody was told anything about it")


def withdraw_late(world: World) -> None:
    """A person withdraws after delivery: the copies in Albania and at the shelter are erased."""
    referral, onward = world.referrals["withdrawn late"], world.onward["withdrawn late"]
    places = ((ALBANIA, referral), (SHELTER, onward))
    for participant, one in places:
        expect(
            read_party(participant, world.workers[participant], world.folder(participant)).files[
                one.business_id
            ]
            == 1,
            f"one file at {participant} before the withdrawal",
        )
    world.italy.post(f"/v1/consents/{referral.grant}/withdraw")

    def attested() -> bool:
        found = world.italy.get(f"/v1/erasures/{referral.grant}")
        return bool(audit.all_erased(found, {ALBANIA, SHELTER}))

    until("Albania and the shelter to attest erasure", attested, seconds=WAIT_SECONDS)
    for participant, one in places:
        party = read_party(participant, world.workers[participant], world.folder(participant))
        expect(not party.files[one.business_id], f"no file at {participant} any more")
        row = next(row for row in party.inbox if row["id"] == one.message)
        expect(row["erased_at"] is not None, f"the vault of {participant} to say erased")
        world.counts.erased_after_delivery += 1
        world.tell(f"{participant}: gone from vault and folder, attested by signature")


# --- and the proof ----------------------------------------------------------------------------


def count(world: World) -> None:
    """Count again from outboxes, inboxes and folders; the hub is not asked."""

    def settled() -> bool:
        under_way = {"queued", "sending", "submitted", "relayed"}
        return not any(
            any(
                row["state"] in under_way and row["id"] != world.altered
                for row in messages(api, "outbox")
            )
            or any(row["state"] in NOT_YET_FILED for row in messages(api, "inbox"))
            for api in world.workers.values()
        )

    until("every message to have an end", settled, seconds=WAIT_SECONDS)
    parties = {
        participant: read_party(participant, api, world.folder(participant))
        for participant, api in world.workers.items()
    }
    found = recount(parties)
    counts = world.counts
    counts.sent, counts.accepted_by_hub = found.sent, found.accepted_by_hub
    counts.delivered, counts.filed, counts.read = found.delivered, found.filed, found.read
    counts.quarantined, counts.withdrawn_before_delivery = found.quarantined, found.stopped
    counts.lost, counts.duplicated = len(found.lost), len(found.duplicated)
    expect(not found.lost, f"nothing lost, but: {found.lost}")
    expect(not found.duplicated, f"nothing duplicated, but: {found.duplicated}")


def verify(world: World) -> None:
    """An auditor without any right to a case downloads the log and verifies it offline."""
    counts = world.counts
    counts.log_size = audit.verify_whole_log(world)
    world.tell(f"all {counts.log_size} entries verified offline, with the hub's published key")
    counts.proofs_verified = audit.verify_one_delivery(world, world.referrals["accepted"].message)
    audit.learns_nothing_else(world, world.referrals["accepted"].message)
    world.tell("one delivery proven offline: Albania's signature, in the hub's log")


STORY: tuple[Step, ...] = (
    Step("A hub, two countries and a shelter start, each with its own keys", start),
    Step("Agreements are signed by both sides", agree),
    Step("Italy's adapter reads invented people from an HTCDS file", read_cases),
    Step("Each person consents, section by section", consent),
    Step("Italy refers; the hub is killed in the middle and comes back", refer_while_hub_dies),
    Step("A worker in Albania reads what came", read),
    Step("Albania accepts one, declines one, asks about one", answer),
    Step("Albania refers two people on to the shelter", pass_on),
    Step("One case is handed over, signed by both sides", hand_over),
    Step("A section outside consent is refused", refuse),
    Step(
        "One person withdraws while waiting; one message is tampered with",
        withdraw_early_and_tamper,
    ),
    Step("One person withdraws after delivery", withdraw_late),
    Step("Everything is counted again, without asking the hub", count),
    Step("An auditor verifies log and delivery, offline", verify),
)
