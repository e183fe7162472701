"""A leaf is the canonical form of its model, whatever it is about."""

from __future__ import annotations

from datetime import UTC, datetime

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.log.leaves import new_leaf, opens
from schemas.audit import Event, Leaf

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 (made aware below)


@given(
    st.sampled_from(Event),
    MOMENTS.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)),
    st.binary(min_size=32, max_size=32),
)
def test_a_leaf_is_the_canonical_form_of_what_it_reads_as(
    event: Event, now: datetime, subject: bytes
) -> None:
    body, opening = new_leaf(event, now, subject)

    leaf = Leaf.from_json(body)

    assert rfc8785.dumps(leaf.to_dict()) == body
    assert (leaf.event, leaf.time) == (event, now)
    assert opens(leaf, opening)
    assert opening.subject == subject
