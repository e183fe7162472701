"""Into the case system once, by whichever way the system remembers. Called in a worker thread.

| memory | before filing | a call without an answer |
|---|---|---|
| `LOOKUP` | `find` is asked | tried again: `find` will tell |
| `KEYS` | nothing: the system knows the business id | tried again: the system files once |
| `NONE` | that it was begun is on disk | held for a person, also after a crash |
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from adapters.base import Filed, Memory, NationalSystem
from broker.gateway.cases.identity import NOTHING, Known, can_ask, identify_and_file
from broker.gateway.core import ToFile
from schemas.errors import BrokerError, OutcomeUnknown

BEGUN = "begun"
"""`inbox.code` of a filing that was begun in a system without memory, and has no answer yet."""


def file_in(
    system: NationalSystem,
    items: Sequence[ToFile],
    *,
    begun: Collection[UUID],
    known: Mapping[UUID, Known],
) -> list[object]:
    """An outcome or an error for each, or the question who it is, in order.

    Args:
        begun: Messages whose filing was begun before and has no answer: we died, or it hung.
        known: What workers said of them, and what the sender did.
    """
    if can_ask(system):
        # One after another: who was filed a moment ago may be the same person as the next.
        return [identify_and_file(system, item, known.get(item.id, NOTHING)) for item in items]
    said = {item.id: _said(known.get(item.id, NOTHING)) for item in items}
    left = [item for item in items if said[item.id] is None]
    filed = dict(zip([item.id for item in left], _file_in(system, left, begun), strict=True))
    return [filed[item.id] if said[item.id] is None else said[item.id] for item in items]


def _said(known: Known) -> Filed | None:
    """What a worker found in the case system herself."""
    return None if known.filed_as is None else Filed(known.filed_as, already=True)


def _file_in(
    system: NationalSystem, items: Sequence[ToFile], begun: Collection[UUID]
) -> list[object]:
    match system.memory:
        case Memory.LOOKUP:
            return _find_then_file(system, items)
        case Memory.KEYS:
            return _file_batch(system, items)
        case Memory.NONE:
            return [
                OutcomeUnknown("begun before, and never answered")
                if item.id in begun
                else _file_one(system, item)
                for item in items
            ]


def _find_then_file(system: NationalSystem, items: Sequence[ToFile]) -> list[object]:
    answers: list[object] = [None] * len(items)
    missing: list[int] = []
    for index, item in enumerate(items):
        try:
            answers[index] = system.find(item.business_id)
            if answers[index] is None:
                missing.append(index)
        except BrokerError as error:
            answers[index] = error
    if missing:
        outcomes = _file_batch(system, [items[index] for index in missing])
        for index, outcome in zip(missing, outcomes, strict=True):
            answers[index] = outcome
    return answers


def _file_batch(system: NationalSystem, items: Sequence[ToFile]) -> list[object]:
    try:
        return [*system.file_many([(item.business_id, item.case) for item in items])]
    except BrokerError:
        # One by one, so that what one case provokes costs no other.
        return [_find_and_file_one(system, item) for item in items]


def _find_and_file_one(system: NationalSystem, item: ToFile) -> object:
    try:
        found = system.find(item.business_id) if system.memory is Memory.LOOKUP else None
        return found or system.file(item.business_id, item.case)
    except BrokerError as error:
        return error


def _file_one(system: NationalSystem, item: ToFile) -> object:
    try:
        return system.file(item.business_id, item.case)
    except BrokerError as error:
        return error
    except Exception:
        # A bug of the adapter: it may have acted before.
        return OutcomeUnknown("the adapter failed")
