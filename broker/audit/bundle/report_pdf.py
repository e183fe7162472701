"""The same report on paper (reportlab). Content and order are those of `broker.audit.bundle.report`."""

from __future__ import annotations

from pathlib import Path
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
    HOW,
    LIMITS,
    MEASURES,
    About,
    Table,
    facts_about,
    headline,
    tables,
)

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


def write_pdf(path: Path, about: About, figures: Figures) -> None:
    """Write the report; A4, each page with its number.

    Raises:
        OSError: The file cannot be written.
    """
    document = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=16 * mm,
        bottomMargin=16 * mm,
        title=f"Audit report, {about.period}",
        author=about.hub,
    )
    story = [Paragraph("Audit report", TITLE), _facts(about), Spacer(1, 8), _tiles(figures)]
    story.append(KeepTogether([Paragraph("How far messages got", HEADING), _chart(figures.total)]))
    for table in tables(figures):
        story += [Paragraph(table.title, HEADING), Paragraph(escape(table.note), NOTE)]
        story.append(_table(table) if table.rows else Paragraph("None in this period.", TEXT))
    story.append(
        KeepTogether(
            [
                Paragraph("How to check this", HEADING),
                Paragraph(HOW, NOTE),
                Paragraph(CHECK, CODE),
                Paragraph(
                    f"{figures.evidence} pieces of signed evidence are in evidence.jsonl; every "
                    "number here follows from them.",
                    NOTE,
                ),
                Paragraph("What it does not show", HEADING),
                *(Paragraph(f"\u2022 {escape(line)}", TEXT) for line in LIMITS),
            ]
        )
    )
    document.build(story, onFirstPage=_footer, onLaterPages=_footer)


def _footer(canvas: Canvas, _document: SimpleDocTemplate) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(SOFT)
    canvas.drawRightString(landscape(A4)[0] - 18 * mm, 9 * mm, f"page {canvas.getPageNumber()}")


def _facts(about: About) -> LongTable:
    rows = [
        [Paragraph(name, NOTE), Paragraph(escape(text), TEXT)] for name, text in facts_about(about)
    ]
    return LongTable(
        rows,
        colWidths=[28 * mm, WIDTH - 28 * mm],
        style=[("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1)],
    )


def _tiles(figures: Figures) -> LongTable:
    cells = [
        [Paragraph(escape(number), BIG), Paragraph(escape(name), NOTE)]
        for name, number in headline(figures)
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


def _chart(total: Row) -> Drawing:
    values = [(title, int(getattr(total, name))) for title, name in MEASURES]
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
    styles = [NUMBER if numeric else SMALL for numeric in table.numeric]
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
