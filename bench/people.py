"""Invented cases in the shape of public anonymised trafficking data, as rows of a case file.

The variables and their bands are those of the Counter Trafficking Data Collaborative's global data
set: year of registration, gender, band of age, citizenship, means of control, form of exploitation,
kind of work, country of exploitation. Nobody here exists: the values are drawn, with a fixed seed,
in roughly the shares that its publications name. `row` reads a record of that shape, so that a
published file could take the place of `records`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

Record = Mapping[str, str]

COLUMNS = (
    *("x_case_ref", "x_invented", "cas_Status", "cas_IncomingReferralDate", "prs_FirstName"),
    *("prs_SecondName", "prs_Birthdate", "prs_Gender", "prs_Citizenship", "vic_TraffickingStatus"),
    *("vic_MethodsOfControl", "x_methods_of_control_defined", "vic_TypeOfExploitation"),
    *("vic_ForcedLabourIndustry", "vic_TypeOfSexExploitation", "vic_RelationshipToTrafficker"),
    *("hte_Type", "hte_Country", "con_Consent"),
)
_MEANS = {
    "DebtBondage": "DebtBondage",
    "TakesEarnings": "TakesEarnings",
    "RestrictsFinancialAccess": "RestrictsFinancialAccess",
    "PsychologicalAbuse": "PsychologicalAbuse",
    "PhysicalAbuse": "PhysicalAbuse",
    "SexualAbuse": "SexualAbuse",
    "FalsePromises": "FalsePromises",
    "PsychoactiveSubstances": "PsychoactiveSubstance",
    "RestrictsMedicalCare": "RestrictsMedicalCare",
    "ExcessiveWorkingHours": "ExcessiveWorkingHours",
    "ThreatOfLawEnforcement": "ThreatsLawEnforcement",
    "WithholdsNecessities": "WithholdsNecessities",
    "WithholdsDocuments": "WithholdsDocuments",
    "Other": "Other",
}
_MEANS_DEFINED = ("RestrictsMovement", "UsesChildren", "Threats")
"""Of the definitions; the picklist lacks them, and a neighbour would change the facts."""
_WORK = {
    "Agriculture": "A_AgricultureForestryAndFishing",
    "Aquafarming": "A_AgricultureForestryAndFishing",
    "Construction": "F_Construction",
    "DomesticWork": "T_ActivitiesOfHouseholdsAsEmployers",
    "Hospitality": "I_AccommodationAndFoodServiceActivities",
    "Manufacturing": "C_Manufacturing",
    "MiningOrDrilling": "B_MiningAndQuarrying",
    "Transportation": "H_TransportationAndStorage",
}
_AGES = {"0--8": 5, "9--17": 17, "18--20": 12, "21--23": 12, "24--26": 12, "27--29": 10}
_AGES |= {"30--38": 20, "39--47": 9, "48+": 3}
_CITIZENS = {"UA": 20, "MD": 17, "PH": 20, "KH": 6, "ID": 10, "BY": 5, "MM": 3, "NG": 4, "AL": 3}
_CITIZENS |= {"BD": 2, "KG": 4, "UZ": 2, "HT": 3, "VN": 1}
_WHERE = {
    "RU": 18,
    "UA": 10,
    "PL": 6,
    "ID": 8,
    "MY": 6,
    "US": 20,
    "TR": 4,
    "IT": 8,
    "AE": 4,
    "HT": 3,
}


def records(count: int, seed: int = 20211224) -> Iterator[Record]:
    """Invented records; the same for the same seed, whatever the machine."""
    draw = random.Random(seed)
    for number in range(count):
        is_sexual, is_labour = draw.random() < 0.5, draw.random() < 0.45
        record = {
            "number": f"{number:06}",
            "yearOfRegistration": str(draw.randint(2005, 2021)),
            "gender": draw.choices(("Female", "Male", "Transgender"), (71, 28, 1))[0],
            "ageBroad": draw.choices(tuple(_AGES), tuple(_AGES.values()))[0],
            "citizenship": draw.choices(tuple(_CITIZENS), tuple(_CITIZENS.values()))[0],
            "CountryOfExploitation": draw.choices(tuple(_WHERE), tuple(_WHERE.values()))[0],
            "isSexualExploit": str(int(is_sexual)),
            "isForcedLabour": str(int(is_labour)),
            "isForcedMarriage": str(int(draw.random() < 0.02)),
            "typeOfLabour": draw.choice((*_WORK, "Begging", "NotSpecified")) if is_labour else "",
            "recruiterRelation": draw.choice(("Family", "Friend", "IntimatePartner", "Unknown")),
        }
        for means in (*_MEANS, *_MEANS_DEFINED):
            record[f"meansOfControl{means}"] = str(int(draw.random() < 0.12))
        yield record


def row(record: Record) -> list[str]:
    """The row of one record under `COLUMNS`."""
    forms = [
        *(["SexualExploitation"] if record["isSexualExploit"] == "1" else []),
        *(["ForcedLabour"] if record["isForcedLabour"] == "1" else []),
        *(["ForcedMarriage"] if record["isForcedMarriage"] == "1" else []),
        *(["ForcedBegging"] if record["typeOfLabour"] == "Begging" else []),
    ]
    means = [ours for theirs, ours in _MEANS.items() if record[f"meansOfControl{theirs}"] == "1"]
    defined = [name for name in _MEANS_DEFINED if record[f"meansOfControl{name}"] == "1"]
    return [
        f"CT-{record['number']}",
        "yes",
        "Active",
        f"{record['yearOfRegistration']}-07-01",
        "Invented",
        "Nobody",
        _born(int(record["yearOfRegistration"]), record["ageBroad"]),
        {"Female": "Feminine", "Male": "Masculine"}.get(record["gender"], "TransgenderFeminine"),
        record["citizenship"],
        "ActualVictimOfTrafficking",
        ";".join(means),
        ";".join(defined),
        ";".join(forms),
        _WORK.get(record["typeOfLabour"], ""),
        "Prostitution" if record["isSexualExploit"] == "1" else "",
        {"Family": "Familial", "Unknown": ""}.get(record["recruiterRelation"], "Acquainted"),
        "Exploitation",
        record["CountryOfExploitation"],
        "yes",
    ]


def _born(year: int, band: str) -> str:
    """The middle of the band, as a year that is only about right (EDTF)."""
    low, _, high = band.rstrip("+").partition("--")
    return f"{year - (int(low) + int(high or low)) // 2}~"
