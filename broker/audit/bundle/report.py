"""A bundle's report as one HTML page that needs nothing else: no script, no font, no network.

One page in each of our languages, from the same figures; the words are in `words/<language>.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from broker.audit.bundle.figures import Figures, Row
from schemas.codes.labels import LANGUAGES, is_right_to_left

Cells = Sequence[str]
Words = Mapping[str, Any]


@dataclass(frozen=True)
class About:
    """What the report is about."""

    hub: str
    first: date
    last: date
    corridor: tuple[str, str] | None
    made_at: datetime
    origin: str
    size: int
    """Which head of which log everything is proven by."""
    witnesses: tuple[str, ...]
    enough_witnesses: bool


@dataclass(frozen=True)
class Table:
    """A heading, a sentence that says how to read it, columns and rows."""

    title: str
    note: str
    columns: Cells
    rows: tuple[Cells, ...]
    numbers: tuple[bool, ...]
    """Which columns hold numbers; their headings stand above the digits."""


MEASURES: Final = (
    "sent",
    "delivered",
    "filed",
    "opened",
    "overdue",
    "undelivered",
    "stopped",
    "refused",
    "failed",
    "waiting",
)
CHECK: Final = "referral log verify FOLDER --root root.json"


def file_name(language: str, suffix: str = "html") -> str:
    """What the report of a language is called in a bundle."""
    return f"report.{suffix}" if language == LANGUAGES[0] else f"report.{language}.{suffix}"


@cache
def words_of(language: str) -> Words:
    """What the report says in a language."""
    place = files(__package__) / "words" / f"{language}.toml"
    return MappingProxyType(tomllib.loads(place.read_text(encoding="utf-8")))


def tables(figures: Figures, words: Words) -> list[Table]:
    """The report's content, for both forms of it."""
    ordered = sorted(figures.routes.items())
    said_of = words["tables"]
    return [
        Table(
            said_of["routes"],
            said_of["routes_note"],
            (words["from"], words["to"], *(words["measures"][name] for name in MEASURES)),
            tuple((*route, *_measures(row)) for route, row in ordered),
            (False, False, *(True for _ in MEASURES)),
        ),
        Table(
            said_of["delivery"],
            said_of["delivery_note"],
            (
                *(words["from"], words["to"], words["measures"]["delivered"]),
                *(words["typical"], words["longest"]),
            ),
            tuple(
                (
                    *route,
                    str(len(row.to_delivery.times)),
                    said(row.to_delivery.typical, words),
                    said(row.to_delivery.longest, words),
                )
                for route, row in ordered
            ),
            (False, False, True, True, True),
        ),
        Table(
            said_of["codes"],
            said_of["codes_note"],
            (words["fact"], words["code"], words["messages"]),
            tuple(
                (words["facts"].get(fact, fact), code, str(number))
                for (fact, code), number in figures.codes.most_common()
            ),
            (False, False, True),
        ),
        Table(
            said_of["withdrawals"],
            said_of["withdrawals_note"],
            (
                *(words["recipient"], words["measures"]["sent"], words["measures"]["delivered"]),
                *(words["typical"], words["longest"], words["erased"]),
            ),
            tuple(
                (
                    name,
                    str(row.sent),
                    str(row.delivered),
                    said(row.to_delivery.typical, words),
                    said(row.to_delivery.longest, words),
                    str(row.erasures_attested),
                )
                for name, row in sorted(figures.withdrawals.items())
            ),
            (False, True, True, True, True, True),
        ),
    ]


def headline(figures: Figures, words: Words) -> list[tuple[str, str]]:
    """The few numbers that come first, each below its name."""
    total = figures.total
    found = {
        "sent": str(total.sent),
        "delivered": str(total.delivered),
        "opened": str(total.opened),
        "overdue": str(total.overdue),
        "refused": str(total.refused),
        "without_grant": str(total.without_grant),
        "withdrawals": str(sum(row.sent for row in figures.withdrawals.values())),
        "typical": said(total.to_delivery.typical, words),
    }
    return [(words["tiles"][name], number) for name, number in found.items()]


def said(duration: timedelta | None, words: Words) -> str:
    """A duration for people: the two largest units."""
    if duration is None:
        return "-"
    seconds = round(duration.total_seconds())
    if seconds < 1:
        return str(words["moment"])
    if seconds < 60:
        return f"{seconds} {words['s']}"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} {words['min']} {seconds} {words['s']}"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} {words['h']} {minutes} {words['min']}"
    return f"{hours // 24} {words['d']} {hours % 24} {words['h']}"


def _as_it_is(text: str) -> str:
    """A name, a number or a date: from left to right also where the sentence around it is not."""
    return f"\u2066{text}\u2069"


def facts_about(about: About, words: Words) -> list[tuple[str, str]]:
    """What stands under the title."""
    corridor = words["everywhere"]
    if about.corridor is not None:
        one, other = (_as_it_is(country.upper()) for country in about.corridor)
        corridor = words["between"].format(one=one, other=other)
    witnesses = ", ".join(map(_as_it_is, about.witnesses)) or words["no_witnesses"]
    if about.witnesses and not about.enough_witnesses:
        witnesses = f"{witnesses} ({words['too_few']})"
    return [
        (words["hub"], _as_it_is(about.hub)),
        (words["period"], period(about, words)),
        (words["corridor"], corridor),
        (words["made"], _as_it_is(f"{about.made_at:%Y-%m-%d %H:%M} UTC")),
        (words["proven_by"], words["head"].format(origin=_as_it_is(about.origin), size=about.size)),
        (words["witnesses"], witnesses),
    ]


def period(about: About, words: Words) -> str:
    """From which day to which."""
    first, last = (_as_it_is(day.isoformat()) for day in (about.first, about.last))
    return str(words["days"].format(first=first, last=last))


def html(about: About, figures: Figures, language: str) -> str:
    """The page in one language, with links to the others beside it."""
    words = words_of(language)
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
        for name, text in facts_about(about, words)
    )
    tiles = "".join(
        f"<li><b><bdi>{escape(number)}</bdi></b>{escape(name)}</li>"
        for name, number in headline(figures, words)
    )
    body = "".join(_table(table, words) for table in tables(figures, words))
    limits = "".join(f"<li>{escape(line)}</li>" for line in words["limits"])
    pieces = escape(words["pieces"].format(count=figures.evidence))
    direction = "rtl" if is_right_to_left(language) else "ltr"
    return (
        f'<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>{escape(words['title'])}, {escape(period(about, words))}</title>"
        f"<style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(words['title'])}</h1><dl>{facts}</dl>{_others(language, words)}"
        f'</header><main><ul class="tiles">{tiles}</ul>{_chart(figures.total, words, direction)}'
        f"{body}<section><h2>{escape(words['check_title'])}</h2><p>{escape(words['check'])}</p>"
        f'<pre dir="ltr">{CHECK}</pre><p>{pieces}</p></section>'
        f"<section><h2>{escape(words['limits_title'])}</h2><ul>{limits}</ul></section>"
        "</main></body></html>\n"
    )


def _others(language: str, words: Words) -> str:
    links = " ".join(
        f'<a href="{file_name(other)}" lang="{other}" hreflang="{other}">'
        f"{escape(words_of(other)['language'])}</a>"
        for other in LANGUAGES
        if other != language
    )
    return f"<nav>{escape(words['also'])} {links}</nav>"


def _measures(row: Row) -> list[str]:
    return [str(getattr(row, name)) for name in MEASURES]


def _table(table: Table, words: Words) -> str:
    if not table.rows:
        inner = f"<p class=none>{escape(words['none'])}</p>"
    else:
        kinds = [" class=n" if number else "" for number in table.numbers]
        head = "".join(
            f'<th scope="col"{kind}>{escape(name)}</th>'
            for kind, name in zip(kinds, table.columns, strict=True)
        )
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td{kind}><bdi>{escape(text)}</bdi></td>"
                for kind, text in zip(kinds, cells, strict=True)
            )
            + "</tr>"
            for cells in table.rows
        )
        # What may scroll can be reached by the keyboard, and says what it is.
        inner = (
            f'<div class="wide" role="region" tabindex="0" aria-label="{escape(table.title)}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return f"<section><h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>{inner}</section>"


CHART_WIDTH: Final = 400
"""Narrow, so that it can be read on a telephone."""


def _chart(total: Row, words: Words, direction: str) -> str:
    values = [(words["measures"][name], int(getattr(total, name))) for name in MEASURES]
    largest = max((value for _, value in values), default=0) or 1
    mirrored = direction == "rtl"
    # Coordinates run from left to right whatever the page does; from the right, they are mirrored.
    label_end, value_start = ("start", "end") if mirrored else ("end", "start")

    def across(place: float, wide: float = 0) -> str:
        return f"{CHART_WIDTH - place - wide if mirrored else place:.1f}"

    bars = []
    for number, (title, value) in enumerate(values):
        top, wide = number * 26, 220 * value / largest
        bars.append(
            f'<text x="{across(108)}" y="{top + 17}" text-anchor="{label_end}">{escape(title)}</text>'
            f'<rect x="{across(116, wide)}" y="{top + 3}" width="{wide:.1f}" height="18" rx="3"/>'
            f'<text x="{across(124 + wide)}" y="{top + 17}" text-anchor="{value_start}">{value}</text>'
        )
    spoken = ", ".join(f"{title} {value}" for title, value in values)
    return (
        f'<section><h2>{escape(words["how_far"])}</h2><svg direction="ltr" '
        f'viewBox="0 0 {CHART_WIDTH} {len(values) * 26}" role="img" '
        f'aria-label="{escape(spoken)}">{"".join(bars)}</svg></section>'
    )


STYLE = """
:root{color-scheme:light;--ink:#1b2a33;--soft:#5a6b75;--line:#d5dde2;--tone:#1f5f7a;--back:#f4f7f8}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,"Noto Sans Arabic","DejaVu Sans",sans-serif;color:var(--ink)}
header{background:var(--tone);color:#fff;padding:2rem max(1rem,calc(50vw - 30rem))}
h1{margin:0 0 1rem;font-size:1.9rem}h2{font-size:1.2rem;margin:0 0 .2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt{opacity:.8}dd{margin:0;overflow-wrap:anywhere}
nav{margin-top:1rem}nav a{color:inherit;padding-inline-end:.8rem}
main{padding:1.5rem max(1rem,calc(50vw - 30rem))}section{margin:0 0 2rem}
section>p{margin:.1rem 0 .7rem;color:var(--soft)}.none{font-style:italic}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(max(7.4rem,22%),1fr));gap:.7rem;padding:0;
list-style:none;margin:0 0 2rem}
.tiles li{background:var(--back);border:1px solid var(--line);border-radius:.5rem;padding:.7rem;
color:var(--soft);font-size:.9rem}
.tiles b{display:block;font-size:1.5rem;color:var(--ink);font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th{text-align:start;border-bottom:2px solid var(--tone);padding:.35rem .5rem;vertical-align:bottom}
td{border-bottom:1px solid var(--line);padding:.35rem .5rem}
td.n,th.n{text-align:end;font-variant-numeric:tabular-nums}td{white-space:nowrap}
svg{width:100%;max-width:28rem;font:13px system-ui,"Noto Sans Arabic","DejaVu Sans",sans-serif;fill:var(--ink)}
svg rect{fill:var(--tone)}
pre{background:var(--back);border:1px solid var(--line);padding:.7rem;overflow-x:auto}
@media print{nav{display:none}header{background:none;color:inherit;padding:0 0 1rem}nav{margin-top:1rem}nav a{color:inherit;padding-inline-end:.8rem}
main{padding:0}
section{break-inside:avoid}}
"""
