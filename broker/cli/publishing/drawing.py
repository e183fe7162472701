"""A state machine as a picture (SVG): what happens is written on the line that it moves along.

What leads from many states to one stands below the picture, in a row of its own: drawn as lines, it
would cover everything else. The words are those of the tables. Pure; the same machine gives the same
bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from broker.cli.publishing.layered import Placed, Point, Size, place
from schemas.evidence import PRECEDENCE
from schemas.machine import By, Machine
from schemas.states import DELIVERY

MOST_LINES = 4
"""Of one event to one state; more go below the picture."""
_STATE_TEXT, _EVENT_TEXT = 8.3, 7.0
"""Width of a letter, in a wide typeface: better a box too large than a word outside it."""
_STATE_HEIGHT, _LINE_HEIGHT = 28, 16
_MARGIN, _ROW, _CHIP = 14, 34, 24
_ORIGIN, _NOTE_TEXT = 330, 6.6
_STAYS = "stays there"
_START = " start"
"""Not a state: where the first line comes from."""

STYLE = """
.machine{font:13px/1.2 "DejaVu Sans",Verdana,system-ui,sans-serif;--ink:#1b1b1b;--soft:#5a5a5a;
--line:#777;--state:#eef3f8;--edge:#35608c;--end:#f3f3f3;--paper:#fff;
--sender:#8a3c00;--recipient:#00573f;--both:#5b2a86;--clock:#444}
@media (prefers-color-scheme:dark){.machine{--ink:#e9e9e9;--soft:#a8a8a8;--line:#8d8d8d;
--state:#1d2c3a;--edge:#7fb0e0;--end:#2b2b2b;--paper:#161616;
--sender:#ffb27a;--recipient:#7fdcb8;--both:#d3b3f2;--clock:#c4c4c4}}
@media print{.machine{--ink:#000;--soft:#333;--line:#555;--state:#fff;--edge:#000;--end:#eee;
--paper:#fff;--sender:#000;--recipient:#000;--both:#000;--clock:#000}}
.machine .paper{fill:var(--paper)}
.machine .state{fill:var(--state);stroke:var(--edge);stroke-width:1.4}
.machine .end{fill:var(--end);stroke-width:3}
.machine .paused{stroke-dasharray:5 3}
.machine .start{fill:var(--edge)}
.machine text{fill:var(--ink);text-anchor:middle}
.machine .event{font-size:12px}
.machine .stays,.machine .note{font-size:11px;fill:var(--soft)}
.machine .note,.machine .told{text-anchor:start}
.machine .sender{fill:var(--sender)}.machine .recipient{fill:var(--recipient)}
.machine .both{fill:var(--both)}.machine .clock{fill:var(--clock);font-style:italic}
.machine .line{fill:none;stroke:var(--line);stroke-width:1.3}
.machine .tip{fill:var(--line)}
"""


@dataclass(frozen=True, slots=True)
class Move:
    """One event that leads from these states to that one."""

    event: str
    by: frozenset[By]
    sources: tuple[str, ...]
    target: str

    @property
    def who(self) -> str:
        """As in `sender or recipient`."""
        return "anyone" if self.by == set(By) else " or ".join(b.value for b in By if b in self.by)

    @property
    def look(self) -> str:
        """Who says it, as the style knows it."""
        if self.by == {By.BROKER}:
            return "clock"
        parties = self.by - {By.BROKER}
        return "both" if len(parties) > 1 else min(parties).value


def moves_of(machine: Machine) -> list[Move]:
    """All events of a machine, each with all the states that it leads from to one state."""
    order = _story(machine)
    found: dict[tuple[str, str], dict[str, set[By]]] = {}
    for (source, event, by), target in machine.edges.items():
        found.setdefault((str(event), str(target)), {}).setdefault(str(source), set()).add(by)
    moves = []
    for (event, target), sources in found.items():
        by_whom: dict[frozenset[By], list[str]] = {}
        for source, parties in sources.items():
            by_whom.setdefault(frozenset(parties), []).append(source)
        moves += [
            Move(event, parties, tuple(sorted(from_, key=order.index)), target)
            for parties, from_ in by_whom.items()
        ]
    return moves


def _story(machine: Machine) -> list[str]:
    """The states in the order in which the table tells of them."""
    told = [str(machine.initial)]
    for (source, _event, _by), target in machine.edges.items():
        told += [str(source), str(target)]
    return list(dict.fromkeys(told))


def drawn(machine: Machine) -> str:
    """The picture as a file of its own."""
    return inside(machine).replace("</title>", f"</title><style>{STYLE}</style>", 1)


def inside(machine: Machine) -> str:
    """The picture to be put into a page that has `STYLE`."""
    if machine is DELIVERY:
        return _ladder(machine)
    stays: dict[str, list[Move]] = {}
    narrow, wide = [], []
    for move in moves_of(machine):
        loops = [source for source in move.sources if source == move.target]
        if loops and len(move.sources) == 1:
            stays.setdefault(move.target, []).append(move)
        elif len(move.sources) - len(loops) > MOST_LINES:
            wide.append(move)
        else:
            if loops:
                stays.setdefault(move.target, []).append(move)
                rest = tuple(source for source in move.sources if source != move.target)
                move = Move(move.event, move.by, rest, move.target)
            narrow.append(move)
    # What stays where it is in many states is one row below, and not a line in each of them.
    everywhere: dict[tuple[str, frozenset[By]], list[str]] = {}
    for state, found in stays.items():
        for move in found:
            everywhere.setdefault((move.event, move.by), []).append(state)
    for (event, by), states in everywhere.items():
        if len(states) > MOST_LINES:
            wide.append(Move(event, by, tuple(states), ""))
            for state in states:
                stays[state] = [move for move in stays[state] if move.event != event]
    linked = {str(machine.initial)}
    for move in narrow:
        linked |= {*move.sources, move.target}
    for state in [state for state in stays if state not in linked]:
        wide += [Move(move.event, move.by, (state,), "") for move in stays.pop(state)]
    return _picture(machine, narrow, wide, stays)


def _ladder(machine: Machine) -> str:
    """The facts of one envelope: a ladder that is only ever climbed, steps left out or not."""
    rungs = [str(machine.initial), *(str(fact) for fact in reversed(PRECEDENCE))]
    found = {(move.event, move.target): move.by for move in moves_of(machine)}
    moves = [
        Move("", found[state, state], (before,), state)
        for before, state in itertools.pairwise(rungs)
    ]
    own = [move for move in moves_of(machine) if move.event != move.target]
    return _picture(machine, moves, own, {}, note="A stronger fact moves from any weaker one.")


def _picture(
    machine: Machine,
    narrow: Sequence[Move],
    wide: Sequence[Move],
    stays: Mapping[str, Sequence[Move]],
    *,
    note: str = "",
) -> str:
    labels = _labels(narrow)
    shown = {str(machine.initial)} | set(stays)
    for sources, target in labels:
        shown |= {*sources, target}
    story = [state for state in _story(machine) if state in shown]
    sizes = {_START: Size(14, 14)}
    links = [(_START, story[0])]
    for state in story:
        sizes[state] = _state_size(state, stays.get(state, ()))
    names: dict[tuple[tuple[str, ...], str], str] = {}
    order: dict[str, float] = {_START: -1.0, **{state: n for n, state in enumerate(story)}}
    for number, ((sources, target), moves) in enumerate(labels.items()):
        name = names[sources, target] = f" {number}"
        forward = any(order[source] < order[target] for source in sources)
        order[name] = order[target] + (-0.5 if forward else 0.5) + number / 10_000
        sizes[name] = _label_size(moves)
        links += [*((source, name) for source in sources), (name, target)]
    placed = place({name: sizes[name] for name in sorted(sizes, key=order.__getitem__)}, links)

    parts = [
        # Into the words from above is how one reads; from below wants an arrow of its own.
        _line(points, tip=not end.startswith(" ") or points[-1][1] < points[-2][1])
        for (_, end), points in placed.lines.items()
    ]
    x, y = placed.boxes[_START]
    parts.append(f'<circle class="start" cx="{_n(x)}" cy="{_n(y)}" r="7"/>')
    for state in story:
        parts += _state(machine, state, placed.boxes[state], sizes[state], stays.get(state, ()))
    for key, moves in labels.items():
        parts += _label(moves, placed.boxes[names[key]])
    below, height, width = _rows(machine, wide, note)
    return _file(machine, placed, parts, below, height, width)


def _labels(moves: Sequence[Move]) -> dict[tuple[tuple[str, ...], str], list[Move]]:
    """Events of the same states and the same end share one line."""
    found: dict[tuple[tuple[str, ...], str], list[Move]] = {}
    for move in moves:
        found.setdefault((move.sources, move.target), []).append(move)
    return found


# --- Boxes ------------------------------------------------------------------------------------


def _words(move: Move) -> str:
    return f"{move.event} ({move.who})" if move.event else move.who


def _stay(move: Move) -> str:
    return f"stays: {_words(move)}"


def _state_size(state: str, stays: Collection[Move]) -> Size:
    text = max([len(_stay(move)) * _NOTE_TEXT for move in stays], default=0.0)
    return Size(
        max(len(state) * _STATE_TEXT, text) + 22, _STATE_HEIGHT + len(stays) * (_LINE_HEIGHT - 1)
    )


def _label_size(moves: Sequence[Move]) -> Size:
    return Size(
        max(len(_words(move)) for move in moves) * _EVENT_TEXT + 8, _LINE_HEIGHT * len(moves) + 4
    )


def _state(
    machine: Machine, state: str, at: Point, size: Size, stays: Sequence[Move]
) -> Iterable[str]:
    (x, y), looks = at, "state"
    if state in machine.terminal:
        looks += " end"
    if state in machine.paused:
        looks += " paused"
    yield (
        f'<rect class="{looks}" x="{_n(x - size.width / 2)}" y="{_n(y - size.height / 2)}" '
        f'width="{_n(size.width)}" height="{_n(size.height)}" rx="9"/>'
    )
    top = y - size.height / 2
    yield f'<text x="{_n(x)}" y="{_n(top + 18.5)}">{escape(state)}</text>'
    for number, move in enumerate(stays):
        line = top + 18.5 + (number + 1) * (_LINE_HEIGHT - 1)
        yield f'<text class="stays" x="{_n(x)}" y="{_n(line)}">{escape(_stay(move))}</text>'


def _label(moves: Sequence[Move], at: Point) -> Iterable[str]:
    x, y = at
    size = _label_size(moves)
    yield (  # paper below the words, so that the line ends at them
        f'<rect class="paper" x="{_n(x - size.width / 2)}" y="{_n(y - size.height / 2)}" '
        f'width="{_n(size.width)}" height="{_n(size.height)}"/>'
    )
    for number, move in enumerate(moves):
        line = y - size.height / 2 + 14 + number * _LINE_HEIGHT
        text = escape(_words(move))
        yield f'<text class="event {move.look}" x="{_n(x)}" y="{_n(line)}">{text}</text>'


def _line(points: Sequence[Point], *, tip: bool) -> str:
    (x, y), pieces = points[0], []
    pieces.append(f"M{_n(x)} {_n(y)}")
    for number in range(1, len(points)):
        (x0, y0), (x, y) = points[number - 1], points[number]
        if number % 2 == 0 or abs(x - x0) < 0.5:
            pieces.append(f"L{_n(x)} {_n(y)}")
        else:
            middle = (y0 + y) / 2
            pieces.append(f"C{_n(x0)} {_n(middle)} {_n(x)} {_n(middle)} {_n(x)} {_n(y)}")
    arrow = ""
    if tip:
        back = -7 if points[-1][1] > points[-2][1] else 7
        arrow = (
            f'<path class="tip" d="M{_n(x)} {_n(y)}L{_n(x - 4)} {_n(y + back)}'
            f'L{_n(x + 4)} {_n(y + back)}Z"/>'
        )
    return f'<path class="line" d="{"".join(pieces)}"/>{arrow}'


# --- Below the picture ------------------------------------------------------------------------


def _rows(machine: Machine, wide: Sequence[Move], note: str) -> tuple[list[str], float, float]:
    """From many states: `states -> event -> state`, one row each. Returns parts, height, width."""
    parts, y = list[str](), 0.0
    if note:
        parts.append(f'<text class="note" x="0" y="{_n(y + 12)}">{escape(note)}</text>')
        y += 26
    events = max((len(_words(move)) for move in wide), default=0) * _EVENT_TEXT
    ends = max((len(move.target or _STAYS) for move in wide), default=0) * _STATE_TEXT + 22
    at_event, at_line = _ORIGIN, _ORIGIN + events + 10
    at_end = at_line + 40
    for move in wide:
        lines = _wrapped(_origin(machine, move))
        height = max(len(lines) * _LINE_HEIGHT + 10, _ROW)
        middle = y + height / 2
        for number, line in enumerate(lines):
            at = middle + 4 + (number - (len(lines) - 1) / 2) * _LINE_HEIGHT
            parts.append(f'<text class="note" x="0" y="{_n(at)}">{escape(line)}</text>')
        parts.append(
            f'<text class="event told {move.look}" x="{_n(at_event)}" y="{_n(middle + 4)}">'
            f"{escape(_words(move))}</text>"
        )
        if move.target:
            parts += _way_to(machine, move.target, at_line, at_end, middle)
        else:
            parts.append(
                f'<text class="note" x="{_n(at_end)}" y="{_n(middle + 4)}">{_STAYS}</text>'
            )
        y += height
    return parts, y, max(len(note) * _NOTE_TEXT, at_end + ends if wide else 0.0)


def _way_to(
    machine: Machine, state: str, at_line: float, at_end: float, middle: float
) -> Iterable[str]:
    size = Size(len(state) * _STATE_TEXT + 22, _CHIP)
    looks = "state end" if state in machine.terminal else "state"
    yield (
        f'<path class="line" d="M{_n(at_line)} {_n(middle)}L{_n(at_end - 6)} {_n(middle)}"/>'
        f'<path class="tip" d="M{_n(at_end)} {_n(middle)}L{_n(at_end - 7)} {_n(middle - 4)}'
        f'L{_n(at_end - 7)} {_n(middle + 4)}Z"/>'
        f'<rect class="{looks}" x="{_n(at_end)}" y="{_n(middle - _CHIP / 2)}" '
        f'width="{_n(size.width)}" height="{_CHIP}" rx="9"/>'
        f'<text x="{_n(at_end + size.width / 2)}" y="{_n(middle + 4.5)}">{escape(state)}</text>'
    )


def _origin(machine: Machine, move: Move) -> list[str]:
    """The states in words: `every open state but those`, where that is shorter."""
    open_states = [state for state in _story(machine) if state not in machine.terminal]
    left_out = [state for state in open_states if state not in move.sources]
    ended = [state for state in move.sources if state in machine.terminal]
    if len(left_out) + len(ended) < len(move.sources) - 2 and len(ended) in (
        0,
        len(machine.terminal) - 1,
    ):
        words = ["from every state" if ended else "from every open state"]
        return words + ([f"but {', '.join(left_out)}"] if left_out else [])
    return [f"from {', '.join(move.sources)}"]


def _wrapped(texts: Iterable[str], width: int = 46) -> list[str]:
    lines: list[str] = []
    for text in texts:
        line = ""
        for word in text.split(" "):
            if line and len(line) + 1 + len(word) > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        lines.append(line)
    return lines


def _file(
    machine: Machine,
    placed: Placed,
    parts: Sequence[str],
    below: Sequence[str],
    below_height: float,
    below_width: float,
) -> str:
    width = max(placed.size.width, below_width) + 2 * _MARGIN
    shift = (width - placed.size.width) / 2
    gap = 26 if below else 0
    height = placed.size.height + gap + below_height + 2 * _MARGIN
    left = (width - below_width) / 2
    rest = ""
    if below:
        top = placed.size.height + gap + _MARGIN
        rest = f'<g transform="translate({_n(left)} {_n(top)})">{"".join(below)}</g>'
    name = f"machine-{machine.name}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="machine" role="img" direction="ltr" '
        f'aria-labelledby="{name}" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}"><title id="{name}">'
        f"The states of a {machine.name} and what leads from one to the next</title>"
        f'<rect class="paper" width="100%" height="100%"/>'
        f'<g transform="translate({_n(shift)} {_MARGIN})">{"".join(parts)}</g>{rest}</svg>\n'
    )


def _n(number: float) -> str:
    """Short, and the same everywhere."""
    return f"{number:.1f}".removesuffix(".0")
