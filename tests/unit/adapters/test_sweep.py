"""A cursor over changes skips none, repeats none within a sweep, and comes to an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.systems.sweep import Key, Sweep, sweep_of
from schemas.errors import SchemaRefused

START = datetime(2026, 11, 22, 9, tzinfo=UTC)
LOOK_BACK = timedelta(seconds=3)
KEYS = st.sets(st.tuples(st.integers(0, 5), st.text("ab", min_size=1, max_size=2)), max_size=20)


def swept(keys: list[Key], cursor: str | None, most: int) -> tuple[list[Key], str | None]:
    """All pages until there is no more."""
    told: list[Key] = []
    while True:
        sweep = sweep_of(cursor)
        page, more = sweep.page(keys, lambda key: key, most=most)
        told += page
        cursor = sweep.then(page[-1] if page else None, more=more, look_back=LOOK_BACK).text()
        if not more:
            return told, cursor


@given(KEYS, KEYS, st.integers(1, 4))
def test_every_change_is_told_once_in_a_sweep_and_later_ones_in_the_next(
    first: set[tuple[int, str]], second: set[tuple[int, str]], most: int
) -> None:
    earlier = [(START + timedelta(seconds=at), id_) for at, id_ in first]
    told, cursor = swept(earlier, None, most)
    assert told == sorted(earlier)
    # Whatever appears with a moment within the look-back of the last is still told.
    last = max((at for at, _ in earlier), default=START)
    later = [(last - LOOK_BACK + timedelta(seconds=at), f"n{id_}") for at, id_ in second]
    told, _ = swept([*earlier, *later], cursor, most)
    assert set(later) <= set(told)
    assert len(told) == len(set(told))


def test_a_cursor_survives_being_written_down() -> None:
    for sweep in (Sweep(), Sweep(START), Sweep(START, (START, "r1/2")), Sweep(None, (START, "x"))):
        assert sweep_of(sweep.text()) == sweep


@pytest.mark.parametrize("cursor", ["", "[]", "{}", '{"begin": 1, "after": null}', "r1"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(SchemaRefused):
        sweep_of(cursor)
