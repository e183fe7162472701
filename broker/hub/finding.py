"""Whom to call in which country: the page for somebody who met a person by chance.

Made of the signed directory alone. No script, no form, nothing is asked and nothing is noted: who
reads it stays unknown, and no word about a person can get into it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from schemas.codes.labels import LANGUAGES, is_right_to_left, language_label, place_label
from schemas.directory import Function, Participant, TrustedDirectory
from schemas.errors import NotFound

_OWN_NAME = {"en": "English", "fr": "Français", "ar": "العربية"}
_STYLE = """
body{font:1.1rem/1.55 system-ui,"Noto Sans Arabic","DejaVu Sans",sans-serif;max-inline-size:44rem;
margin-inline:auto;padding:1.2rem;color:#111;background:#fff}
h1{font-size:1.7rem;margin-block:.4rem}h2{font-size:1.25rem;margin-block:1.6rem .4rem}
nav a{padding-inline-end:1rem}.danger{border:3px solid #a00;padding:.5rem .8rem;font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin-block:.3rem 1rem}
dt{color:#444}dd{margin:0}.telephone{font-size:1.35rem;font-weight:700}
footer{font-size:.9rem;color:#444;margin-block-start:2rem}
@media print{nav{display:none}body{padding:0}section{break-inside:avoid}}
"""


def offices(directory: TrustedDirectory, country: str | None = None) -> list[Participant]:
    """Who can be called, by country; the mechanism's own office of a country first."""
    found = [
        one
        for one in directory.participants.values()
        if one.entry_point is not None
        and not one.suspended
        and country in (None, one.country)
        and one.function is not Function.HUB
    ]
    return sorted(found, key=lambda one: (one.country, one.function is not Function.NRM, one.id))


def as_page(directory: TrustedDirectory, language: str, country: str | None = None) -> str:
    """One page that needs nothing else and prints well.

    Raises:
        NotFound: Not a language that we have.
    """
    words = _words(language)
    direction = "rtl" if is_right_to_left(language) else "ltr"
    same = "" if country is None else f"&amp;country={country}"
    links = " ".join(
        f'<a href="?lang={code}{same}" lang="{code}" hreflang="{code}">{_OWN_NAME[code]}</a>'
        for code in LANGUAGES
        if code != language
    )
    shown = offices(directory, country)
    body = "".join(_country(name, group, words, language) for name, group in _grouped(shown))
    day = directory.fetched_at.date().isoformat()
    version = words["version"].format(version=directory.version, day=day)
    return (
        f'<!doctype html>\n<html lang="{language}" dir="{direction}">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" '
        f'content="no-referrer"><title>{escape(words["title"])}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<nav>{links}</nav>\n"
        f"<h1>{escape(words['title'])}</h1>\n<p>{escape(words['lead'])}</p>\n"
        f'<p class="danger">{escape(words["danger"])}</p>\n<p>{escape(words["say_nothing"])}</p>\n'
        f"<main>\n{body or '<p>' + escape(words['none']) + '</p>'}</main>\n"
        f"<footer><p>{escape(words['other'])}</p><p>{escape(version)}</p></footer>\n"
        "</body>\n</html>\n"
    )


def as_rows(found: Iterable[Participant], language: str) -> list[dict[str, Any]]:
    """The same for a terminal and for a machine."""
    return [
        {
            "country": one.country,
            "name": one.name,
            "function": one.function.value,
            "telephone": one.entry_point.telephone,
            "hours": one.entry_point.hours,
            "languages": [language_label(code, language) for code in one.entry_point.languages],
        }
        for one in found
        if one.entry_point is not None
    ]


def _grouped(found: list[Participant]) -> list[tuple[str, list[Participant]]]:
    countries = dict.fromkeys(one.country for one in found)
    return [(name, [one for one in found if one.country == name]) for name in countries]


def _country(
    country: str, group: list[Participant], words: Mapping[str, Any], language: str
) -> str:
    parts = [f"<section><h2>{escape(place_label(country, language))}</h2>"]
    for row in as_rows(group, language):
        number = escape(row["telephone"])
        parts.append(
            f"<h3><bdi>{escape(row['name'])}</bdi></h3><dl>"
            f'<dt>{escape(words["calls"])}</dt><dd class="telephone">'
            f'<a href="tel:{number}"><bdi dir="ltr">{number}</bdi></a></dd>'
            f"<dt>{escape(words['hours'])}</dt><dd><bdi>{escape(row['hours'])}</bdi></dd>"
            f"<dt>{escape(words['languages'])}</dt>"
            f"<dd>{escape(', '.join(row['languages']))}</dd></dl>"
        )
    return "\n".join(parts) + "</section>\n"


@cache
def _words(language: str) -> Mapping[str, Any]:
    if language not in LANGUAGES:
        raise NotFound("the page is in " + ", ".join(LANGUAGES))
    place = files("broker.hub") / "words" / f"{language}.toml"
    return tomllib.loads(place.read_text(encoding="utf-8"))
