"""Decisions in FHIR: Task.status, in the words of Gravity and 360X, both ways.

What happened between two polls is read from each Task's history, where the server has one: a
referral that was accepted and done within the hour was accepted first.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.base import Ambiguous, Declined, Filed, News, Outcome, Polled, Step
from adapters.systems.fhir import words
from adapters.systems.fhir.places import found, only
from adapters.systems.fhir.resources import Resource, business_id_of
from adapters.systems.fhir.server import PAGE, FhirServer, Rejected, Stale, version_of
from adapters.systems.sweep import Key, moment_of, sweep_of
from schemas.bodies.common import DeclineReason
from schemas.errors import CaseSystemUnavailable
from schemas.mappings import FHIR_TASK, IHE_360X, NEEDS_STATUS_REASON

LOOK_BACK: Final = timedelta(minutes=1)
"""How much later than its own moment a change may become visible on a server."""


def poll(server: FhirServer, cursor: str | None) -> Polled:
    """One page of what people decided about filed referrals."""
    sweep = sweep_of(cursor)
    query = {"identifier": f"{words.REFERRAL}|", "_sort": "_lastUpdated"}
    if sweep.since is not None:
        query["_lastUpdated"] = f"ge{_instant(sweep.since)}"
    tasks: list[Resource] = []
    in_order = True
    for task in server.search("Task", query):
        # Ours by our own look, too: a server that ignores a search parameter answers with all.
        if business_id_of(task) is None or _was_told(task):
            continue
        in_order = in_order and (not tasks or _key(tasks[-1])[0] <= _key(task)[0])
        tasks.append(task)
        page, more = sweep.page(tasks, _key, most=PAGE)
        if more and in_order and _key(task)[0] > _key(page[-1])[0]:
            break  # sorted by the server: nothing earlier follows
    page, more = sweep.page(tasks, _key, most=PAGE)
    items = [
        item for task in page for item in _what_happened(server, task, sweep.begin or _EARLIEST)
    ]
    last = _key(page[-1]) if page else None
    then = sweep.then(last, more=more, look_back=LOOK_BACK)
    return Polled(tuple(items), then.text(), more)


_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(task: Mapping[str, Any]) -> Key:
    try:
        moment = moment_of(task["meta"]["lastUpdated"])
    except (KeyError, TypeError, ValueError):
        raise CaseSystemUnavailable("a resource without the moment of its change") from None
    # To the millisecond, as it is asked for: a cursor between two of one millisecond goes by id.
    rounded = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return rounded, f"{task['id']}/{version_of(task)}"


def _what_happened(server: FhirServer, task: Resource, since: datetime) -> list[News | Ambiguous]:
    versions = server.versions(task)
    if versions and version_of(versions[-1]) != version_of(task):
        versions = [each for each in versions if _key(each) <= _key(task)]
    items = []
    before: str | None = None
    for version in versions:
        status = str(version.get("status"))
        if status != before and _key(version)[0] >= since and status not in words.NOT_YET:
            item = _item(version, status)
            if item is not None:
                items.append(item)
        before = status
    return items


def _item(task: Resource, status: str) -> News | Ambiguous | None:
    business_id = business_id_of(task)
    if business_id is None:
        return None
    id_ = f"Task/{task['id']}/{version_of(task)}"
    step = words.STEP_OF.get(status)
    if step is None:
        known = FHIR_TASK.state(status) is not None or status == "ready"
        where = f"Task.status: {status}" if known else "Task.status: unknown-code"
        return Ambiguous(id_, task["id"], "unknown-code", (where,))
    reason = _reason(task)
    if step is Step.DECLINED and reason not in set(DeclineReason):
        code = "unknown-code" if "statusReason" in task else "reason-missing"
        return Ambiguous(id_, task["id"], code, (f"Task.statusReason: {code}",))
    return News(id_, business_id, step, _key(task)[0], reason)


def _reason(task: Resource) -> str | None:
    value = only(task, ("statusReason", "coding", {"system": words.DECLINE_REASON}, "code"))
    return value if isinstance(value, str) else None


def _was_told(task: Resource) -> bool:
    """True for a Task of ours that a partner answers: its news came from the gateway."""
    return bool(found(task, ("extension", {"url": words.TOLD})))


def tell(server: FhirServer, tasks: list[Resource], news: News) -> Outcome:
    """Write a partner's decision into the Task that was referred.

    Args:
        tasks: What the case number names. Only one will do: never the first of several.
    """
    if len(tasks) != 1:
        return Declined("several-referrals" if tasks else "not-found")
    task = copy.deepcopy(tasks[0])
    bound = business_id_of(task)
    if bound is not None and bound != news.business_id:
        return Declined("other-referral")  # it was referred anew; this answers the earlier one
    mark = hashlib.sha256(news.id.encode()).hexdigest()[:32]
    if mark in found(task, ("extension", {"url": words.TOLD}, "valueString")):
        return Filed(task["id"], already=True)
    task.setdefault("extension", []).append({"url": words.TOLD, "valueString": mark})
    if bound is None:
        identifier = {"system": words.REFERRAL, "value": str(news.business_id)}
        task.setdefault("identifier", []).append(identifier)
    # A late word about an earlier state is noted; it moves nothing back (Gravity).
    if task.get("status") not in words.FINAL:
        _decide(task, news)
    try:
        server.update(task)
    except Stale:
        raise CaseSystemUnavailable("somebody else is changing it") from None
    except Rejected as rejected:
        return Declined(rejected.code, rejected.where)
    return Filed(task["id"])


def _decide(task: Resource, news: News) -> None:
    state = words.STATE_OF.get(news.step)
    if state is None:
        return
    status = FHIR_TASK.word[state]
    task["status"] = status
    if state in IHE_360X.word:
        coding = {"system": words.BUSINESS_STATUS, "code": IHE_360X.word[state]}
        task["businessStatus"] = {"coding": [coding]}
    task.pop("statusReason", None)
    if status in NEEDS_STATUS_REASON:
        reason = news.reason or "not-stated"
        task["statusReason"] = {
            "coding": [{"system": words.DECLINE_REASON, "code": reason}],
            "text": reason.replace("_", " "),
        }
    if news.services:
        task["output"] = [
            *(each for each in task.get("output", ()) if not _is_service(each)),
            *(
                {
                    "type": {"text": "service"},
                    "valueCodeableConcept": {
                        "coding": [{"system": words.SERVICE, "code": service}],
                        "text": status,
                    },
                }
                for service in news.services
            ),
        ]


def _is_service(output: Any) -> bool:
    return only(output, ("type", "text")) == "service"
