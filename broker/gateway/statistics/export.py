"""Records for research, in the variables of the Counter Trafficking Data Collaborative (CTDC). Pure.

The promise: every line stands there at least k times, word for word, so that no line is anybody's.
Not only birth and origin are taken for what one can be found by: whoever exploited a person knows how
he controlled her. So all variables count. Lines that are too rare lose them step by step, the most
telling first (`STEPS`), and what is still too rare at the last step is left out.

Variables and k: CTDC, k-anonymised global data set of 2021. That all of k persons share an answer is
still told (k-anonymity promises no more), so the file is for a research body under an agreement, and
not to be published beside the tables of the same period.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from broker.gateway.statistics.people import Record
from broker.gateway.statistics.suppression import SMALLEST
from schemas.codes import CTDC, code_list
from schemas.sections.record import StatisticsResearch

NOT_SAID = ""
_BROAD = {
    "0--8": "0--17",
    "9--17": "0--17",
    **dict.fromkeys(("18--20", "21--23", "24--26", "27--29"), "18--29"),
    **dict.fromkeys(("30--38", "39--47", "48+"), "30+"),
}
"""The bands that rare lines fall back on."""


def _flags(prefix: str, name: str) -> tuple[str, ...]:
    return tuple(prefix + code for code in code_list(CTDC, name).codes)


MEANS = _flags("meansOfControl", "meansOfControl")
FORMS = _flags("", "exploitation")
LABOUR = _flags("typeOfLabour", "typeOfLabour")
SEX = _flags("typeOfSex", "typeOfSex")
RECRUITER = _flags("recruiterRelation", "recruiterRelation")
COLUMNS = (
    "yearOfRegistration",
    "Datasource",
    "gender",
    "ageBroad",
    "majorityStatus",
    "majorityStatusAtExploit",
    "citizenship",
    *MEANS,
    *FORMS,
    *LABOUR,
    *SEX,
    "isAbduction",
    *RECRUITER,
    "CountryOfExploitation",
)

Line = Mapping[str, str]


def line(content: StatisticsResearch, source: str) -> dict[str, str]:
    """One record in CTDC's variables."""
    said = {
        "yearOfRegistration": content.year_of_registration,
        "Datasource": source,
        "gender": content.gender,
        "ageBroad": content.age_band,
        "majorityStatus": content.majority_status,
        "majorityStatusAtExploit": content.majority_status_at_exploitation,
        "citizenship": content.citizenship,
        "CountryOfExploitation": content.country_of_exploitation,
        "isAbduction": {"yes": 1, "no": 0}.get(content.abducted or ""),
    }
    found = {name: NOT_SAID if value is None else str(value) for name, value in said.items()}
    for prefix, names, codes in (
        ("meansOfControl", MEANS, content.means_of_control),
        ("", FORMS, content.forms_of_exploitation),
        ("typeOfLabour", LABOUR, content.types_of_labour),
        ("typeOfSex", SEX, content.types_of_sex),
        ("recruiterRelation", RECRUITER, content.recruiter_relations),
    ):
        chosen = {prefix + code for code in codes}
        # Nothing ticked is nothing known: a nought would say that it was asked and denied.
        found |= {name: str(int(name in chosen)) if chosen else NOT_SAID for name in names}
    return found


def _without(*names: str) -> Callable[[Line], dict[str, str]]:
    return lambda one: {**one, **dict.fromkeys(names, NOT_SAID)}


def _broader_age(one: Line) -> dict[str, str]:
    return {**one, "ageBroad": _BROAD.get(one["ageBroad"], NOT_SAID)}


STEPS: tuple[Callable[[Line], dict[str, str]], ...] = (
    _without(*RECRUITER, "isAbduction"),
    _without(*MEANS),
    _without(*LABOUR, *SEX),
    _broader_age,
    _without("majorityStatusAtExploit", "yearOfRegistration"),
    _without("citizenship"),
    _without(*FORMS),
    _without("ageBroad", "gender"),
    _without("CountryOfExploitation"),
)


def anonymous(lines: Sequence[Line], *, k: int = SMALLEST) -> list[dict[str, str]]:
    """The lines that may be seen, in an order that says nothing."""
    seen: list[dict[str, str]] = []
    rare = [dict(one) for one in lines]
    for step in (dict, *STEPS):
        rare = [step(one) for one in rare]
        # A rare line may fall back on one that is there already: it is then one more of many.
        times = Counter(tuple(one.values()) for one in (*rare, *seen))
        seen += [one for one in rare if times[tuple(one.values())] >= k]
        rare = [one for one in rare if times[tuple(one.values())] < k]
    return sorted(seen, key=lambda one: tuple(one.values()))


def as_csv(records: Sequence[Record], source: str, *, k: int = SMALLEST) -> tuple[str, int]:
    """The file, and how many records were left out of it."""
    lines = [
        {name: one[name] for name in COLUMNS} for one in (line(r.content, source) for r in records)
    ]
    seen = anonymous(lines, k=k)
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")  # RFC 4180
    writer.writeheader()
    writer.writerows(seen)
    return out.getvalue(), len(lines) - len(seen)
