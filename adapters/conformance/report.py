"""What the conformance run found, for a program, for a terminal, and for somebody to sign."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from typing import Any, Final, Literal

PASSED: Final = "passed"
FAILED: Final = "failed"
NOT_OFFERED: Final = "not offered"


@dataclass(frozen=True, slots=True)
class Result:
    """One promise, tried."""

    check: str
    promise: str
    outcome: Literal["passed", "failed", "not offered"]
    complaint: str | None = None
    """Why it failed: fields and codes, never what a case holds."""


@dataclass(frozen=True, slots=True)
class Report:
    """One run."""

    adapter: str
    memory: str
    skills: tuple[str, ...]
    version: str
    """Of this project, whose promises they are."""
    at: datetime
    seed: int
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """No promise was broken. What is not offered is not broken, but stands in the report."""
        return all(result.outcome != FAILED for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """Everything, and the digest that a signature on paper names."""
        value = {**asdict(self), "at": self.at.isoformat(timespec="seconds"), "passed": self.passed}
        return {**value, "digest": _digest(value)}

    def to_text(self) -> str:
        """For a terminal."""
        width = max(len(result.check) for result in self.results)
        lines = []
        for result in self.results:
            lines.append(f"{result.outcome:<11}  {result.check:<{width}}  {result.promise}")
            if result.complaint:
                lines.append(f"{'':<11}  {'':<{width}}  -> {result.complaint}")
        counts = {
            word: sum(result.outcome == word for result in self.results)
            for word in (PASSED, FAILED, NOT_OFFERED)
        }
        lines.append("")
        lines.append(", ".join(f"{count} {word}" for word, count in counts.items()))
        return "\n".join(lines)

    def to_html(self) -> str:
        """A page to print and sign. No script, no style from elsewhere."""
        value = self.to_json()
        rows = "\n".join(_row(result) for result in self.results)
        verdict = "Every promise was kept." if self.passed else "Promises were broken."
        facts = {
            "Adapter": self.adapter,
            "Keeps a referral from being filed twice by": self.memory,
            "Offers": ", ".join(self.skills) or "filing only",
            "Referral broker": self.version,
            "Tried at": value["at"],
            "Seed": str(self.seed),
            "Digest of the results": value["digest"],
        }
        return _PAGE.format(
            title=escape(f"Conformance of the adapter {self.adapter}"),
            verdict=verdict,
            tone="good" if self.passed else "bad",
            facts="\n".join(_fact(name, text) for name, text in facts.items()),
            rows=rows,
        )


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _fact(name: str, text: str) -> str:
    return f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"


def _row(result: Result) -> str:
    complaint = f"<br><em>{escape(result.complaint)}</em>" if result.complaint else ""
    mark = {PASSED: "good", FAILED: "bad", NOT_OFFERED: "none"}[result.outcome]
    return (
        f'<tr><td class="{mark}">{escape(result.outcome)}</td>'
        f"<td>{escape(result.promise)}{complaint}</td><td><code>{escape(result.check)}</code></td></tr>"
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 11pt/1.45 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }}
h1 {{ font-size: 1.5rem; margin-bottom: .2rem }}
dl {{ display: grid; grid-template-columns: fit-content(45%) 1fr; gap: .2rem 1.2rem }}
dt {{ color: #555 }} dd {{ margin: 0; overflow-wrap: anywhere }}
table {{ border-collapse: collapse; width: 100%; margin: 1.5rem 0 }}
th, td {{ text-align: start; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ddd }}
td:first-child {{ white-space: nowrap; font-weight: 600 }}
code {{ font-size: .8rem; color: #555 }}
.good {{ color: #146c2e }} .bad {{ color: #b3261e }} .none {{ color: #666 }}
.sign {{ display: grid; grid-template-columns: 1fr 1fr; gap: 2.5rem; margin-top: 3.5rem }}
.sign span {{ border-top: 1px solid #1a1a1a; padding-top: .3rem }}
tr {{ break-inside: avoid }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="{tone}"><strong>{verdict}</strong></p>
<dl>
{facts}
</dl>
<table>
<thead><tr><th>Result</th><th>Promise</th><th>Check</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>All cases that were filed are invented. They were removed again where the system allows it.</p>
<p class="sign"><span>Name, office</span><span>Place, date, signature</span></p>
</body>
</html>
"""
