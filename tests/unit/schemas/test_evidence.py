"""Which of several statements about one envelope stands, and who may make which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from schemas.evidence import (
    GATEWAY_FACTS,
    HUB_FACTS,
    NATURE,
    PRECEDENCE,
    Fact,
    Phase,
    Polarity,
    Stated,
    Witness,
    winner,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@st.composite
def statements(draw: st.DrawFn) -> list[Stated]:
    """Statements such as can be made: each fact by somebody who can know it."""
    made = []
    for number in range(draw(st.integers(0, 12))):
        fact = draw(st.sampled_from(list(Fact)))
        by = draw(st.sampled_from(sorted(NATURE[fact].witnesses)))
        at = NOW + timedelta(minutes=draw(st.integers(0, 3)))
        made.append(Stated(fact, by, at, UUID(int=number), draw(st.sampled_from(["a", "b"]))))
    return made


@given(statements(), st.randoms())
def test_the_order_of_arrival_does_not_change_the_winner(
    made: list[Stated], random: Random
) -> None:
    shuffled = [*made]
    random.shuffle(shuffled)

    assert winner(shuffled) == winner(made)


@given(statements(), statements())
def test_what_was_settled_before_meets_what_comes_later_as_if_all_had_come_at_once(
    early: list[Stated], late: list[Stated]
) -> None:
    before = winner(early)

    assert winner([*([before] if before else []), *late]) == winner([*early, *late])


@given(statements())
def test_the_recipients_word_outranks_silence_that_the_hub_took_for_absence(
    made: list[Stated],
) -> None:
    stands = winner(made)
    said = {one.fact for one in made}

    if said & {Fact.DELIVERED, Fact.FILED, Fact.READ, Fact.FAILED}:
        assert stands is not None
        assert stands.by is Witness.RECIPIENT
        assert NATURE[stands.fact].polarity is not Polarity.ABSENCE


def test_two_refusals_of_one_envelope_are_told_apart_by_who_knows_better() -> None:
    by_hub = Stated(Fact.REFUSED, Witness.HUB, NOW, UUID(int=1), "no-agreement")
    by_recipient = Stated(
        Fact.REFUSED, Witness.RECIPIENT, NOW + timedelta(hours=1), UUID(int=2), "consent-scope"
    )

    assert winner([by_hub, by_recipient]) == by_recipient


def test_every_fact_has_its_nature_and_each_step_both_outcomes() -> None:
    outcomes = {(nature.phase, nature.polarity) for nature in NATURE.values()}

    assert NATURE.keys() == set(Fact)
    assert set(Fact) == HUB_FACTS | GATEWAY_FACTS
    assert {Fact.REFUSED, Fact.ERASED} == HUB_FACTS & GATEWAY_FACTS
    for phase in (Phase.DELIVERY, Phase.RETRIEVAL):
        assert {(phase, Polarity.ACCEPTANCE), (phase, Polarity.ABSENCE)} <= outcomes


def test_what_is_no_state_never_stands() -> None:
    beside = [
        Stated(fact, Witness.HUB, NOW, UUID(int=place), None)
        for place, fact in enumerate(sorted(set(Fact) - set(PRECEDENCE)))
    ]

    assert winner(beside) is None
    assert {one.fact for one in beside} == {
        Fact.OVERDUE,
        Fact.TOMBSTONE,
        Fact.ERASED,
        Fact.UNRETRIEVED,
    }
