"""The parts of the documents that are written from the code: `python -m tests.support.pages`.

A page has blocks between `<!-- from the code: NAME -->` and `<!-- end -->`. The program writes
them anew; a test compares. What is written by hand stands outside.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel

from broker.cli.publishing.drawing import drawn, moves_of
from broker.cli.terminal.alarms import ALARMS
from broker.rules.content import RULES
from broker.rules.content.exceptions import MINIMUM, MINIMUM_VIEW
from keys.lifecycle import MOVES
from schemas import agreement, audit, consent, directory, envelope, evidence, message, revocation
from schemas.catalogue import FAMILIES, catalogue, elsewhere
from schemas.directory import KeyStatus
from schemas.families.base import PARTICIPANTS, Chapter, MessageType, Precondition
from schemas.families.expected import expected_sections
from schemas.machine import Machine
from schemas.obligations import OBLIGATION
from schemas.sections.index import SECTION_INDEX
from schemas.states import MACHINES
from tests.support.exchanges import tried_by

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(
    r"(?P<head><!-- from the code: (?P<name>[a-z -]+) -->\n)(?P<text>.*?)(?P<tail><!-- end -->)",
    re.DOTALL,
)


# --- State machines ---------------------------------------------------------------------------


def diagram(machine: Machine) -> str:
    """A machine as a picture, and the same as a table for whoever cannot see it."""
    lines = [
        f"![The states of {machine.name}](diagrams/{machine.name}.svg)",
        "",
        "<details><summary>The same as a table</summary>",
        "",
        "| event | by | from | to |",
        "|---|---|---|---|",
    ]
    for move in moves_of(machine):
        origin = ", ".join(f"`{state}`" for state in move.sources)
        if set(move.sources) == machine.states - machine.terminal:
            origin = "every open state"
        stays = set(move.sources) == {move.target}
        target = "stays" if stays else f"`{move.target}`"
        lines.append(f"| `{move.event}` | {move.who} | {origin} | {target} |")
    lines += ["", "</details>"]
    if machine.paused:
        stops = ", ".join(f"`{state}`" for state in sorted(machine.paused))
        lines += ["", f"The deadline stands still in {stops}."]
    return "\n".join(lines)


DRAWN = (*MACHINES.values(), OBLIGATION)


def pictures() -> dict[str, str]:
    """The files of `docs/diagrams`, by name."""
    return {f"{machine.name}.svg": drawn(machine) for machine in DRAWN}


def key_diagram() -> str:
    """The life of a published key."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {KeyStatus.PENDING}"]
    lines += [
        f"    {status} --> {following}"
        for status, after in MOVES.items()
        for following in KeyStatus
        if following in after
    ]
    lines += [f"    {status} --> [*]" for status, after in MOVES.items() if not after]
    return "\n".join((*lines, "```"))


# --- Fields -----------------------------------------------------------------------------------

_NAMED = {
    "Instant": "time",
    "B64Bytes": "base64url",
    "B64Text": "base64url",
    "ParticipantId": "participant",
    "KeyId": "key id",
    "Digest": "SHA-256",
    "Scope": "blinded scope",
    "ShortText": "text, 200",
    "FreeText": "text, 20 000",
    "UUID": "UUID",
    "SectionId": "section",
    "TypeName": "type name",
    "CaseRef": "case number",
}


def fields(model: type[BaseModel]) -> str:
    """One model as a table: wire name, form, whether it may be left out, meaning."""
    written = _annotations(model)
    rows = ["| field | form | |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        form, meaning = written[name]
        may = "" if info.is_required() else "may be absent"
        note = "; ".join(part for part in (may, meaning) if part)
        rows.append(f"| `{info.alias or name}` | {form} | {note} |")
    heading = (inspect.getdoc(model) or "").splitlines()[0]
    return "\n".join((f"**`{model.__name__}`** {heading}", "", *rows))


class _Spelt(ast.NodeTransformer):
    """Puts a pattern where the source has only its name."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def visit_keyword(self, node: ast.keyword) -> ast.keyword:
        if node.arg == "pattern" and isinstance(node.value, ast.Name):
            return ast.keyword(node.arg, ast.Constant(str(self._names[node.value.id])))
        return node


def _annotations(model: type[BaseModel]) -> dict[str, tuple[str, str]]:
    """What the source says of each field: its type as written, and the text below it."""
    names = vars(sys.modules[model.__module__])
    tree = _Spelt(names).visit(ast.parse(textwrap.dedent(inspect.getsource(model)))).body[0]
    if not isinstance(tree, ast.ClassDef):
        raise TypeError(f"{model.__name__} is not written as a class")
    found: dict[str, tuple[str, str]] = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = ""
            if (
                isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                text = " ".join(following.value.value.split())
            found[node.target.id] = (_form(node.annotation), text)
    return found


def _form(node: ast.expr) -> str:
    """A type in the words of a table."""
    text = ast.unparse(node)
    rules = dict(re.findall(r"\b(ge|le|min_length|max_length)=([0-9_A-Z* -]+)", text))
    pattern = re.search(r"pattern=(?:r)?'([^']*)'", text)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated":
        inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) else node.slice
        form = _form(inner)
        if pattern is not None:
            form = f"text `{pattern.group(1)}`".replace("|", "\\|")
        low, high = (
            rules.get("min_length") or rules.get("ge"),
            rules.get("max_length") or rules.get("le"),
        )
        if low and high:
            form += f", {low} to {high}"
        elif low or high:
            form += f", at least {low}" if low else f", at most {high}"
        return form
    if isinstance(node, ast.BinOp):
        return f"{_form(node.left)} or null"
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value)
        if outer == "tuple":
            items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            open_ended = ast.unparse(items[-1]) == "..."
            return ("array of " if open_ended else f"array of {len(items)} ") + _form(items[0])
        if outer == "Literal":
            values = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return " or ".join(f"`{ast.literal_eval(value)}`" for value in values)
        if outer == "dict":
            return "object"
    return _NAMED.get(text, {"int": "integer", "str": "text", "bool": "boolean"}.get(text, text))


_OBJECTS: Mapping[str, tuple[type[BaseModel], ...]] = MappingProxyType(
    {
        "envelope fields": (
            envelope.Envelope,
            envelope.Stream,
            envelope.ConsentTag,
            envelope.Part,
            envelope.Jwe,
            envelope.AttachmentRef,
        ),
        "sealed fields": (
            message.CaseworkPart,
            message.CompartmentPart,
            message.ScopeEntry,
            message.AttachmentKey,
            message.ExceptionUse,
        ),
        "evidence fields": (
            evidence.Evidence,
            evidence.FactStatement,
            evidence.StoreErasure,
        ),
        "consent fields": (
            consent.GrantStatement,
            consent.ConsentRecord,
            consent.ScopeGrant,
            consent.GuardianDecision,
        ),
        "agreement fields": (
            agreement.Agreement,
            agreement.TransferBasis,
            agreement.AnswerDeadline,
            agreement.Suspension,
            revocation.Revocation,
        ),
        "directory fields": (directory.Participant, directory.PublishedKey),
        "log fields": (audit.Leaf, audit.Opening),
    }
)


def _tables(models: tuple[type[BaseModel], ...]) -> str:
    return "\n\n".join(fields(model) for model in models)


def _words() -> str:
    """The closed lists that the fields above refer to."""
    lists = (
        envelope.Lane,
        envelope.Kind,
        evidence.Fact,
        evidence.Store,
        evidence.Erasure,
        consent.Purpose,
        consent.ConsentStatus,
        directory.OrganisationKind,
        directory.Function,
        directory.Compartment,
        directory.KeyUse,
        directory.KeyStatus,
    )
    rows = ["| form | values |", "|---|---|"]
    rows += [
        f"| `{one.__name__}` | {', '.join(f'`{member.value}`' for member in one)} |"
        for one in lists
    ]
    return "\n".join(rows)


# --- Content rules ----------------------------------------------------------------------------


def content_rules() -> str:
    """Every rule: its id, what it says, where that stands, and what it answers with."""
    lines = ["| rule | says | stands on | |", "|---|---|---|---|"]
    lines += [
        f"| `{rule.id}` | {rule.says} | {rule.source} | {'silent' if rule.silent else ''} |"
        for rule in RULES
    ]
    return "\n".join(lines)


def exception_minimum() -> str:
    """What each code opens at most."""
    lines = ["| code | sections |", "|---|---|"]
    for code, sections in MINIMUM.items():
        views = {name: view for (other, name), view in MINIMUM_VIEW.items() if other == code}
        shown = [
            f"`{name}`" + (f" (as `{views[name]}`)" if name in views else "")
            for name in sorted(sections)
        ]
        lines.append(f"| `{code}` | {', '.join(shown)} |")
    return "\n".join(lines)


def consent_kinds() -> str:
    """Which purposes each of the four consents covers."""
    lines = ["| consent | purposes |", "|---|---|"]
    for kind in consent.ConsentKind:
        found = [f"`{p}`" for p in consent.Purpose if consent.kinds_of([p]) == {kind}]
        lines.append(f"| `{kind}` | {', '.join(found)} |")
    return "\n".join(lines)


# --- The catalogue ----------------------------------------------------------------------------


def word_table() -> str:
    """Every word of the mechanism: who says it, when, with what, and where it is declared and tried."""
    lines = []
    for chapter in Chapter:
        lines += [
            f"### {chapter.value}",
            "",
            "| word | goes | needs | sections | answered by | within | declared, tried |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in catalogue.values():
            if row.chapter is chapter:
                lines.append(_word(row))
        for other in elsewhere.values():
            if other.chapter is chapter:
                lines.append(
                    f"| `{other.name}` | by {other.carrier} | – | – | – | – | "
                    f"[{Path(other.done_by).name}](../{other.done_by}) |"
                )
        lines.append("")
    return "\n".join(lines).rstrip()


def _word(row: MessageType) -> str:
    required = row.required_sections
    more = row.permitted_sections - required - row.child_sections
    asked = " ".join(f"**{_CODE[name]}**" for name in SECTION_INDEX if name in required)
    expected = expected_sections(row)
    hoped = " ".join(f"*{_CODE[name]}*" for name in SECTION_INDEX if name in expected)
    rest = " ".join(_CODE[name] for name in SECTION_INDEX if name in more - expected)
    may = f"{hoped} {'any' if '*' in more else rest}".strip()
    needs = ", ".join(item.value for item in Precondition if item in row.preconditions)
    within = "–"
    if row.deadline is not None:
        within = f"{row.deadline.text()} ({row.deadline.origin})"
    who = "" if row.who_may_send == PARTICIPANTS else f", {' or '.join(sorted(row.who_may_send))}"
    module = f"schemas/families/{_MODULES[row.name]}.py"
    tried, _, test = tried_by(row.name).partition("::")
    return " | ".join(
        (
            f"| [`{row.name}`](../schemas/published/examples/{row.name}.json)",
            f"{row.corridor.value}, {row.direction.value}{who}",
            needs or "nothing",
            f"{asked} {may}".strip() or "none",
            ", ".join(f"`{name}`" for name in row.replies) or "–",
            within,
            f"[{Path(module).stem}](../{module}), [`{Path(tried).name}::{test}`](../{tried}) |",
        )
    )


_CODE = {entry.id: entry.code for entry in SECTION_INDEX.values()}
_MODULES = {
    row.name: module.__name__.rsplit(".", 1)[1] for module in FAMILIES for row in module.TYPES
}


def alarm_table() -> str:
    """Every alarm of a gateway: what happened, and what to do."""
    rows = ["| code | what happened | do |", "|---|---|---|"]
    for code, one in ALARMS.items():
        mark = " *" if one.clears else ""
        happened, do = (
            re.sub(r"`docs/operations/(([a-z-]+)\.md[#a-z-]*)`", r"[\2](\1)", text)
            for text in (one.happened, one.do)
        )
        rows.append(f"| `{code}`{mark} | {happened} | {do} |")
    return "\n".join(rows)


BLOCKS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "catalogue": word_table,
        **{machine.name: partial(diagram, machine) for machine in DRAWN},
        "key": key_diagram,
        "words": _words,
        "content rules": content_rules,
        "alarms": alarm_table,
        "exceptions": exception_minimum,
        "consent kinds": consent_kinds,
        **{name: partial(_tables, models) for name, models in _OBJECTS.items()},
    }
)


def rewritten(page: str) -> str:
    """The page with each block as the code has it.

    Raises:
        KeyError: A block that nothing here writes.
    """
    return BLOCK.sub(
        lambda found: f"{found['head']}{BLOCKS[found['name']]()}\n{found['tail']}", page
    )


def names(page: str) -> list[str]:
    """The blocks that a page has."""
    return [found["name"] for found in BLOCK.finditer(page)]


if __name__ == "__main__":
    for name, picture in pictures().items():
        (DOCS / "diagrams" / name).write_text(picture, "utf-8")
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text("utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, "utf-8")
            sys.stdout.write(f"{path.name} written\n")
