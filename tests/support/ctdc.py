"""Invented cases in the variables of the CTDC's public data, drawn with a seed.

What that data set says of a person who was trafficked, without her: gender, age band, citizenship,
means of control, exploitation, labour, where, by whom. The codes are HTCDS's own, each variable's
drawn from its list; names and numbers, which the data never have, are invented, among them leading
zeros and names in several scripts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from adapters.base import CaseRecord
from adapters.conformance.words import NAMES
from schemas.codes import HTCDS, code_list

CITIZENSHIPS = ("AL", "BD", "BY", "GH", "ID", "KH", "MD", "MM", "NG", "NP", "PH", "UA", "UG", "VN")
EXPLOITED_IN = ("AE", "DE", "FR", "ID", "IT", "MY", "RU", "SA", "TH", "US")
_SCRIPTS = tuple(script for script in NAMES if script != "Latn")


def drawn_cases(seed: int, count: int) -> Iterator[CaseRecord]:
    """So many cases, the same for the same seed, one at a time."""
    draw = random.Random(seed)
    lists = {
        name: sorted(code_list(HTCDS, name).codes)
        for name in (
            "prs_Gender",
            "vic_MethodsOfControl",
            "vic_TypeOfExploitation",
            "vic_ForcedLabourIndustry",
            "vic_RelationshipToTrafficker",
        )
    }
    for number in range(count):
        yield _case(draw, lists, number)


def _case(draw: random.Random, lists: dict[str, list[str]], number: int) -> CaseRecord:
    first, second = draw.choice(NAMES["Latn"])
    script = draw.choice(_SCRIPTS)
    own_first, own_second = draw.choice(NAMES[script])
    born = draw.randrange(1960, 2012)
    person: dict[str, Any] = {
        "first_name": first,
        "second_name": f"{second} {_word(number)}",
        "original_first_name": own_first,
        "original_second_name": own_second,
        "original_script": script,
        "birthdate": draw.choice((f"{born}", f"{born}-0{draw.randrange(1, 10)}-17", f"{born}-XX")),
        "gender": draw.choice(lists["prs_Gender"]),
    }
    experience: dict[str, Any] = {
        "age_when_trafficked": draw.randrange(0, 60),
        "types_of_exploitation": _some(draw, lists["vic_TypeOfExploitation"], 3),
    }
    if control := _some(draw, lists["vic_MethodsOfControl"], 6):
        experience["methods_of_control"] = control
    if draw.random() < 0.5:
        experience["forced_labour_industry"] = draw.choice(lists["vic_ForcedLabourIndustry"])
    sections: dict[str, dict[str, Any]] = {
        "case_admin": {"status": "Active"},
        "identity_core": person,
        "nationality_documents": {
            "citizenship": [draw.choice(CITIZENSHIPS)],
            "identity_number": f"{number:08d}",
        },
        "trafficking_experience": experience,
        "trafficking_route": {
            "events": [{"type": "Exploitation", "country": draw.choice(EXPLOITED_IN)}]
        },
    }
    return CaseRecord(f"CTDC-{number:06d}", sections, sender="xa.nrm", invented=True)


def _some(draw: random.Random, codes: list[str], most: int) -> list[str]:
    return sorted(draw.sample(codes, draw.randrange(1, most + 1)))


def _word(number: int) -> str:
    """A family name's second half, another for each number."""
    letters = []
    for _ in range(5):
        number, rest = divmod(number, 20)
        letters.append("bcdfghjklmnpqrstvwxz"[rest])
    return "A" + "a".join(letters)
