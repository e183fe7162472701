"""Whom nobody looks for is said: each system declares whether it can tell who may be the same person."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from adapters.base import CaseRecord, Declined, Filed, Memory, Skill, Tools
from adapters.conformance import full_case
from adapters.registry import open_adapter
from adapters.systems.desk import Desk
from adapters.systems.files import FilesSystem


@pytest.mark.parametrize(
    ("name", "settings", "offers"),
    [
        ("desk", {}, False),  # without the register of a gateway
        ("fhir", {"url": "http://127.0.0.1:9/fhir"}, True),
        ("fhir", {"url": "http://127.0.0.1:9/fhir", "identity": False}, False),
        ("webhook", {"url": "http://127.0.0.1:9/", "memory": "keys", "unsigned": True}, False),
    ],
)
def test_a_system_says_whether_it_knows_who_may_be_the_same(
    name: str, settings: dict[str, object], offers: bool
) -> None:
    system = open_adapter(name, settings)
    assert (Skill.CANDIDATES in system.skills) == offers
    if offers:
        assert system.memory is Memory.LOOKUP


def test_the_desk_with_a_register_offers_it() -> None:
    class Empty:
        def read(self, reference: str) -> CaseRecord | None:
            return None

        def alike(self, case: CaseRecord) -> dict[str, dict[str, dict[str, object]]]:
            return {}

    desk = open_adapter("desk", {}, Tools(register=Empty()))
    assert isinstance(desk, Desk)
    assert {Skill.READ, Skill.CANDIDATES} <= desk.skills
    assert desk.memory is Memory.LOOKUP
    assert desk.find(UUID(int=1)) is None


def test_the_same_person_twice_is_two_files_and_the_first_is_as_it_was(tmp_path: Path) -> None:
    system = FilesSystem(tmp_path)
    assert Skill.CANDIDATES not in system.skills
    first, second = UUID(int=1), UUID(int=2)
    case = full_case()
    filed = system.file(first, case)
    assert isinstance(filed, Filed)
    before = (tmp_path / "in" / filed.reference).read_bytes()

    assert isinstance(system.file(second, case), Filed)
    other = CaseRecord(case.case_ref, {"case_admin": {"status": "Closed"}})
    assert system.file(first, other) == Declined("id-conflict")

    assert (tmp_path / "in" / filed.reference).read_bytes() == before
    assert len(list((tmp_path / "in").iterdir())) == 2
