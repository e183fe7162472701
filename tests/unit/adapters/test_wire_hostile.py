"""Whatever another process writes on the adapter's line: read, or refused by the one error."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import wire

NAMES = st.sampled_from(
    ["sections", "reference", "outcome", "line", "score", "match", "cursor", "items", "at", "code"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)
READERS: dict[str, Callable[[Any], object]] = {
    "case": wire.case_from_json,
    "item": wire.item_from_json,
    "candidates": wire.candidates_from_json,
    "outcome": wire.outcome_from_json,
    "outcomes": lambda value: wire.outcomes_from_json(value, 2),
    "found": wire.found_from_json,
    "found case": wire.found_case_from_json,
    "description": wire.description_from_json,
    "erasing": wire.erasing_from_json,
    "news": wire.news_from_json,
    "page": wire.page_from_json,
    "code": wire.code,
    "paths": wire.paths,
    "reference": wire.reference,
}


@pytest.mark.parametrize("name", READERS)
@given(value=JSON)
def test_nothing_but_unreadable_leaves_a_reader(name: str, value: object) -> None:
    with contextlib.suppress(wire.Unreadable):
        READERS[name](value)
