"""The same report on paper (reportlab). Content and order are those of `broker.audit.bundle.report`.

In the languages whose letters the fonts of every PDF reader have. Arabic would need a font of its own
and its letters joined: its report is the page, printed from a browser.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import KeepTogether, LongTable, Paragraph, SimpleDocTemplate, Spacer

from broker.audit.bundle.figures import Figures, Row
from broker.audit.bundle.report import (
    CHECK,
    MEASURES,
    About,
    Table,
    Words,
    facts_about,
    headline,
    period,
    tables,
    words_of,
)

IN: Final = ("en", "fr")
"""Languages."""
INK, SOFT, TONE = HexColor("#1b2a33"), HexColor("#5a6b75"), HexColor("#1f5f7a")
LINE, BACK = HexColor("#d5dde2"), HexColor("#f4f7f8")
TEXT = ParagraphStyle("text", fontName="Helvetica", fontSize=9.5, leading=13, textColor=INK)
SMALL = ParagraphStyle("small", parent=TEXT, fontSize=8, leading=10)
NUMBER = ParagraphStyle("number", parent=SMALL, alignment=2)
NOTE = ParagraphStyle("note", parent=TEXT, textColor=SOFT, spaceAfter=4)
TITLE = ParagraphStyle("title", parent=TEXT, fontName="Helvetica-Bold", fontSize=20, leading=25)
HEADING = ParagraphStyle(
    "heading", parent=TEXT, fontName="Helvetica-Bold", fontSize=12, leading=16, spaceBefore=12
)
BIG = ParagraphStyle("big", parent=TEXT, fontName="Helvetica-Bold", fontSize=14, leading=17)
CODE = ParagraphStyle("code", parent=TEXT, fontName="Courier", fontSize=9, backColor=BACK)
WIDTH = landscape(A4)[0] - 36 * mm


def write_pdf(path: Path, about: About, figures: Figures, language: str) -> None:
    """Write the report in one of the languages that `IN` has; A4, each page with its number.

    Raises:
        OSError: The file cannot be written.
    """
    words = words_of(language)
    document = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=16 * mm,
        bottomMargin=16 * mm,
        title=f"{words['title']}, {_plain(period(about, words))}",
        author=about.hub,
        lang=language,
    )
    story = [
        *(Paragraph(words["title"], TITLE), _facts(about, words)),
        *(Spacer(1, 8), _tiles(figures, words)),
    ]
    chart = _chart(figures.total, words)
    story.append(KeepTogether([Paragraph(words["how_far"], HEADING), chart]))
    for table in tables(figures, words):
        story += [Paragraph(table.title, HEADING), Paragraph(escape(table.note), NOTE)]
        story.append(_table(table) if table.rows else Paragraph(words["none"], TEXT))
    story.append(
        KeepTogether(
            [
                Paragraph(words["check_title"], HEADING),
                Paragraph(words["check"], NOTE),
                Paragraph(CHECK, CODE),
                Paragraph(words["pieces"].format(count=figures.evidence), NOTE),
                Paragraph(words["limits_title"], HEADING),
                *(Paragraph(f"\u2022 {escape(line)}", TEXT) for line in words["limits"]),
            ]
        )
    )

    def footer(canvas: Canvas, _document: SimpleDocTemplate) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(SOFT)
        number = words["page"].format(number=canvas.getPageNumber())
        canvas.drawRightString(landscape(A4)[0] - 18 * mm, 9 * mm, number)

    document.build(story, onFirstPage=footer, onLaterPages=footer)


def _plain(text: str) -> str:
    """Without the marks around what runs from left to right: everything does here."""
    return text.replace("\u2066", "").replace("\u2069", "")


def _facts(about: About, words: Words) -> LongTable:
    rows = [
        [Paragraph(name, NOTE), Paragraph(escape(_plain(text)), TEXT)]
        for name, text in facts_about(about, words)
    ]
    return LongTable(
        rows,
        colWidths=[28 * mm, WIDTH - 28 * mm],
        style=[("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)],
    )


def _tiles(figures: Figures, words: Words) -> LongTable:
    cells = [
        [Paragraph(escape(number), BIG), Paragraph(escape(name), NOTE)]
        for name, number in headline(figures, words)
    ]
    return LongTable(
        [cells],
        colWidths=[WIDTH / len(cells)] * len(cells),
        style=[
            ("BACKGROUND", (0, 0), (-1, -1), BACK),
            ("BOX", (0, 0), (-1, -1), 0.5, LINE),
            ("INNERGRID", (0, 0), (-1, -1), 0.5, LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ],
    )


def _chart(total: Row, words: Words) -> Drawing:
    values = [(words["measures"][name], int(getattr(total, name))) for name in MEASURES]
    largest = max((value for _, value in values), default=0) or 1
    step, wide = 17, 420
    drawing = Drawing(WIDTH, step * len(values))
    for number, (title, value) in enumerate(values):
        bottom = step * (len(values) - number - 1)
        length = wide * value / largest
        drawing.add(String(72, bottom + 5, title, fontSize=9, textAnchor="end", fillColor=INK))
        drawing.add(Rect(80, bottom + 2, length, 12, fillColor=TONE, strokeColor=None))
        drawing.add(String(86 + length, bottom + 5, str(value), fontSize=9, fillColor=INK))
    return drawing


def _table(table: Table) -> LongTable:
    styles = [NUMBER if numeric else SMALL for numeric in table.numbers]
    head = [
        Paragraph(f"<font color='white'><b>{escape(name)}</b></font>", style)
        for name, style in zip(table.columns, styles, strict=True)
    ]
    rows = [
        [Paragraph(escape(text), style) for text, style in zip(cells, styles, strict=True)]
        for cells in table.rows
    ]
    return LongTable(
        [head, *rows],
        repeatRows=1,
        colWidths=[WIDTH / len(table.columns)] * len(table.columns),
        style=[
            ("BACKGROUND", (0, 0), (-1, 0), TONE),
            ("TEXTCOLOR", (0, 0), (-1, 0), white),
            ("LINEBELOW", (0, 1), (-1, -1), 0.5, LINE),
            ("ROWBACKGROUNDS", (0, 1), (-1, -1), [white, BACK]),
        ],
    )
