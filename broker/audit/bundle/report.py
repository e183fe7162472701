"""A bundle's report as one HTML page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import escape

from broker.audit.bundle.figures import Figures, Row

Cells = Sequence[str]


@dataclass(frozen=True)
class About:
    """What the report is about."""

    hub: str
    period: str
    corridor: str
    made_at: str
    head: str
    """Which head of which log everything is proven by."""
    witnesses: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A heading, a sentence that says how to read it, columns and rows."""

    title: str
    note: str
    columns: Cells
    rows: tuple[Cells, ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers; their headings stand above the digits."""
        return tuple(
            all(text[:1].isdigit() or text in ("-", MOMENT) for text in column)
            for column in zip(*self.rows, strict=True)
        )


MEASURES = (
    ("Sent", "sent"),
    ("Delivered", "delivered"),
    ("Filed", "filed"),
    ("Opened", "opened"),
    ("Overdue", "overdue"),
    ("Undelivered", "undelivered"),
    ("Stopped", "stopped"),
    ("Refused", "refused"),
    ("Failed", "failed"),
    ("Waiting", "waiting"),
)
MOMENT = "< 1 s"
CHECK = "referral log verify FOLDER --root root.json"
HOW = (
    "root.json is the first root of the trust directory. Take it from whoever handed it to you in "
    "person, not from here; then, on any machine, without a network:"
)
LIMITS = (
    "A proof shows that a participant signed a statement and that the log had it no later than the "
    "date that the witnesses signed. It does not show that the statement is true.",
    "Exceptions to consent are inside the seal. The hub sees only that an envelope named no "
    "grant, as an answer without data does not either; the logs of the two gateways record each "
    "exception (exception:used).",
    "Erasure is attested by the one who says so, store by store; nobody can prove it.",
)


def tables(figures: Figures) -> list[Table]:
    """The report's content, for both forms of it."""
    ordered = sorted(figures.routes.items())
    return [
        Table(
            "Messages by route",
            "Each message counts once in every column that it reached. Waiting: by the end of the "
            "period neither delivered nor ended.",
            ("From", "To", *(title for title, _ in MEASURES)),
            tuple((*route, *_measures(row)) for route, row in ordered),
        ),
        Table(
            "Time to delivery",
            "From the hub's acceptance until the recipient's gateway had verified and stored it.",
            ("From", "To", "Delivered", "Typical", "Longest"),
            tuple(
                (
                    *route,
                    str(len(row.to_delivery.times)),
                    said(row.to_delivery.typical),
                    said(row.to_delivery.longest),
                )
                for route, row in ordered
            ),
        ),
        Table(
            "Refused, stopped and failed, by code",
            "The codes are explained in the protocol, section 8.",
            ("Fact", "Code", "Messages"),
            tuple((*key, str(number)) for key, number in figures.codes.most_common()),
        ),
        Table(
            "Withdrawals of consent, by recipient",
            "How long each recipient took to receive it, and how many messages it attested as erased.",
            ("Recipient", "Sent", "Delivered", "Typical", "Longest", "Messages erased"),
            tuple(
                (
                    name,
                    str(row.sent),
                    str(row.delivered),
                    said(row.to_delivery.typical),
                    said(row.to_delivery.longest),
                    str(row.erasures_attested),
                )
                for name, row in sorted(figures.withdrawals.items())
            ),
        ),
    ]


def headline(figures: Figures) -> list[tuple[str, str]]:
    """The few numbers that come first."""
    total = figures.total
    return [
        ("sent", str(total.sent)),
        ("delivered", str(total.delivered)),
        ("opened", str(total.opened)),
        ("overdue", str(total.overdue)),
        ("refused", str(total.refused)),
        ("without a grant", str(total.without_grant)),
        ("withdrawals", str(sum(row.sent for row in figures.withdrawals.values()))),
        ("typical delivery", said(total.to_delivery.typical)),
    ]


def said(duration: timedelta | None) -> str:
    """A duration for people: the two largest units."""
    if duration is None:
        return "-"
    seconds = round(duration.total_seconds())
    if seconds < 1:
        return MOMENT
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def facts_about(about: About) -> list[tuple[str, str]]:
    """What stands under the title."""
    return [
        ("Hub", about.hub),
        ("Period", about.period),
        ("Corridor", about.corridor),
        ("Made", about.made_at),
        ("Proven by", about.head),
        ("Witnesses", ", ".join(about.witnesses) or "none yet"),
    ]


def html(about: About, figures: Figures) -> str:
    """The page."""
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts_about(about)
    )
    tiles = "".join(
        f"<li><b>{escape(number)}</b>{escape(name)}</li>" for name, number in headline(figures)
    )
    body = "".join(_table(table) for table in tables(figures))
    limits = "".join(f"<li>{escape(line)}</li>" for line in LIMITS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width">'
        f"<title>Audit report, {escape(about.period)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>Audit report</h1><dl>{facts}</dl></header><main>"
        f'<ul class="tiles">{tiles}</ul>{_chart(figures.total)}{body}'
        f"<section><h2>How to check this</h2><p>{HOW}</p>"
        f"<pre>{CHECK}</pre><p>{figures.evidence} pieces of signed evidence are in "
        f"<code>evidence.jsonl</code>; every number here follows from them.</p></section>"
        f"<section><h2>What it does not show</h2><ul>{limits}</ul></section></main></body></html>\n"
    )


def _measures(row: Row) -> list[str]:
    return [str(getattr(row, name)) for _, name in MEASURES]


def _table(table: Table) -> str:
    if not table.rows:
        inner = "<p class=none>None in this period.</p>"
    else:
        kinds = [" class=n" if numeric else "" for numeric in table.numeric]
        head = "".join(
            f'<th scope="col"{kind}>{escape(name)}</th>'
            for kind, name in zip(kinds, table.columns, strict=True)
        )
        rows = "".join(
            "<tr>"
            + "".join(f"<td{k}>{escape(text)}</td>" for k, text in zip(kinds, cells, strict=True))
            + "</tr>"
            for cells in table.rows
        )
        inner = (
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
            "</div>"
        )
    return f"<section><h2>{escape(table.title)}</h2><p>{escape(table.note)}</p>{inner}</section>"


def _chart(total: Row) -> str:
    values = [(title, int(getattr(total, name))) for title, name in MEASURES]
    largest = max((value for _, value in values), default=0) or 1
    bars = []
    for number, (title, value) in enumerate(values):
        top, wide = number * 26, 480 * value / largest
        bars.append(
            f'<text x="108" y="{top + 17}" text-anchor="end">{title}</text>'
            f'<rect x="116" y="{top + 3}" width="{wide:.1f}" height="18" rx="3"/>'
            f'<text x="{124 + wide:.1f}" y="{top + 17}">{value}</text>'
        )
    spoken = ", ".join(f"{title.lower()} {value}" for title, value in values)
    return (
        f'<section><h2>How far messages got</h2><svg viewBox="0 0 680 {len(values) * 26}" '
        f'role="img" aria-label="{escape(spoken)}">{"".join(bars)}</svg></section>'
    )


STYLE = """
:root{color-scheme:light;--ink:#1b2a33;--soft:#5a6b75;--line:#d5dde2;--tone:#1f5f7a;--back:#f4f7f8}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink)}
header{background:var(--tone);color:#fff;padding:2rem max(1rem,calc(50vw - 30rem))}
h1{margin:0 0 1rem;font-size:1.9rem}h2{font-size:1.2rem;margin:0 0 .2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt{opacity:.8}dd{margin:0;overflow-wrap:anywhere}
main{padding:1.5rem max(1rem,calc(50vw - 30rem))}section{margin:0 0 2rem}
section>p{margin:.1rem 0 .7rem;color:var(--soft)}.none{font-style:italic}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(6.2rem,1fr));gap:.7rem;padding:0;
list-style:none;margin:0 0 2rem}
.tiles li{background:var(--back);border:1px solid var(--line);border-radius:.5rem;padding:.7rem;
color:var(--soft);font-size:.9rem}
.tiles b{display:block;font-size:1.5rem;color:var(--ink);font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th{text-align:start;border-bottom:2px solid var(--tone);padding:.35rem .5rem;white-space:nowrap}
td{border-bottom:1px solid var(--line);padding:.35rem .5rem}
td.n,th.n{text-align:end;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{width:100%;max-width:42rem;font:13px system-ui,sans-serif;fill:var(--ink)}
svg rect{fill:var(--tone)}
pre{background:var(--back);border:1px solid var(--line);padding:.7rem;overflow-x:auto}
@media print{header{background:none;color:inherit;padding:0 0 1rem}main{padding:0}
section{break-inside:avoid}}
"""
