"""An adapter in a process of its own keeps the port's promises, and cannot harm its gateway."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import pytest

from adapters.base import CannotMap, CaseRecord, Filed, Memory, Skill, Tools
from adapters.conformance import CHECKS
from adapters.external import ExternalSystem, make
from schemas.errors import CaseSystemUnavailable, OutcomeUnknown, SchemaRefused

ID = UUID("0190a000-0000-7000-8000-000000000001")
CASE = CaseRecord("XA-1", {"case_admin": {"status": "Active"}})

PREAMBLE = """
import json, os, sys, time
json.loads(sys.stdin.readline())
def answer(request, **fields):
    print(json.dumps({"id": request["id"], **fields}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "describe":
        answer(request, gives={"name": "odd", "memory": MEMORY, "skills": SKILLS})
        continue
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ExternalSystem]:
    (tmp_path / "root").mkdir()
    system = make(
        {
            "command": [sys.executable, "-m", "adapters.serve", "files"],
            "settings": {"root": str(tmp_path / "root")},
        },
        Tools(),
    )
    yield system
    system.close()


def odd(
    body: str,
    *,
    memory: str = "lookup",
    skills: Iterable[Skill] = Skill,
    timeout: float = 20,
    tools: Tools | None = None,
) -> ExternalSystem:
    """A process that does what the body says to any request but `describe`."""
    program = (
        PREAMBLE.replace("MEMORY", repr(memory)).replace("SKILLS", repr([*map(str, skills)]))
        + "    "
        + dedent(body).strip().replace("\n", "\n    ")
    )
    command = [sys.executable, "-c", program]
    return make({"command": command, "timeout": timeout}, tools or Tools())


def test_it_conforms_like_the_system_behind_it(served: ExternalSystem) -> None:
    for check in CHECKS:
        if check.applies_to(served):
            check(served)
    assert (served.name, served.memory) == ("files", Memory.LOOKUP)


def test_cases_are_read_while_others_are_filed(served: ExternalSystem, tmp_path: Path) -> None:
    out = tmp_path / "root" / "out"
    out.mkdir()
    rows = "".join(f"XA-{number},Active\n" for number in range(40))
    (out / "cases.csv").write_text(f"x_case_ref,cas_Status\n{rows}XA-bad,Nonsense\n")
    cases = served.read_cases()
    first = next(cases)
    assert isinstance(served.file(ID, CASE), Filed)
    assert isinstance(first, CaseRecord)
    rest = list(cases)
    assert len([case for case in rest if isinstance(case, CaseRecord)]) == 39
    assert not isinstance(rest[-1], CaseRecord)


@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(600)",
        "os._exit(1)",
        "print('not json', flush=True)",
        "print('{}', flush=True)",
        "print(json.dumps({'id': 99, 'gives': None}), flush=True)",
        "answer(request, gives={'outcome': 'perhaps'})",
        "answer(request, gives={'outcome': 'filed', 'reference': 'a\\nb'})",
        "answer(request)",
        "print('[' * 100000, flush=True)",
        "print('9' * (9 << 20), flush=True)",
        'sys.stdout.write(\'{"id": 2, "gives": {"outcome": "fi\'); sys.stdout.flush(); os._exit(0)',
        "while True: answer(request, need='sign_request', **{'with': {}})",
    ],
    ids=[
        "hangs",
        "dies",
        "not-json",
        "empty",
        "another-id",
        "unknown-outcome",
        "broken-reference",
        "no-answer",
        "too-deep",
        "endless-line",
        "dies-in-the-middle-of-its-answer",
        "asks-for-ever",
    ],
)
@pytest.mark.parametrize(
    ("memory", "error"), [("lookup", CaseSystemUnavailable), ("none", OutcomeUnknown)]
)
def test_silence_is_repeated_only_where_repeating_is_safe(
    body: str, memory: str, error: type[Exception]
) -> None:
    system = odd(body, memory=memory, timeout=1.0)
    with pytest.raises(error):
        system.file(ID, CASE)
    system.close()


def test_a_process_that_does_not_read_is_not_waited_for_for_ever() -> None:
    large = CaseRecord("XA-1", {"case_narrative": {"case_comment": "invented " * 40_000}})
    program = (
        PREAMBLE.replace("MEMORY", "'none'")
        .replace("SKILLS", "[]")
        .replace("for line in sys.stdin:", "for n in range(1):")
    ).replace("json.loads(line)", "json.loads(sys.stdin.readline())")
    command = [sys.executable, "-c", program + "    pass\ntime.sleep(600)\n"]
    system = make({"command": command, "timeout": 1.0}, Tools())
    with pytest.raises(OutcomeUnknown):
        system.file(ID, large)
    system.close()


def test_what_it_prints_on_its_error_stream_reaches_nobody(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    system = odd(
        """
        name = json.dumps(request["with"]["case"]["sections"], ensure_ascii=False)
        for _ in range(2000):
            print("cannot file", name * 10, file=sys.stderr, flush=True)
        answer(request, gives={"outcome": "filed", "reference": "7"})
        """
    )
    case = CaseRecord("XA-1", {"identity_core": {"first_name": "Zmyślona-Nobody"}})
    assert system.file(ID, case) == Filed("7")
    system.close()
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Nobody" not in said


def test_a_process_that_says_more_than_is_read_waits() -> None:
    """What is read ahead is bounded, so that a file of any length costs the memory of a few rows."""
    system = odd(
        """
        case = {"case_ref": "XA-1", "sections": {"case_narrative": {"case_comment": "x" * 100000}}}
        for number in range(3000):
            answer(request, item={"case": case})
        answer(request, gives=None)
        """
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cases = system.read_cases()
    next(cases)
    assert sum(1 for _ in cases) == 2999
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 60, grown  # MiB; all of it would be 300


def test_a_process_is_not_asked_for_what_it_does_not_offer() -> None:
    """An author writes the acts that his system has, and no others."""
    system = odd('raise SystemExit("asked")', skills=())
    check = next(each for each in CHECKS if each.name == "says_what_it_does_not_offer")
    check(system)
    assert system.read("7") is None
    system.close()


def test_a_path_with_capitals_passes_and_a_name_does_not() -> None:
    where = [
        "Patient.name[0]",
        "prs_FirstName: unknown-code",
        "Patient: not-read",
        "Zmyslona",
        "Zmyslona Nobody",
        "identity_core.birthdate",
    ]
    system = odd(f'answer(request, gives={{"outcome": "cannot_map", "where": {where!r}}})')
    answer = system.file(ID, CASE)
    assert isinstance(answer, CannotMap)
    assert answer.where == (*where[:3], "unreadable", "unreadable", where[5])
    system.close()


def test_after_it_died_it_is_started_anew(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    system = odd(
        f"""
        if not os.path.exists({str(mark)!r}):
            open({str(mark)!r}, "w").close()
            os._exit(1)
        answer(request, gives={{"outcome": "filed", "reference": "7"}})
        """
    )
    with pytest.raises(CaseSystemUnavailable):
        system.file(ID, CASE)
    assert system.file(ID, CASE) == Filed("7")
    system.close()


def test_no_text_of_a_case_comes_back_as_a_code_or_a_path() -> None:
    system = odd(
        """
        name = request["with"]["case"]["case_ref"]
        answer(request, gives={"outcome": "cannot_map", "where": [f"Name {name}!", "a.b: too-long"]})
        """
    )
    assert system.file(ID, CASE) == CannotMap(("unreadable", "a.b: too-long"))
    system.close()


def test_it_sees_nothing_of_the_gateways_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_GATEWAY", "1")
    system = odd(
        """
        names = sorted(os.environ)
        answer(request, gives={"outcome": "filed", "reference": ",".join(names)})
        """
    )
    seen = system.file(ID, CASE)
    assert isinstance(seen, Filed)
    assert set(seen.reference.split(",")) <= {"PATH", "LANG", "LC_CTYPE"}
    system.close()


def test_it_borrows_tools_and_never_a_key() -> None:
    lent = Tools(sign_request=lambda method, url, headers, body: {"signature": f"{method} {url}"})
    body = """
    given = {"method": "POST", "url": "https://x", "headers": {}, "body": ""}
    answer(request, need=TOOL, **{"with": given})
    got = json.loads(sys.stdin.readline())
    answer(request, gives={"outcome": "filed", "reference": json.dumps(got.get("lends", "no"))})
    """
    for tool, seen in (("sign_request", {"signature": "POST https://x"}), ("private_key", "no")):
        system = odd(body.replace("TOOL", repr(tool)), tools=lent)
        answer = system.file(ID, CASE)
        assert isinstance(answer, Filed)
        assert json.loads(answer.reference) == seen
        system.close()


def test_wrong_settings_are_named() -> None:
    for settings, name in (
        ({}, "command"),
        ({"command": "ls"}, "command"),
        ({"command": ["ls"], "timeout": 0}, "timeout"),
        ({"command": ["ls"], "settings": 3}, "settings"),
        ({"command": ["ls"], "colour": 3}, "colour"),
    ):
        with pytest.raises(SchemaRefused) as refused:
            make(settings, Tools())
        assert refused.value.where == (name,)
    with pytest.raises(CaseSystemUnavailable):
        make({"command": ["/nowhere/program"]}, Tools()).check()
