"""Decisions in Primero: the status of referrals, both ways, each under its own id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.base import Ambiguous, Declined, Filed, News, Outcome, Polled, Step
from adapters.systems.primero import words
from adapters.systems.primero.api import Primero, Record, status_of
from adapters.systems.primero.mapping import filed_case, service_of
from adapters.systems.sweep import Key, moment_of, sweep_of
from schemas.bodies.common import DeclineReason
from schemas.errors import CaseSystemUnavailable

PAGE: Final = 50
LOOK_BACK: Final = timedelta(minutes=10)
"""Primero's search index follows its database."""


def poll(primero: Primero, cursor: str | None, reasons: Mapping[str, str]) -> Polled:
    """One page of what people decided about the cases that were filed here."""
    sweep = sweep_of(cursor)
    query = {}
    if sweep.since is not None:
        # Whole days: Primero may round a moment to its day. What is older is left out below.
        begin = (sweep.since - timedelta(days=1)).date().isoformat()
        query = {"last_updated_at": f"{begin}..9999-12-31"}
    ours = (record for record in primero.cases(**query) if filed_case(record) is not None)
    page, more = sweep.page(ours, _key, most=PAGE)
    items = [item for record in page for item in _items(primero, record, reasons)]
    last = _key(page[-1]) if page else None
    return Polled(tuple(items), sweep.then(last, more=more, look_back=LOOK_BACK).text(), more)


def _key(record: Mapping[str, Any]) -> Key:
    try:
        return moment_of(record["last_updated_at"]), str(record["id"])
    except (KeyError, ValueError):
        raise CaseSystemUnavailable("a record without the moment of its change") from None


def _items(
    primero: Primero, record: Record, reasons: Mapping[str, str]
) -> Iterator[News | Ambiguous]:
    business_id = UUID(str(record["id"]))
    for transfer in primero.transfers(str(record["id"])):
        status = str(transfer.get("status"))
        if status != "in_progress":
            yield _item(transfer, status, business_id, _key(record)[0], reasons)
    for referral in primero.referrals(str(record["id"])):
        status = str(referral.get("status"))
        if status == "in_progress":
            continue
        # A referral that is done was accepted before, whether or not we looked in between.
        if status == "done":
            yield _item(referral, "accepted", business_id, _key(record)[0], reasons)
        yield _item(referral, status, business_id, _key(record)[0], reasons)


def _item(
    referral: Record,
    status: str,
    business_id: UUID,
    changed: datetime,
    reasons: Mapping[str, str],
) -> News | Ambiguous:
    id_ = f"{referral['id']}.{status}"
    step = words.STEP_OF.get(status)
    whole = referral.get("type") == "Transfer"
    service = None if whole else service_of(business_id, referral.get("service_record_id"))
    if step is None:
        return Ambiguous(id_, str(referral["id"]), "unknown-code", ("status: unknown-code",))
    if service is None and not whole:
        # Made by hand in Primero, about something that the partner did not ask for.
        return Ambiguous(id_, str(referral["id"]), "no-referral", ("service: not-asked-for",))
    reason = None
    if step is Step.DECLINED:
        given = referral.get("rejected_reason")
        reason = reasons.get(str(given), str(given))
        if reason not in set(DeclineReason):
            code = "unknown-code" if given else "reason-missing"
            return Ambiguous(id_, str(referral["id"]), code, (f"rejected_reason: {code}",))
    services = () if service is None else (service,)
    if status == "done" and referral.get("success_status") == "not_successful":
        step = Step.FAILED
    return News(id_, business_id, step, _moment(referral, changed), reason, services)


def _moment(referral: Record, changed: datetime) -> datetime:
    try:
        return moment_of(referral.get("responded_at"))
    except ValueError:
        return changed


def tell(primero: Primero, case: str, referral: str, news: News) -> Outcome:
    """Write a partner's decision to one referral of one record.

    Primero looks a referral up by its own id, whatever record stands in the path; so it is looked
    for among those of the record first.
    """
    if primero.case(case) is None:
        return Declined("not-found")
    found = [each for each in primero.referrals(case) if each.get("id") == referral]
    if len(found) != 1:
        return Declined("not-found")
    there = found[0]
    wanted = words.STATUS_OF.get(news.step)
    status = str(there.get("status"))
    if wanted is None or status == wanted or status not in words.OPEN:
        # No word for it, said before, or the referral has ended: nothing is moved back.
        return Filed(referral, already=status == wanted)
    if (wanted, status) == ("accepted", "done"):
        return Filed(referral, already=True)
    path = f"cases/{case}/referrals/{referral}"
    if wanted == "revoked":
        answer = primero.ask("DELETE", path)
        if answer.status == 422:
            # Its own boxes say that there is no consent (any more), and it was not overridden.
            return _note(primero, case, there, news, Declined("consent-blocks-revocation"))
        if status_of(answer) == wanted:
            return Filed(referral)
        return Declined("state")
    changes: list[dict[str, Any]] = [{"status": wanted}]
    if wanted == "rejected":
        changes = [{"status": wanted, "rejected_reason": news.reason}]
    if wanted == "done":
        changes = [{"status": "accepted"}] if status == "in_progress" else []
        changes.append({"status": "done", **_success(news)})
    for change in changes:
        answer = primero.ask("PATCH", path, change)
        if answer.status in (403, 422):
            # A remote referral has no status to be set: it stands beside the service.
            return _note(primero, case, there, news, Declined(f"status-{answer.status}"))
        if status_of(answer) != change["status"]:
            return Declined("state")
    return Filed(referral)


def _success(news: News) -> dict[str, Any]:
    if news.step is not Step.FAILED:
        return {"success_status": "successful", "service_implemented": "implemented"}
    reason = words.NOT_SUCCESSFUL.get(news.reason or "", "other")
    return {
        "success_status": "not_successful",
        "reason_not_successful": reason,
        "service_implemented": "not_implemented",
        "rejection_note": news.reason or "not-stated",
    }


def _note(
    primero: Primero, case: str, referral: Record, news: News, otherwise: Declined
) -> Outcome:
    """Beside the service that was referred, in codes; if there is no such row, nothing is written."""
    row = referral.get("service_record_id")
    if not row:
        return otherwise
    said = news.step.value + (f": {news.reason}" if news.reason else "")
    service = {"unique_id": row, "note_on_referral_from_provider": said}
    answer = primero.ask("PATCH", f"cases/{case}", {words.SERVICES: [service]})
    return Filed(str(referral["id"])) if answer.good else otherwise
