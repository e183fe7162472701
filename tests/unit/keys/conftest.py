"""Two invented participants with real keys."""

from __future__ import annotations

import pytest

from schemas.directory import TrustedDirectory
from tests.support.parties import Party, directory_of, make_party


@pytest.fixture(scope="session")
def italy() -> Party:
    return make_party("it.nrm")


@pytest.fixture(scope="session")
def albania() -> Party:
    return make_party("al.nrm")


@pytest.fixture(scope="session")
def stranger() -> Party:
    return make_party("xx.other")


@pytest.fixture(scope="session")
def directory(italy: Party, albania: Party) -> TrustedDirectory:
    return directory_of(italy, albania)
