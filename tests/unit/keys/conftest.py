"""Two invented participants with real keys."""

from __future__ import annotations

import pytest

from keys.sealing import seal_envelope
from schemas.directory import TrustedDirectory
from tests.support.parties import NOW, Party, directory_of, make_draft, make_party


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


@pytest.fixture(scope="session")
def envelope(italy: Party, albania: Party) -> bytes:
    """From Italy to Albania, with nothing in it."""
    return seal_envelope(
        make_draft(), {}, recipient=albania.entry, signer=italy.signer(), now=NOW
    ).raw
