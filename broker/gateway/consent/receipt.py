"""The person's copy of a consent, in her language: printable HTML, and text for reading out.

It holds what she said and what she can do about it, and nothing that anybody else told: no name,
no relative, no guardian by name, no word of what happened. Sections and purposes are named in plain
words. Words that are not hers, such as the name of an organisation, stand isolated, so that a
Latin name inside Arabic does not turn the line around.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from broker.gateway.consent.record import Party
from schemas.codes.labels import (
    LANGUAGES,
    is_right_to_left,
    language_label,
    place_label,
    section_label,
)
from schemas.consent import USUAL_WITHDRAWAL, ConsentRecord, ConsentStatus
from schemas.errors import NotFound

State = Literal["live", "narrowed", "withdrawn", "ended"]

FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
_STYLE = """
body{font:1.15rem/1.6 system-ui,"Noto Sans Arabic","DejaVu Sans",sans-serif;max-inline-size:42rem;
margin-inline:auto;padding:1.5rem;color:#111;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-block:1.4rem .3rem}p,ul{margin-block:.3rem}
ul{padding-inline-start:1.4rem}.safe,.state{border:2px solid #111;padding:.6rem .9rem}
.gone{text-decoration:line-through}.number{font-size:.9rem;margin-block-start:2rem}
@media print{body{padding:0}h2{break-after:avoid}}
"""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the paper says, before it has a form."""

    language: str
    title: str
    safe: str
    state: str
    parts: tuple[tuple[str, tuple[Line, ...]], ...]
    """Heading, and the lines below it."""
    number: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line; a listed one has a bullet, one that is gone is struck out."""

    text: str
    listed: bool = False
    gone: bool = False


def receipt(
    record: ConsentRecord,
    *,
    language: str,
    controller: Party,
    recipient: Party,
    status: ConsentStatus,
    removed: frozenset[tuple[str, str]] = frozenset(),
    number: str,
) -> Receipt:
    """The person's copy, in one of the languages that we have.

    Raises:
        NotFound: Not one of them.
    """
    words = words_of(language)

    def day(value: date) -> str:
        # Written as on her papers' machine-readable line: one order in every language.
        return isolated(value.isoformat())

    def organisation(party: Party) -> tuple[Line, ...]:
        place = place_label(party.country, language)
        found = [Line(f"{isolated(party.name)} ({place})")]
        if party.host:
            where = f"{isolated(party.host)} ({place_label(party.host_country, language)})"
            found.append(Line(words["hosted"].format(host=where)))
        return tuple(found + ([Line(isolated(party.contact))] if party.contact else []))

    usual = record.withdrawal_method == USUAL_WITHDRAWAL
    method = words["usual_withdrawal"] if usual else isolated(record.withdrawal_method)
    explained = words["explained"][record.how].format(
        language=language_label(record.language, language)
    )
    how = [Line(explained)]
    how += [Line(words["interpreter"])] if record.interpreter else []
    how += [Line(words["notice"].format(notice=isolated(record.privacy_notice)))]
    how += [Line(words["child"])] if record.guardian is not None else []
    return Receipt(
        language=language,
        title=words["title"],
        safe=words["safe"],
        state=words["state"][_state(status, bool(removed))],
        parts=(
            (words["who"], organisation(controller)),
            (words["to"], (*organisation(recipient), Line(words["only"]))),
            (
                words["what"],
                (
                    Line(words["kind"][record.kind]),
                    *_scopes(record, removed, words, language),
                ),
            ),
            (
                words["when"],
                (
                    Line(
                        words["period"].format(
                            start=day(record.given_at.date()), end=day(record.valid_until)
                        )
                    ),
                    Line(words["kept"].format(day=day(record.retention_until))),
                ),
            ),
            (words["how"], tuple(how)),
            (
                words["back_title"],
                (
                    Line(words["back"]),
                    Line(words["back_how"].format(method=method)),
                ),
            ),
            (
                words["rights_title"],
                (*(Line(right, listed=True) for right in words["rights"]), Line(words["danger"])),
            ),
        ),
        number=words["number"].format(number=isolated(number)),
    )


def as_html(found: Receipt) -> str:
    """One page that needs nothing else, ready to be printed; right to left where that is due."""
    direction = "rtl" if is_right_to_left(found.language) else "ltr"
    body = [
        f"<h1>{_html(found.title)}</h1>",
        f'<p class="safe">{_html(found.safe)}</p>',
        f'<p class="state"><strong>{_html(found.state)}</strong></p>',
    ]
    for heading, lines in found.parts:
        body.append(f"<h2>{_html(heading)}</h2>")
        body.extend(_html_lines(lines))
    body.append(f'<p class="number">{_html(found.number)}</p>')
    return (
        f'<!doctype html>\n<html lang="{found.language}" dir="{direction}">\n<head>'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta name="referrer" content="no-referrer">'
        # The title stands in a browser's history and in a printer's queue: it says nothing.
        f"<title>·</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def as_text(found: Receipt) -> str:
    """The same as plain text, for a screen or for reading out."""
    blocks = [found.title, found.safe, found.state]
    for heading, lines in found.parts:
        shown = [
            ("- " if line.listed else "") + line.text + (" ✗" if line.gone else "")
            for line in lines
        ]
        blocks.append("\n".join([heading, *shown]))
    return "\n\n".join([*blocks, found.number]) + "\n"


def _scopes(
    record: ConsentRecord,
    removed: frozenset[tuple[str, str]],
    words: Mapping[str, Any],
    language: str,
) -> Iterator[Line]:
    for purpose in dict.fromkeys(scope.purpose for scope in record.scopes):
        yield Line(f"{words['purpose'][purpose]}:")
        for scope in record.scopes:
            if scope.purpose == purpose:
                gone = (str(purpose), scope.section) in removed
                name = section_label(scope.section, language)
                text = f"{name} ({words['taken_back']})" if gone else name
                yield Line(text, listed=True, gone=gone)


def _state(status: ConsentStatus, narrowed: bool) -> State:
    if status in (ConsentStatus.GIVEN, ConsentStatus.RENEWED):
        return "narrowed" if narrowed else "live"
    return "withdrawn" if status is ConsentStatus.WITHDRAWN else "ended"


def _html_lines(lines: tuple[Line, ...]) -> Iterator[str]:
    open_list = False
    for line in lines:
        if line.listed != open_list:
            yield "<ul>" if line.listed else "</ul>"
            open_list = line.listed
        style = ' class="gone"' if line.gone else ""
        tag = "li" if line.listed else "p"
        yield f"<{tag}{style}>{_html(line.text)}</{tag}>"
    if open_list:
        yield "</ul>"


def _html(text: str) -> str:
    """Escaped; what is isolated in text is isolated by an element here."""
    shown = escape(text)
    return shown.replace(FIRST_STRONG_ISOLATE, "<bdi>").replace(POP_ISOLATE, "</bdi>")


def isolated(text: str) -> str:
    """Words that are not the page's own, so that they do not turn its lines around."""
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"


@cache
def words_of(language: str, package: str = "broker.gateway.consent") -> Mapping[str, Any]:
    """What a package's papers say, from its folder `words`.

    Raises:
        NotFound: Not a language that we have.
    """
    if language not in LANGUAGES:
        raise NotFound("papers are in " + ", ".join(LANGUAGES))
    place = files(package) / "words" / f"{language}.toml"
    return MappingProxyType(tomllib.loads(place.read_text(encoding="utf-8")))
