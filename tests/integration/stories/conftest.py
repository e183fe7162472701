"""One small mechanism for all stories of a module; each story is about a person of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from schemas.agreement import TransferBasis
from tests.support.stories import (
    ALBANIA,
    ALBANIAN_POLICE,
    ALBANIAN_SHELTER,
    GREECE,
    ITALIAN_SHELTER,
    ITALY,
    MISSION,
    Office,
    Told,
    mechanism,
)

_NUMBERS = count(1)


def _bases(**named: str) -> dict[str, object]:
    """On which basis each of two sends to the other, where the usual ones do not fit."""
    return {
        "transfer": tuple(
            TransferBasis(sender=sender.replace("_", "."), basis=basis)
            for sender, basis in named.items()
        )
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def offices(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Office]]:
    members = (ITALY, ITALIAN_SHELTER, ALBANIA, ALBANIAN_SHELTER, ALBANIAN_POLICE, GREECE, MISSION)
    path = tmp_path_factory.mktemp("mechanism")
    pairs: dict[tuple[str, str], dict[str, object]] = {
        ("it.nrm", "it.shelter"): {},
        ("it.nrm", "al.nrm"): {},
        ("it.nrm", "al.shelter"): _bases(it_nrm="eu-gdpr:A46-3-a", al_shelter="national-law"),
        ("it.nrm", "al.police"): {"sections": ("case_admin", "risk_security")},
        ("it.nrm", "xk.mission"): {},
        ("it.nrm", "gr.nrm"): _bases(it_nrm="none-needed", gr_nrm="none-needed"),
        ("al.nrm", "al.shelter"): {},
        ("al.nrm", "al.police"): {},
    }
    async with mechanism(path, *members, agreements=pairs) as made:
        yield made


@pytest.fixture
def told(offices: dict[str, Office]) -> Told:
    number = next(_NUMBERS)

    def of(name: str) -> Office:
        office = offices[name]
        return Office(office.made, name, f"{name[:2].upper()}-{number:04}", office.desks)

    return Told(
        of("it.nrm"),
        of("it.shelter"),
        of("al.nrm"),
        of("al.shelter"),
        of("al.police"),
        of("gr.nrm"),
        of("xk.mission"),
    )
