"""The published catalogue promises: everything is on it, nothing is fetched, nothing overlaps."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.cli.publishing.drawing import drawn, moves_of
from broker.cli.publishing.layered import Size, place
from broker.cli.publishing.page import _words, file_name, page
from schemas.catalogue import catalogue, elsewhere
from schemas.codes.labels import LANGUAGES, section_label
from schemas.machine import Machine
from schemas.obligations import OBLIGATION
from schemas.sections.index import SECTION_INDEX
from schemas.states import MACHINES

SVG = "{http://www.w3.org/2000/svg}"
ALL = [*MACHINES.values(), OBLIGATION]
BY_NAME = pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
VOID = {"meta", "rect", "circle", "path"}


class Reader(HTMLParser):
    """What a browser would take from a page; a tag that is not closed in order is a failure."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_mechanism_is_on_the_page_and_nothing_is_fetched_or_run(
    language: str,
) -> None:
    text = page(language)
    read = Reader(text)
    assert read.open == []
    assert set(catalogue) <= set(read.ids)
    assert all(name in read.text for name in elsewhere)
    assert all(f"machine-of-{name}" in read.ids for name in MACHINES)
    assert all(section_label(name, language) in text for name in SECTION_INDEX)
    assert len(read.ids) == len(set(read.ids))
    inside = {link.removeprefix("#") for link in read.links if link.startswith("#")}
    assert inside <= set(read.ids)
    outside = {link for link in read.links if not link.startswith("#")}
    assert outside == {file_name(other) for other in LANGUAGES if other != language}
    assert read.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert not re.search(
        r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text.split("<body>")[0]
    )
    assert ('dir="rtl"' in text) == (language == "ar")


def test_the_pages_say_the_same_things_in_each_language() -> None:
    def names(words: object, at: str = "") -> set[str]:
        if not isinstance(words, dict):
            return {at}
        return {found for name, more in words.items() for found in names(more, f"{at}.{name}")}

    english = names(dict(_words("en")))
    plurals = {".working_days.two", ".working_days.few"}
    for language in LANGUAGES:
        assert names(dict(_words(language))) - plurals == english, language
        for name in english:
            assert blanks(language, name) == blanks("en", name), (language, name)


def blanks(language: str, path: str) -> set[str]:
    """What a text leaves open, as in `{types}`. A dual or plural may say its number in words."""
    table, _, name = path.removeprefix(".").partition(".")
    found = _words(language)[table]
    return set(re.findall(r"{(\w+)}", str(found[name] if name else found))) - {"n"}


def picture(machine: Machine) -> Xml.Element:
    return Xml.fromstring(drawn(machine))  # noqa: S314 (our own)


@BY_NAME
def test_a_picture_shows_every_state_and_every_event_of_its_machine(machine: Machine) -> None:
    shown = " ".join(text.text or "" for text in picture(machine).iter())
    for state in machine.states:
        assert state in shown
    if machine is not MACHINES["delivery"]:  # which says it in one sentence
        for move in moves_of(machine):
            assert f"{move.event} ({move.who})" in shown


@BY_NAME
def test_in_a_picture_no_two_boxes_touch_and_all_stand_inside(machine: Machine) -> None:
    root = picture(machine)
    _, *groups = root.findall(f"{SVG}g")
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for group in (root.findall(f"{SVG}g")[0], *groups):
        shift = re.findall(r"[\d.]+", group.get("transform", ""))
        boxes = [
            tuple(float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            for rect in group.findall(f"{SVG}rect")
        ]
        for number, (x, y, w, h) in enumerate(boxes):
            assert 0 <= x + float(shift[0]) <= width - w
            assert 0 <= y + float(shift[1]) <= height - h
            for x2, y2, w2, h2 in boxes[number + 1 :]:
                assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


graphs = st.integers(2, 14).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(10, 120), min_size=count, max_size=count),
        st.sets(
            st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(
                lambda pair: pair[0] != pair[1]
            ),
            max_size=30,
        ),
    )
)


@settings(max_examples=60, deadline=None)
@given(graphs)
def test_whatever_is_drawn_no_line_runs_through_a_box(
    graph: tuple[list[int], set[tuple[int, int]]],
) -> None:
    widths, pairs = graph
    sizes = {f"s{number}": Size(width, 20) for number, width in enumerate(widths)}
    links = [(f"s{a}", f"s{b}") for a, b in sorted(pairs)]
    placed = place(sizes, links)
    for points in placed.lines.values():
        for x, y in points:
            for name, (at_x, at_y) in placed.boxes.items():
                # Between two stations a line stays in the gap that they bound, where no box is.
                outside = abs(x - at_x) >= sizes[name].width / 2 - 0.01 or abs(y - at_y) >= 9.99
                assert outside, name
    assert placed == place(sizes, links)
