"""The catalogue as one page in one language: nothing to fetch, nothing that runs. Pure.

Whoever negotiates an agreement, teaches case workers or writes a second implementation reads it in a
browser or on paper, from left or from right, by day or by night. What is code stands in `code` from
left to right, wherever the language begins its lines.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from babel import Locale
from babel.units import format_unit

from broker.cli.publishing.drawing import STYLE as MACHINE_STYLE
from broker.cli.publishing.drawing import inside, moves_of
from schemas.catalogue import catalogue, elsewhere
from schemas.codes.labels import LANGUAGES, is_right_to_left, section_label
from schemas.families.base import ANY_SECTION, PARTICIPANTS, Chapter, MessageType, Precondition
from schemas.families.deadline import PROPOSED, Deadline
from schemas.families.expected import expected_sections
from schemas.machine import Machine
from schemas.sections.index import SECTION_INDEX
from schemas.states import MACHINES

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--soft:#555;--paper:#fff;--edge:#d0d0d0;--accent:#1d5480;
--code:#f3f4f6}
@media (prefers-color-scheme:dark){:root{--ink:#e9e9e9;--soft:#b0b0b0;--paper:#161616;
--edge:#444;--accent:#8fc1ee;--code:#242424}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:1rem/1.6 system-ui,"Segoe UI","Noto Sans","Noto Naskh Arabic","DejaVu Sans",sans-serif}
header,main,footer{max-width:70rem;margin-inline:auto;padding:1rem 1.2rem}
h1{font-size:1.9rem;line-height:1.25;margin-block:.6rem}
h2{font-size:1.45rem;margin-block:2.8rem .8rem;padding-block-end:.3rem;
border-block-end:2px solid var(--accent)}
h3{font-size:1.1rem;margin:0}
a{color:var(--accent)}
:target{outline:3px solid var(--accent);outline-offset:4px}
nav ul{columns:14rem;padding-inline-start:1.2rem;margin:0}
code,pre{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.9em;direction:ltr;
unicode-bidi:isolate}
code{background:var(--code);padding:.05em .3em;border-radius:3px;overflow-wrap:anywhere}
pre{background:var(--code);padding:.8rem;overflow:auto;text-align:left;max-height:30rem}
article{border-block-start:1px solid var(--edge);padding-block:1.2rem}
article p{margin-block:.2rem .6rem;color:var(--soft)}
dl{display:grid;grid-template-columns:minmax(9rem,13rem) 1fr;gap:.25rem 1.2rem;margin:.4rem 0}
dt{color:var(--soft)}dd{margin:0;min-width:0}
dd ul{margin:0;padding-inline-start:1.1rem}
table{border-collapse:collapse;margin-block:.6rem}
th,td{text-align:start;vertical-align:top;padding:.3rem .9rem .3rem 0;
padding-inline:0 .9rem;border-block-end:1px solid var(--edge)}
figure{margin:1rem 0 2rem}figcaption{font-weight:600;font-size:1.15rem;margin-block-end:.6rem}
figure svg{max-width:100%;height:auto;display:block;margin-inline:auto}
summary{cursor:pointer;color:var(--accent)}
@media (max-width:40rem){dl{grid-template-columns:1fr}dd{margin-block-end:.5rem}}
@media print{:root{--ink:#000;--soft:#333;--paper:#fff;--accent:#000;--code:#fff}
body{font-size:10pt}nav,details{display:none}article,figure{break-inside:avoid}
h2{break-before:page;break-after:avoid}#machines{break-before:auto}figure svg{max-height:24cm}a{text-decoration:none}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FIRST = ("referral", "transfer", "return", "consent", "delivery")


def file_name(language: str) -> str:
    """As the pages lead to each other."""
    return f"catalogue.{language}.html"


def page(language: str) -> str:
    """The whole page.

    Raises:
        KeyError: No such language.
    """
    return _Page(language).text()


@cache
def _words(language: str) -> Mapping[str, Any]:
    if language not in LANGUAGES:
        raise KeyError(language)
    text = (files("broker.cli.publishing") / "words" / f"{language}.toml").read_text("utf-8")
    return MappingProxyType(tomllib.loads(text))


def _code(name: str) -> str:
    return f'<code dir="ltr">{escape(name)}</code>'


def _english(text: str) -> str:
    return f'<span lang="en" dir="ltr">{escape(text)}</span>'


class _Page:
    def __init__(self, language: str) -> None:
        self.language = language
        self.words = _words(language)

    def say(self, name: str, **values: object) -> str:
        return escape(str(self.words[name]).format(**values), quote=False)

    def text(self) -> str:
        direction = "rtl" if is_right_to_left(self.language) else "ltr"
        parts = [*self.head(), *self.contents(), *self.machines(), *self.all_sections()]
        for chapter in Chapter:
            parts += self.chapter(chapter)
        return (
            f'<!doctype html>\n<html lang="{self.language}" dir="{direction}"><head>'
            f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            f"<title>{self.say('title')}</title><style>{_STYLE}{MACHINE_STYLE}</style></head>\n"
            f"<body>{''.join(parts)}</main><footer><p>{self.say('generated')}</p></footer>"
            "</body></html>\n"
        )

    def head(self) -> Iterator[str]:
        others = " · ".join(
            f'<a href="{file_name(other)}" hreflang="{other}" lang="{other}">'
            f"{escape(_words(other)['language'])}</a>"
            for other in LANGUAGES
            if other != self.language
        )
        lead = self.say("lead", types=len(catalogue), chapters=len(Chapter))
        yield (
            f"<header><h1>{self.say('title')}</h1><p>{lead}</p>"
            f"<p>{self.say('other_languages')}{self.words['colon']}{others}</p></header><main>\n"
        )

    def contents(self) -> Iterator[str]:
        items = [
            f'<li><a href="#{name}">{self.say(name)}</a></li>' for name in ("machines", "sections")
        ]
        items += [
            f'<li><a href="#{chapter.name.lower()}">{self.heading(chapter)}</a></li>'
            for chapter in Chapter
        ]
        yield f'<nav aria-label="{self.say("contents")}"><ul>{"".join(items)}</ul></nav>\n'

    def heading(self, chapter: Chapter) -> str:
        letter = chapter.value[0]
        return f"{letter} · {escape(self.words['chapter'][letter])}"

    # --- State machines ------------------------------------------------------------------------

    def machines(self) -> Iterator[str]:
        yield f'<section><h2 id="machines">{self.say("machines")}</h2>'
        yield f"<p>{self.say('machines_lead')}</p>"
        for name in (*_FIRST, *(name for name in MACHINES if name not in _FIRST)):
            caption = escape(self.words["machines_of"][name])
            yield (
                f'<figure id="machine-of-{name}"><figcaption>{caption}</figcaption>'
                f"{inside(MACHINES[name])}{self.moves(MACHINES[name])}</figure>\n"
            )
        yield "</section>"

    def moves(self, machine: Machine) -> str:
        head = "".join(
            f'<th scope="col">{self.say(name)}</th>' for name in ("event", "by", "from", "to")
        )
        rows = []
        for move in moves_of(machine):
            ends = move.target
            same = set(move.sources) == {ends}
            rows.append(
                f"<tr><td>{_code(move.event)}</td><td>{_english(move.who)}</td>"
                f"<td>{' '.join(_code(source) for source in move.sources)}</td>"
                f"<td>{self.say('stays') if same else _code(ends)}</td></tr>"
            )
        return (
            f"<details><summary>{self.say('table')}</summary><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></details>"
        )

    def all_sections(self) -> Iterator[str]:
        """What a type's row names by its code."""
        head = "".join(
            f'<th scope="col">{self.say(name)}</th>'
            for name in ("section", "opened_by", "data_class")
        )
        yield f'<section><h2 id="sections">{self.say("sections")}</h2><table>'
        yield f"<thead><tr>{head}</tr></thead><tbody>"
        for name, entry in SECTION_INDEX.items():
            (named,) = self.named(frozenset({name}))
            yield (
                f"<tr><td>{named}</td>"
                f"<td>{escape(self.words['compartment'][entry.compartment.value])}</td>"
                f"<td>{escape(self.words['class'][entry.data_class.value])}</td></tr>"
            )
        yield "</tbody></table></section>"

    # --- Messages ------------------------------------------------------------------------------

    def chapter(self, chapter: Chapter) -> Iterator[str]:
        yield f'<section><h2 id="{chapter.name.lower()}">{self.heading(chapter)}</h2>'
        for row in catalogue.values():
            if row.chapter is chapter:
                yield from self.type(row)
        rest = [other for other in elsewhere.values() if other.chapter is chapter]
        if rest:
            yield f"<h3>{self.say('elsewhere')}</h3><ul>"
            for other in rest:
                yield (
                    f"<li>{_code(other.name)}{self.words['colon']}{self.say('carried')} {_english(other.carrier)}. "
                    f"{_english(other.says)}</li>"
                )
            yield "</ul>"
        yield "</section>\n"

    def type(self, row: MessageType) -> Iterator[str]:
        meaning = (row.body.__doc__ or "").strip().splitlines()[0]
        yield f'<article id="{row.name}"><h3>{_code(row.name)}</h3><p>{_english(meaning)}</p><dl>'
        for name, value in self.facts(row):
            yield f"<dt>{self.say(name)}</dt><dd>{value}</dd>"
        yield (
            f"</dl><details><summary>{self.say('example')}</summary>"
            f'<pre dir="ltr" tabindex="0">{escape(_example(row.name), quote=False)}</pre>'
            "</details></article>\n"
        )

    def facts(self, row: MessageType) -> Iterator[tuple[str, str]]:
        """What the page tells of a type: the word for it, and the text as HTML."""
        words = self.words
        way = [words["corridor"][row.corridor.value], words["said_by"][row.direction.value]]
        way += [words["opens"]] if row.opens else []
        yield "direction", escape(words["semicolon"].join(way))
        kinds = [words["kind"][kind] for kind in sorted(row.who_may_send)]
        everyone = row.who_may_send == PARTICIPANTS
        yield "senders", self.say("anyone") if everyone else escape(words["semicolon"].join(kinds))
        needs = [words["need"][need.value] for need in Precondition if need in row.preconditions]
        yield "needs", self.list(map(escape, needs)) if needs else self.say("nothing")
        yield "consent", self.say(_consent(row))
        yield from self.sections(row)
        links = (f'<a href="#{name}">{_code(name)}</a>' for name in row.replies)
        yield "replies", " ".join(links) or self.say("none")
        if row.deadline is not None:
            yield "within", self.within(row.deadline)
        events = (
            f'<a href="#machine-of-{machine}">{escape(words["machines_of"][machine])}</a>{words["colon"]}'
            f"{_code(event)}"
            for machine, event in row.events().items()
        )
        yield "machine", self.list(events)

    def sections(self, row: MessageType) -> Iterator[tuple[str, str]]:
        required = self.named(row.required_sections)
        if row.child_sections - row.required_sections:
            required += [
                f"{self.say('child')}{self.words['colon']}{one}"
                for one in self.named(row.child_sections)
            ]
        if required:
            yield "required", self.list(required)
        expected = expected_sections(row) - row.required_sections
        if expected:
            yield "expected", self.list(self.named(expected))
        may = row.permitted_sections - row.required_sections - row.child_sections - expected
        if row.permitted_sections >= ANY_SECTION:
            yield "permitted", self.say("any")
        elif may:
            yield "permitted", self.list(self.named(may))
        elif not required and not expected:
            yield "permitted", self.say("none")

    def named(self, sections: frozenset[str]) -> list[str]:
        return [
            f"{escape(section_label(section, self.language))} {_code(entry.code)}"
            for section, entry in SECTION_INDEX.items()
            if section in sections
        ]

    def list(self, items: Any) -> str:
        found = list(items)
        if len(found) == 1:
            return str(found[0])
        return f"<ul>{''.join(f'<li>{item}</li>' for item in found)}</ul>"

    def within(self, rule: Deadline) -> str:
        if rule.within is not None:
            spans = [self.span(span.total_seconds() // 3600) for span in rule.within.values()]
            text = (
                spans[0]
                if len(set(spans)) == 1
                else str(self.words["urgent"]).format(spans=" / ".join(spans))
            )
        elif rule.months:
            text = self.unit(rule.months, "month")
            if rule.not_before is not None:
                first = self.unit(rule.not_before.days, "day")
                text = str(self.words["between"]).format(first=first, last=text)
        else:
            forms = self.words["working_days"]
            form = Locale(self.language).plural_form(rule.working_days)
            text = forms.get(form, forms["other"]).format(n=rule.working_days)
        origin = self.say("proposed") if rule.origin == PROPOSED else _english(rule.origin)
        return f"{escape(text)} ({origin})"

    def span(self, hours: float) -> str:
        if hours <= 72:
            return self.unit(int(hours), "hour")
        return self.unit(int(hours // 24), "day")

    def unit(self, count: int, unit: str) -> str:
        return format_unit(count, f"duration-{unit}", locale=self.language)


def _consent(row: MessageType) -> str:
    if row.needs_exception:
        return "consent_exception"
    if row.needs_consent:
        return "consent_yes"
    return "consent_sections" if row.permitted_sections else "consent_no"


def _example(name: str) -> str:
    path = files("schemas") / "published" / "examples" / f"{name}.json"
    return path.read_text("utf-8").strip()
