"""The tables as one page that anybody can read: no script, no style from elsewhere. Pure."""

from __future__ import annotations

from html import escape

from broker.gateway.statistics.suppression import SMALLEST
from broker.gateway.statistics.tables import Place, Published

HELD_BACK = f"fewer than {SMALLEST}, or held back to protect those"
_BAR, _HIGH = 220, 14
_STYLE = """
body{font:16px/1.45 system-ui,sans-serif;max-width:72rem;margin-inline:auto;padding:1.5rem;
color:#1b1b1b;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-block-start:2.2rem}
table{border-collapse:collapse;margin-block:.6rem 1.4rem}
caption{text-align:start;font-weight:600;padding-block-end:.4rem}
th,td{padding:.3rem .8rem;border-block-end:1px solid #d5d5d5;text-align:end}
th[scope=row],th:first-child{text-align:start;font-weight:400}
thead th{font-weight:600}tr.all th,tr.all td{font-weight:600}
td.held{color:#595959}abbr{text-decoration:none}svg{vertical-align:middle}
"""


def page(made: Published, source: str) -> str:
    """The whole publication."""
    first, last = made.quarters[0].first, made.quarters[-1].last
    corridors = list(dict.fromkeys(place.corridor for place in made.counts))
    parts = [
        f"<h1>Persons referred, {first} to {last}</h1>",
        f"<p>Counted by {escape(source)}: persons who agreed to be counted. "
        f"A dot (<b>·</b>) stands for a figure that is not shown: {HELD_BACK}. "
        "None may be among them. Totals count everybody, also those behind a dot.</p>",
    ]
    for corridor in corridors:
        parts.append(f"<h2>{_corridor(corridor)}</h2>")
        for heading in ("age", "exploitation"):
            parts.append(_table(made, corridor, heading))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Statistics {first} to {last}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _corridor(corridor: str | None) -> str:
    if corridor is None:
        return "All corridors"
    origin, _, destination = corridor.partition("-")
    return f"From {origin} to {destination}" if destination else "Corridor not known"


def _table(made: Published, corridor: str | None, heading: str) -> str:
    rows: list[str | None] = [
        *dict.fromkeys(
            value
            for place in made.counts
            if place.corridor == corridor and (value := getattr(place, heading)) is not None
        ),
        None,
    ]
    sexes: list[str | None] = [
        *dict.fromkeys(place.sex for place in made.counts if place.sex is not None),
        None,
    ]

    def count(row: str | None, sex: str | None) -> int | None:
        return made.counts.get(Place(corridor, sex=sex, **({heading: row} if row else {})))

    shown = [row for row in rows if row is None or any(count(row, sex) for sex in sexes)]
    most = max((count(row, None) or 0 for row in shown if row), default=0)
    head = "".join(f'<th scope="col">{_word(sex)}</th>' for sex in sexes)
    body = "".join(
        f'<tr{"" if row else " class=all"}><th scope="row">{_word(row)}</th>'
        + "".join(_cell(count(row, sex)) for sex in sexes)
        + f"<td>{_bar(count(row, None), most) if row else ''}</td></tr>"
        for row in shown
    )
    left = len(rows) - len(shown)
    note = f"<p>{left} further rows have dots alone.</p>" if left else ""
    title = {"age": "By age and sex", "exploitation": "By exploitation and sex"}[heading]
    return (
        f'<table><caption>{title}</caption><thead><tr><th scope="col"></th>{head}'
        f'<th scope="col"></th></tr></thead><tbody>{body}</tbody></table>{note}'
    )


def _word(code: str | None) -> str:
    return "all" if code is None else escape(code.replace("_", " "))


def _cell(count: int | None) -> str:
    if count is None:
        return f'<td class="held"><abbr title="{HELD_BACK}">·</abbr></td>'
    return f"<td>{count}</td>"


def _bar(count: int | None, most: int) -> str:
    if not count or not most:
        return ""
    width = max(1, round(_BAR * count / most))
    return (
        f'<svg role="img" aria-label="{count}" width="{_BAR}" height="{_HIGH}">'
        f'<rect width="{width}" height="{_HIGH}" fill="#2b6cb0"/></svg>'
    )
