"""The header's rules, each by itself and all together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rules.header import (
    RULES,
    AgreementView,
    GrantView,
    Header,
    Question,
    judge,
    refusal,
)
from schemas.directory import Function, KeyStatus
from schemas.envelope import Kind, Lane
from schemas.errors import codes
from tests.support.parties import NOW, Party, make_party
from tests.support.questions import codes_given_by

IT, AL, XK = make_party("it.nrm"), make_party("al.nrm"), make_party("xk.nrm")
TODAY = NOW.date()
DAY = timedelta(days=1)
SCOPE, OTHER_SCOPE = "s" * 22, "t" * 22


def a_question(**changes: Any) -> Question:
    header = Header(
        sender="it.nrm",
        recipient="al.nrm",
        suite=1,
        version=1,
        lane=Lane.ROUTINE,
        kind=Kind.REQUEST,
        reply=False,
        issued_at=NOW,
        expires_at=NOW + 7 * DAY,
        agreement=UUID(int=1),
        grant=UUID(int=2),
        scopes=frozenset({SCOPE}),
        until=TODAY + 30 * DAY,
        to_keys=(AL.sealing_key().kid,),
        attachments=False,
    )
    question = Question(
        header=header,
        sender=IT.entry,
        recipient=AL.entry,
        signing_key=IT.signing_key(),
        agreement=AgreementView(
            parties=frozenset({"it.nrm", "al.nrm"}),
            valid_from=TODAY - DAY,
            valid_until=TODAY + DAY,
            lanes=frozenset({"routine", "urgent"}),
            suspended=False,
        ),
        grant=GrantView(
            giver="it.nrm",
            recipient="al.nrm",
            scopes=frozenset({SCOPE, OTHER_SCOPE}),
            removed=frozenset(),
            valid_from=TODAY - DAY,
            until=TODAY + 30 * DAY,
            withdrawn=False,
        ),
        now=NOW,
    )
    return replace(question, **changes)


def with_header(question: Question, **changes: Any) -> Question:
    return replace(question, header=replace(question.header, **changes))


def with_grant(question: Question, **changes: Any) -> Question:
    assert question.grant is not None
    return replace(question, grant=replace(question.grant, **changes))


def with_agreement(question: Question, **changes: Any) -> Question:
    assert question.agreement is not None
    return replace(question, agreement=replace(question.agreement, **changes))


def entry(party: Party, **changes: Any) -> Any:
    return party.entry.model_copy(update=changes)


def sealed_to(question: Question, status: KeyStatus) -> Question:
    kid = question.header.to_keys[0]
    return replace(question, recipient=AL.with_key(kid, status=status).entry)


Change = Callable[[Question], Question]

CASES: dict[str, tuple[str, Change]] = {
    "a sender nobody knows": ("forbidden", lambda q: replace(q, sender=None)),
    "a suspended sender": ("forbidden", lambda q: replace(q, sender=entry(IT, suspended=True))),
    "a key that is gone": ("key-revoked", lambda q: replace(q, signing_key=None)),
    "a revoked key": (
        "key-revoked",
        lambda q: replace(q, signing_key=IT.with_status(KeyStatus.COMPROMISED).signing_key()),
    ),
    "an unknown recipient": ("recipient-unknown", lambda q: replace(q, recipient=None)),
    "a suspended recipient": (
        "recipient-unknown",
        lambda q: replace(q, recipient=entry(AL, suspended=True)),
    ),
    "oneself": ("recipient-unknown", lambda q: replace(q, recipient=entry(AL, id="it.nrm"))),
    "a version they do not read": (
        "version",
        lambda q: replace(q, recipient=entry(AL, versions=(2,))),
    ),
    "a suite they do not read": ("suite", lambda q: replace(q, recipient=entry(AL, suites=(2,)))),
    "two suites in one": (
        "suite",
        lambda q: with_header(q, to_keys=(*q.header.to_keys, AL.sealing_key(2).kid)),
    ),
    "two parts to one key": ("suite", lambda q: with_header(q, to_keys=q.header.to_keys * 2)),
    "a sealing key nobody has": ("key-unknown", lambda q: with_header(q, to_keys=("k" * 43,))),
    "a stolen sealing key": ("key-revoked", lambda q: sealed_to(q, KeyStatus.COMPROMISED)),
    "a life that ends before it begins": (
        "schema",
        lambda q: with_header(
            q, issued_at=NOW + timedelta(minutes=2), expires_at=NOW + timedelta(minutes=1)
        ),
    ),
    "too long a life": ("schema", lambda q: with_header(q, expires_at=NOW + 91 * DAY)),
    "the future": (
        "from-the-future",
        lambda q: with_header(q, issued_at=NOW + timedelta(minutes=10, seconds=1)),
    ),
    "the past": ("expired", lambda q: with_header(q, issued_at=NOW - DAY, expires_at=NOW)),
    "no agreement": ("no-agreement", lambda q: with_header(q, agreement=None)),
    "an unregistered agreement": ("no-agreement", lambda q: replace(q, agreement=None)),
    "others' agreement": (
        "no-agreement",
        lambda q: with_agreement(q, parties=frozenset({"it.nrm", "xk.nrm"})),
    ),
    "an agreement of tomorrow": (
        "no-agreement",
        lambda q: with_agreement(q, valid_from=TODAY + DAY),
    ),
    "an agreement of yesterday": (
        "no-agreement",
        lambda q: with_agreement(q, valid_until=TODAY - DAY),
    ),
    "a suspended agreement": ("no-agreement", lambda q: with_agreement(q, suspended=True)),
    "another lane": ("no-agreement", lambda q: with_agreement(q, lanes=frozenset({"urgent"}))),
    "no consent": ("consent-missing", lambda q: replace(with_header(q, grant=None), grant=None)),
    "a file without consent in a reply": (
        "consent-missing",
        lambda q: replace(
            with_header(q, grant=None, kind=Kind.ANSWER, reply=True, attachments=True), grant=None
        ),
    ),
    "a right under a grant": ("schema", lambda q: with_header(q, kind=Kind.RIGHTS)),
    "a withdrawal of nothing": (
        "consent-missing",
        lambda q: replace(with_header(q, grant=None, kind=Kind.WITHDRAWAL), grant=None),
    ),
    "a grant for others": ("consent-recipient", lambda q: with_grant(q, recipient="xk.nrm")),
    "a question back that is no reply": (
        "consent-recipient",
        lambda q: with_grant(q, giver="al.nrm", recipient="it.nrm"),
    ),
    "a withdrawn grant": ("consent-withdrawn", lambda q: with_grant(q, withdrawn=True)),
    "a scope taken back": (
        "consent-withdrawn",
        lambda q: with_grant(q, removed=frozenset({SCOPE})),
    ),
    "a grant of next week": (
        "consent-expired",
        lambda q: with_grant(q, valid_from=TODAY + 7 * DAY),
    ),
    "a grant of last week": (
        "consent-expired",
        lambda q: with_header(with_grant(q, until=TODAY - 7 * DAY), until=TODAY - 7 * DAY),
    ),
    "a tag that stretches the grant": (
        "consent-expired",
        lambda q: with_header(q, until=TODAY + 31 * DAY),
    ),
    "a scope that was never given": (
        "consent-scope",
        lambda q: with_header(q, scopes=frozenset({"u" * 22})),
    ),
    "a file outside the tag": (
        "consent-scope",
        lambda q: with_header(q, attachments=True, attachment_scopes=frozenset({OTHER_SCOPE})),
    ),
    "a withdrawal by a third country": (
        "forbidden",
        lambda q: with_header(
            replace(q, sender=XK.entry, signing_key=XK.signing_key()),
            sender="xk.nrm",
            kind=Kind.WITHDRAWAL,
        ),
    ),
    "a withdrawal to somebody with nothing under the grant": (
        "consent-recipient",
        lambda q: with_grant(with_header(q, kind=Kind.WITHDRAWAL), recipient="xk.nrm"),
    ),
    "a withdrawal that widens": (
        "grant-widened",
        lambda q: with_header(q, kind=Kind.WITHDRAWAL, scopes=frozenset({"u" * 22})),
    ),
}


def test_what_is_in_order_may_travel() -> None:
    assert judge(a_question()) == ()


@pytest.mark.parametrize("what", CASES)
def test_each_fault_alone_is_refused_with_its_own_code(what: str) -> None:
    code, change = CASES[what]

    assert judge(change(a_question())) == (code,)


def test_no_rule_is_left_out_of_the_test_above() -> None:
    asked = {rule for rule in RULES for _, change in CASES.values() if rule(change(a_question()))}

    assert asked == set(RULES)


def test_every_code_that_a_rule_can_give_is_expected_above() -> None:
    asked = {
        (rule, code)
        for rule in RULES
        for code, change in CASES.values()
        if rule(change(a_question()))
    }
    assert asked == {(rule, code) for rule in RULES for code in codes_given_by(rule)}


def test_her_rights_pass_agreement_and_consent_in_an_empty_tag_alone() -> None:
    question = with_header(a_question(agreement=None), kind=Kind.RIGHTS)
    bare = with_header(replace(question, grant=None), grant=None, until=None, scopes=frozenset())

    assert judge(bare) == ()
    assert (
        judge(with_agreement(replace(bare, agreement=a_question().agreement), suspended=True)) == ()
    )
    assert judge(question) == ("schema",)
    assert judge(with_header(bare, attachments=True)) == ("schema",)


@pytest.mark.parametrize("kind", [Kind.WITHDRAWAL, Kind.SAFETY])
def test_withdrawal_and_safety_pass_consent_and_agreement(kind: Kind) -> None:
    question = with_header(a_question(agreement=None), kind=kind)
    ended = with_grant(question, withdrawn=True, until=TODAY - DAY)

    assert judge(ended) == ()


def test_a_safety_alert_needs_no_grant_at_all() -> None:
    question = with_header(a_question(grant=None), kind=Kind.SAFETY, grant=None)

    assert judge(question) == ()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_ten_minutes_of_skew_are_allowed(minutes: int) -> None:
    assert judge(with_header(a_question(), issued_at=NOW + timedelta(minutes=minutes))) == ()


def test_the_country_may_withdraw_by_its_coordinator_but_not_by_a_shelter() -> None:
    authority = make_party("al.coordinator")
    question = with_header(a_question(), sender=authority.entry.id, kind=Kind.WITHDRAWAL)
    asked = replace(question, signing_key=authority.signing_key())

    allowed = judge(replace(asked, sender=entry(authority, function=Function.COORDINATOR)))
    refused = judge(replace(asked, sender=entry(authority, function=Function.SHELTER)))

    assert (allowed, refused) == ((), ("forbidden",))


@given(
    st.lists(st.sampled_from(sorted(CASES)), max_size=4),
    st.sets(st.sampled_from(range(len(RULES)))),
)
def test_one_more_rule_never_allows_more(faults: list[str], chosen: set[int]) -> None:
    question = a_question()
    for what in faults:
        try:
            question = CASES[what][1](question)
        except AssertionError:
            return  # the fault before took away what this one changes
    some = tuple(rule for number, rule in enumerate(RULES) if number in chosen)

    assert set(judge(question, some)) <= set(judge(question))


def test_every_code_that_a_rule_gives_is_one_of_the_protocol() -> None:
    for code, _ in CASES.values():
        assert refusal((code,)).code == code
        assert code in codes()
