"""Many cases at once: whose consent counts, whose is asked for, and what is never recorded."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.base import CaseRecord, RejectedRow
from adapters.systems.files.workbook import write_workbook
from broker.cli.cases import bulk
from broker.cli.cases.bulk import (
    Answer,
    ConsentTerms,
    Held,
    Order,
    RefusedFile,
    Tally,
    about_how_many,
    box_says_yes,
    business_id,
    is_child,
    send_all,
    verdict,
)
from broker.cli.local import LocalApi
from schemas.errors import (
    BrokerError,
    ConsentExpired,
    ConsentScope,
    ConsentWithdrawn,
    PolicyRefused,
    StorageUnavailable,
    Unavailable,
)

TODAY = datetime.now(UTC).date()
SCOPE = ("protection", "case_admin")
TERMS = ConsentTerms((TODAY + timedelta(days=30)).isoformat(), "sqi", "n-1", "read-out")


def order(consent: ConsentTerms | None = TERMS) -> Order:
    return Order("it.nrm", "al.nrm", "referral.request", "protection", {}, consent=consent)


def case(ref: str = "A-1", *, box: bool | None = True, **sections: dict[str, Any]) -> CaseRecord:
    boxes = {} if box is None else {"con_Consent": box}
    return CaseRecord(ref, {"case_admin": {"status": "Active"}, **sections}, consent_boxes=boxes)


def grant(
    name: str = "g-1",
    *,
    state: str = "live",
    until: date = TODAY,
    removed: bool = False,
    ref: str = "A-1",
) -> dict[str, Any]:
    scopes = [{"purpose": SCOPE[0], "section": SCOPE[1], "removed": removed}]
    return {
        "grant": name,
        "state": state,
        "until": until.isoformat(),
        "case_ref": ref,
        "scopes": scopes,
    }


class Gateway(LocalApi):
    """Answers as a gateway would, and remembers what was asked of it."""

    def __init__(self, *, failures: int = 0, lose_consent_answer: bool = False) -> None:
        super().__init__("127.0.0.1", 1, "token")
        self.grants: list[dict[str, Any]] = []
        self.messages: list[Mapping[str, Any]] = []
        self.state = "queued"
        self.failures = failures
        self.lose_consent_answer = lose_consent_answer
        self._lock = threading.Lock()

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        return {"id": "m", "state": self.state, "code": None}

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = body or {}
        with self._lock:
            if path == "/v1/consents/search":
                refs = body["case_refs"]
                return {"consents": [g for g in self.grants if g["case_ref"] in refs]}
            if path == "/v1/consents":
                made = grant(f"new-{len(self.grants)}", ref=str(body["case_ref"]))
                self.grants.append(made)
                if self.lose_consent_answer:
                    self.lose_consent_answer = False
                    raise Unavailable
                return {"grant": made["grant"]}
            if self.failures:
                self.failures -= 1
                raise StorageUnavailable
            self.messages.append(body)
            return {"id": "m", "state": self.state}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PAUSES_SECONDS", (0.0, 0.0))


def run(
    api: Gateway, *rows: CaseRecord | RejectedRow, by: Order | None = None
) -> tuple[Tally, list[Answer]]:
    kept: list[Answer] = []
    return send_all(api, by or order(), rows, keep=kept.append, at=lambda _: None), kept


def test_a_live_grant_is_used_and_none_is_recorded() -> None:
    api = Gateway()
    api.grants.append(grant())
    tally, _ = run(api, case())
    assert (tally.sent, tally.consents_recorded) == (1, 0)
    assert api.messages[0]["grant"] == "g-1"


def test_a_consent_is_recorded_only_for_a_row_whose_box_says_yes() -> None:
    api = Gateway()
    tally, kept = run(api, case("A-1"), case("A-2", box=False), case("A-3", box=None))
    assert (tally.sent, tally.refused, tally.consents_recorded) == (1, 2, 1)
    assert [(one.case_ref, one.code) for one in kept] == [
        ("A-2", "consent-missing"),
        ("A-3", "consent-missing"),
    ]
    assert [message["case_ref"] for message in api.messages] == ["A-1"]


def test_without_the_order_to_record_consents_none_is_recorded() -> None:
    api = Gateway()
    run(api, case(), by=order(None))
    assert api.grants == []
    assert "grant" not in api.messages[0]  # so that the gateway's rules refuse it, on its record


def test_a_withdrawal_is_not_undone_by_a_file_that_still_says_yes() -> None:
    api = Gateway()
    api.grants.append(grant(state="withdrawn", removed=True))
    tally, _ = run(api, case())
    assert tally.by_code == {"consent-withdrawn": 1}
    assert (len(api.grants), api.messages) == (1, [])


def test_who_withdrew_and_then_consented_anew_is_sent_under_the_new_grant() -> None:
    held = Held([grant("old", state="withdrawn", removed=True), grant("new")], today=TODAY)
    assert held.covering({SCOPE}) == "new"


@pytest.mark.parametrize(
    ("consent", "error"),
    [
        (grant(state="narrowed", removed=True), ConsentWithdrawn),
        (grant(until=TODAY - timedelta(days=1)), ConsentExpired),
    ],
)
def test_what_was_narrowed_or_ran_out_is_asked_of_the_person_again(
    consent: dict[str, Any], error: type[BrokerError]
) -> None:
    with pytest.raises(error):
        Held([consent], today=TODAY).covering({SCOPE})


def test_a_grant_that_the_hub_refused_counts_for_nothing() -> None:
    assert Held([grant(state="refused")], today=TODAY).covering({SCOPE}) is None


def test_a_grant_for_less_is_not_enough() -> None:
    more = {SCOPE, ("protection", "identity_core")}
    assert Held([grant()], today=TODAY).covering(more) is None


@pytest.mark.parametrize(
    "sections",
    [
        {"guardian_child": {"presumed_child": True}},
        {"identity_core": {"birthdate": (TODAY - timedelta(days=10 * 365)).isoformat()}},
        {"identity_core": {"birthdate": f"{TODAY.year - 18}"}},
    ],
)
def test_no_consent_is_recorded_for_somebody_who_may_be_a_child(
    sections: dict[str, Any],
) -> None:
    api = Gateway()
    assert is_child(case(**sections), TODAY)
    tally, _ = run(api, case(**sections))
    assert tally.by_code == {"child": 1}
    assert (api.grants, api.messages) == ([], [])


def test_a_child_without_its_guardian_is_not_sent_even_under_a_grant() -> None:
    api = Gateway()
    api.grants.append(grant())
    young = {"birthdate": (TODAY - timedelta(days=3000)).isoformat()}
    _, kept = run(api, case(identity_core=young))
    assert (kept[0].code, kept[0].where) == ("child", ("sections.guardian_child",))


@pytest.mark.parametrize(
    ("boxes", "yes"),
    [
        ({}, False),
        ({"con_Consent": True}, True),
        ({"con_Consent": True, "con_UseOfData": False}, False),
        ({"con_Consent": True, "con_DataForResearch": False}, True),
        ({"con_DataForResearch": True}, False),
    ],
)
def test_every_box_about_the_use_of_the_data_must_say_yes(
    boxes: dict[str, bool], yes: bool
) -> None:
    assert box_says_yes(CaseRecord("A-1", {}, consent_boxes=boxes)) is yes


def test_a_lost_answer_does_not_record_a_consent_twice() -> None:
    api = Gateway(lose_consent_answer=True)
    tally, _ = run(api, case())
    assert (tally.sent, len(api.grants)) == (1, 1)
    assert api.messages[0]["grant"] == "new-0"


def test_the_same_request_has_the_same_name_in_every_run_and_no_other_has() -> None:
    names = {
        business_id(order(), "A-1"),
        business_id(order(None), "A-1"),
        business_id(order(), "A-2"),
    }
    assert len(names) == 2


def test_what_the_gateway_cannot_do_just_then_is_tried_again_and_then_ends_the_run() -> None:
    assert run(Gateway(failures=2), case())[0].sent == 1
    rows = [case(f"A-{number}") for number in range(bulk.PAGE * 2)]
    tally, kept = run(Gateway(failures=10_000), *rows)
    assert (tally.complete, tally.undecided, tally.done) == (False, bulk.PAGE, bulk.PAGE)
    assert {one.code for one in kept} == {"storage-unavailable"}
    assert isinstance(verdict(tally), Unavailable)


def test_an_earlier_request_that_never_arrived_is_not_called_sent() -> None:
    api = Gateway()
    api.state = "stopped"
    tally, kept = run(api, case())
    assert (tally.sent, tally.refused) == (0, 1)
    assert kept[0].where == ("message m: stopped",)


def test_rows_that_are_no_case_are_counted_and_the_rest_goes_on() -> None:
    tally, _ = run(Gateway(), RejectedRow(2, ("row: nul",)), case())
    assert (tally.rows_rejected, tally.sent) == (1, 1)
    assert verdict(tally) is None


def test_one_reason_for_all_decides_how_the_command_ends() -> None:
    class Strict(Gateway):
        def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
            if path == "/v1/messages":
                raise ConsentScope
            return super().post(path, body)

    tally, _ = run(Strict(), case("A-1"), case("A-2"))
    assert isinstance(verdict(tally), PolicyRefused)


def test_pages_follow_one_another_without_reading_ahead() -> None:
    read = 0

    def rows() -> Any:
        nonlocal read
        for number in range(bulk.PAGE * 3):
            read += 1
            yield case(f"A-{number}")

    seen: list[int] = []
    send_all(
        Gateway(),
        order(),
        rows(),
        keep=lambda _: None,
        at=lambda tally: seen.append(read - tally.done),
    )
    assert max(seen) < bulk.PAGE


def test_the_list_of_refused_cases_is_for_its_owner_alone_and_empty_ones_do_not_exist(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rejected" / "cases.refused.csv"
    with RefusedFile(path) as kept:
        kept.add(Answer("A-1", "child", ("grant.guardian",)))
    assert path.read_bytes() == b"case_ref,code,where\r\nA-1,child,grant.guardian\r\n"
    assert path.stat().st_mode & 0o777 == 0o600
    with RefusedFile(path):
        pass
    assert not path.exists()


def test_a_workbooks_rows_are_counted_without_reading_them(tmp_path: Path) -> None:
    with (tmp_path / "cases.xlsx").open("wb") as stream:
        write_workbook(
            (["x_case_ref", "prs_FirstName"], *([f"A-{n}", "X"] for n in range(70))), stream
        )
    (tmp_path / "cases.csv").write_text("x_case_ref,prs_FirstName\n" + "A,X\n" * 70)
    assert about_how_many(tmp_path / "cases.xlsx") == about_how_many(tmp_path / "cases.csv") == 70


def test_what_has_no_place_in_a_message_is_counted_and_not_passed_over() -> None:
    rows = [replace(case(f"A-{n}"), not_carried=("prs_Title",)) for n in range(2)]
    tally, _ = run(Gateway(), *rows, case("A-3"))
    assert tally.as_json()["not_carried"] == {"prs_Title": 2}
    assert tally.sent == 3
