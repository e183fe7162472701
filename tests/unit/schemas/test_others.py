"""Her copy of her case leaves out what is others', and nothing that is hers."""

from __future__ import annotations

import re

from schemas.sections.others import OTHERS, own_data, written_by_somebody
from schemas.sections.registry import SECTIONS, part_model

SOUNDS_LIKE_SOMEBODY = re.compile(
    r"(^|_)(name|phone|email|worker|owner|clinician|relatives?|escort_name|person|by)$"
)
HERS = {
    # Her own names, ways to reach her, papers and documents; bodies and not people; days.
    "identity_core.first_name",
    "identity_core.middle_name",
    "identity_core.second_name",
    "identity_core.original_first_name",
    "identity_core.original_middle_name",
    "identity_core.original_second_name",
    "contact_location.email",
    "contact_location.home_phone",
    "contact_location.mobile_phone",
    "contact_location.shelter_name",
    "guardian_child.guardian_name",
    "case_admin.reply_by",
    "identification_status.decided_by",
    "identification_status.identifications.body_name",
    "health_general.medications.name",
    "mental_health_psychosocial.medications.name",
}


def _paths() -> set[str]:
    found = set()
    for section in SECTIONS.values():
        for name, field in section.model.model_fields.items():
            found.add(f"{section.id}.{name}")
            part = part_model(field.annotation)
            if part is not None:
                found |= {f"{section.id}.{name}.{inner}" for inner in part.model_fields}
    return found


def test_every_declared_field_exists() -> None:
    declared = {f"{section}.{path}" for section, paths in OTHERS.items() for path in paths}
    assert declared <= _paths()


def test_every_field_that_sounds_like_somebody_is_declared_hers_or_anothers() -> None:
    declared = {f"{section}.{path}" for section, paths in OTHERS.items() for path in paths}
    whole = {path.rpartition(".")[0] for path in _paths()}
    undecided = {
        path
        for path in _paths() - HERS - declared - whole
        if SOUNDS_LIKE_SOMEBODY.search(path)
        and path.rpartition(".")[0] not in declared
        and path.rpartition(".")[2] not in written_by_somebody(path.partition(".")[0])
    }
    assert undecided == set()


def test_a_relatives_and_a_suspects_data_stay_and_hers_goes() -> None:
    content = {
        "number_of_children": 2,
        "relatives": [
            {"name": "Invented", "relation": "mother", "phone": "+39000", "attitude": "hostile"},
            {"relation": "father"},
        ],
    }
    left, out = own_data("family_dependants", content)
    assert left == {
        "number_of_children": 2,
        "relatives": [{"relation": "mother"}, {"relation": "father"}],
    }
    assert out == (
        "family_dependants.relatives.attitude",
        "family_dependants.relatives.name",
        "family_dependants.relatives.phone",
    )
    left, out = own_data("perpetrator", {"persons": [{"name": "Invented"}]})
    assert (left, out) == ({}, ("perpetrator.persons",))


def test_what_people_wrote_is_given_once_a_worker_has_read_it() -> None:
    content = {"case_comment": "Invented words."}
    assert own_data("case_narrative", content) == ({}, ("case_narrative.case_comment",))
    assert own_data("case_narrative", content, texts_read=True) == (content, ())
