"""The files adapter promises: filed once, whole or not at all, whatever is killed or full."""

from __future__ import annotations

import csv
import errno
import io
import os
import shutil
import signal
import stat
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import CaseRecord, Declined, Filed, NationalSystem, RejectedRow, Skill, Tools
from adapters.conformance import CHECKS, Check, full_case
from adapters.registry import adapter_names, open_adapter
from adapters.systems.files import FilesSystem, make
from adapters.systems.files.records import MAX_RECORD
from schemas.errors import CaseSystemUnavailable, NotFound, SchemaRefused

ID = UUID("0190a000-0000-7000-8000-000000000001")
# Later Pythons warn when a process with threads forks; the child here only writes files and dies.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

SAMPLE = Path(__file__).parents[3] / "adapters/systems/files/samples/italy-invented.csv"


@pytest.fixture
def system(tmp_path: Path) -> FilesSystem:
    return make({"root": tmp_path}, Tools())


@pytest.mark.parametrize(
    "check",
    [each for each in CHECKS if Skill.CANDIDATES not in each.needs],
    ids=lambda check: check.name,
)
def test_the_files_adapter_conforms(check: Check, system: FilesSystem) -> None:
    check(system)


def test_the_registry_opens_it_by_name(tmp_path: Path) -> None:
    assert "files" in adapter_names()
    system = open_adapter("files", {"root": str(tmp_path)})
    assert isinstance(system, NationalSystem)
    assert system.name == "files"
    system.check()


def test_an_unknown_adapter_and_a_wrong_setting_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_adapter("nothing-of-this-name", {})
    for settings in ({}, {"root": 7}, {"root": tmp_path, "colour": "red"}):
        with pytest.raises(SchemaRefused):
            open_adapter("files", settings)


def test_a_missing_folder_is_unavailable_and_not_made(tmp_path: Path) -> None:
    system = make({"root": tmp_path / "missing"}, Tools())
    with pytest.raises(CaseSystemUnavailable):
        system.check()
    with pytest.raises(CaseSystemUnavailable):
        system.file(ID, full_case())
    assert not (tmp_path / "missing").exists()


def files_of(system: FilesSystem) -> list[str]:
    """Everything that filing has left on the disk."""
    return [path.name for path in sorted(system.root.rglob("*")) if path.is_file()]


# --- The sample ------------------------------------------------------------------------------------


def test_every_person_of_the_sample_is_invented_and_says_so(system: FilesSystem) -> None:
    found = list(system.read_cases(SAMPLE))
    cases = [case for case in found if isinstance(case, CaseRecord)]
    assert len(cases) == len(found) >= 12
    for case in cases:
        assert case.invented
        assert case.case_ref.startswith("IT-DEMO-")
        assert case.sections["identity_core"]["first_name"].startswith("Invented")
        phone = case.sections["contact_location"].get("mobile_phone", "+447700900")
        assert phone.startswith("+447700900")


def test_the_sample_is_filed_and_read_back_whole(system: FilesSystem) -> None:
    cases = [case for case in system.read_cases(SAMPLE) if isinstance(case, CaseRecord)]
    batch = [(UUID(int=number), case) for number, case in enumerate(cases)]
    for (business_id, case), filed in zip(batch, system.file_many(batch), strict=True):
        assert isinstance(filed, Filed)
        assert not filed.already
        there = system.read(filed.reference)
        assert there is not None
        assert there.business_id == business_id
        assert there.sections == case.sections


def test_a_country_that_changes_over_to_workbooks_does_not_get_its_cases_twice(
    system: FilesSystem,
) -> None:
    plain = system.file(ID, full_case())
    assert isinstance(plain, Filed)
    workbooks = make({"root": system.root, "writes": "xlsx"}, Tools())
    assert workbooks.find(ID) == Filed(plain.reference, already=True)
    assert workbooks.file(ID, full_case()) == Filed(plain.reference, already=True)
    other = replace(full_case(), sections={"identity_core": {"first_name": "Another"}})
    assert workbooks.file(ID, other) == Declined("id-conflict")
    new = workbooks.file(UUID(int=9), full_case())
    assert new == Filed(f"{UUID(int=9)}.xlsx")
    assert system.update(f"{UUID(int=9)}.xlsx", other) == Filed(f"{UUID(int=9)}.xlsx", already=True)
    there = system.read(f"{UUID(int=9)}.xlsx")
    assert there is not None
    assert there.sections == other.sections
    assert len(files_of(system)) == 2


def test_one_batch_that_names_a_referral_twice_files_the_first(system: FilesSystem) -> None:
    other = replace(full_case(), sections={"identity_core": {"first_name": "Another"}})
    first, second = system.file_many([(ID, full_case()), (ID, other)])
    assert first == Filed(f"{ID}.csv")
    assert second == Declined("id-conflict")
    there = system.read(f"{ID}.csv")
    assert there is not None
    assert there.sections == full_case().sections


# --- Killed at every line ----------------------------------------------------------------------------

STEPS = ("open", "write", "fsync", "link", "replace", "rename", "unlink")


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Run `act` in a child that kills itself just before its nth change to the disk.

    Returns True if it was killed, False if it came to its end.
    """
    child = os.fork()
    if child == 0:
        count = 0

        def counted(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **more: object) -> object:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **more)

            return call

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            act()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def every_kill(prepare: Callable[[], object], act: Callable[[], object]) -> Iterator[int]:
    """Yields after each kill, for the caller to look at the wreck; ends when `act` survives."""
    for step in range(1, 100):
        prepare()
        if not killed_at(step, act):
            assert step > 4, "nothing was killed"
            return
        yield step
    raise AssertionError("never came to an end")


def test_a_kill_while_filing_leaves_nothing_or_the_whole_case(system: FilesSystem) -> None:
    case = full_case()
    seen = set()
    for _ in every_kill(partial(system.erase, f"{ID}.csv"), partial(system.file, ID, case)):
        found = system.find(ID)
        seen.add(found is not None)
        if found is None:
            assert files_of(system) == []
        if found is not None:
            there = system.read(found.reference)
            assert there is not None
            assert there.sections == case.sections
        again = system.file(ID, case)
        assert isinstance(again, Filed)
        assert again.already is (found is not None)
        assert files_of(system) == [f"{ID}.csv"]
    assert seen == {True, False}


def test_a_kill_while_updating_leaves_the_old_or_the_new_case(system: FilesSystem) -> None:
    old, new = full_case(), replace(full_case(), sections={"case_admin": {"status": "Closed"}})

    def prepare() -> None:
        system.erase(f"{ID}.csv")
        system.file(ID, old)

    seen = set()
    for _ in every_kill(prepare, lambda: system.update(f"{ID}.csv", new)):
        there = system.read(f"{ID}.csv")
        assert there is not None
        assert there.sections in (old.sections, new.sections)
        seen.add(there.sections == new.sections)
    assert seen == {True, False}


def test_a_kill_while_erasing_is_mended_by_erasing_again(system: FilesSystem) -> None:
    def prepare() -> None:
        system.file(ID, full_case())
        assert killed_at(4, lambda: system.file(UUID(int=7), full_case()))
        assert any(str(UUID(int=7)) in name for name in files_of(system))

    for step in (1, 2, 3, 4, 5, 6):
        prepare()
        killed_at(step, lambda: system.erase(f"{ID}.csv"))
        system.erase(f"{ID}.csv")
        assert not any(str(ID) in name for name in files_of(system))
        assert system.find(UUID(int=7)) is None
        assert files_of(system) == []


# --- Files that are dropped ------------------------------------------------------------------------

ROWS = b"x_case_ref,prs_FirstName,x_invented\r\nXA-1,A,yes\r\nXA-2,=B,yes\r\nXA 3,C,yes\r\n"


def drop(system: FilesSystem, name: str, content: bytes, *, age: float = 3600) -> None:
    (system.root / "out").mkdir(exist_ok=True)
    path = system.root / "out" / name
    path.write_bytes(content)
    then = time.time() - age
    os.utime(path, (then, then))


def everywhere(system: FilesSystem) -> list[tuple[str, bytes]]:
    """The dropped files, wherever they are now."""
    folders = ("out", "taken", "done")
    found = [path for folder in folders for path in (system.root / folder).glob("*")]
    return [(path.parent.name, path.read_bytes()) for path in found]


def test_a_dropped_file_is_taken_read_and_put_aside_and_its_bad_rows_lie_beside(
    system: FilesSystem,
) -> None:
    drop(system, "cases.csv", ROWS)
    (file,) = system.dropped.take()
    assert file.name == "cases.csv"
    found = [item.case_ref if isinstance(item, CaseRecord) else item.line for item in file.cases()]
    assert found == ["XA-1", "XA-2", 4]
    assert file.put_aside()
    assert everywhere(system) == [("done", ROWS)]
    (rejected,) = (system.root / "rejected").glob("*-cases.csv")
    assert "x_case_ref: bad-form" in rejected.read_text()
    assert system.dropped.take() == []


@pytest.mark.parametrize(
    ("content", "age", "taken"),
    [
        (ROWS, 1, False),  # changed a moment ago
        (ROWS, 10, True),
        (ROWS[:-9], 10, False),  # cut off in the middle of a row
        (ROWS[:-9], 120, True),  # and left so: told as truncated
        (b"", 10, False),
    ],
)
def test_a_file_that_still_grows_is_left_alone(
    system: FilesSystem, content: bytes, age: float, taken: bool
) -> None:
    drop(system, "cases.csv", content, age=age)
    assert system.dropped.unfinished() == (() if taken else ("cases.csv",))
    assert bool(system.dropped.take()) is taken


def test_links_and_lock_files_are_not_taken(system: FilesSystem, tmp_path: Path) -> None:
    drop(system, "~$cases.xlsx", b"PK")
    drop(system, ".cases.csv", ROWS)
    (tmp_path / "secret.csv").write_bytes(ROWS)
    (system.root / "out/link.csv").symlink_to(tmp_path / "secret.csv")
    assert system.dropped.take() == []


def test_what_was_added_while_it_was_read_is_read_again(system: FilesSystem) -> None:
    drop(system, "cases.csv", ROWS)
    (file,) = system.dropped.take()
    list(file.cases())
    with file.path.open("ab") as growing:
        growing.write(b"XA-4,D,yes\r\n")
    assert not file.put_aside()
    (again,) = system.dropped.take()
    assert len(list(again.cases())) == 4
    assert again.put_aside()


def test_a_file_that_is_no_case_file_is_kept_with_the_reason_beside_it(system: FilesSystem) -> None:
    drop(system, "cases.csv", b"name\r\nSECRET\r\n")
    (file,) = system.dropped.take()
    with pytest.raises(SchemaRefused) as caught:
        list(file.cases())
    file.refuse(caught.value)
    kept = {path.suffix: path.read_text() for path in (system.root / "rejected").iterdir()}
    assert kept[".csv"].endswith("SECRET\n")
    assert "missing: x_case_ref" in kept[".txt"]
    assert "SECRET" not in kept[".txt"]
    assert system.dropped.take() == []


def test_two_files_of_one_name_are_both_kept(system: FilesSystem) -> None:
    for rows in (ROWS, ROWS.replace(b"XA-1", b"XA-9")):
        drop(system, "cases.csv", rows)
        (file,) = system.dropped.take()
        list(file.cases())
        assert file.put_aside()
    assert len(everywhere(system)) == 2


def test_a_kill_between_any_two_steps_loses_no_dropped_row(system: FilesSystem) -> None:
    def deal_with() -> None:
        for file in system.dropped.take():
            list(file.cases())
            file.put_aside()

    def prepare() -> None:
        for folder in ("taken", "done", "out", "rejected"):
            shutil.rmtree(system.root / folder, ignore_errors=True)
        drop(system, "cases.csv", ROWS)

    places = set()
    for _ in every_kill(prepare, deal_with):
        ((place, content),) = everywhere(system)  # whole, and once
        assert content == ROWS
        places.add(place)
        deal_with()
        assert everywhere(system) == [("done", ROWS)]
    assert places == {"out", "taken", "done"}


# --- A disk that is full, or cannot be written ---------------------------------------------------------


def test_a_full_disk_is_unavailable_and_leaves_nothing(
    system: FilesSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "SECRET")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(CaseSystemUnavailable) as caught:
            system.file(ID, full_case())
    assert "SECRET" not in str(caught.value)
    assert files_of(system) == []
    assert isinstance(system.file(ID, full_case()), Filed)


def test_a_folder_that_is_no_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a file")
    system = make({"root": tmp_path}, Tools())
    with pytest.raises(CaseSystemUnavailable):
        system.file(ID, full_case())


def test_a_case_edited_by_hand_to_nonsense_is_refused_and_not_guessed(system: FilesSystem) -> None:
    assert isinstance(system.file(ID, full_case()), Filed)
    (system.root / "in" / f"{ID}.csv").write_text("nonsense\n")
    with pytest.raises(SchemaRefused):
        system.read(f"{ID}.csv")


def test_filed_cases_are_for_the_owner_alone(system: FilesSystem) -> None:
    system.file(ID, full_case())
    folder = system.root / "in"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / f"{ID}.csv").stat().st_mode) == 0o600


def test_a_case_larger_than_a_record_is_not_filed(system: FilesSystem) -> None:
    text = "x" * 20_000
    services = [{"service": "other", "outcome": text}] * 40
    assessments = [{"finding": text}] * 20
    case = CaseRecord(
        "XA-1",
        {
            "services_support": {"services": services},
            "vulnerability_needs": {"assessments": assessments},
        },
    )
    answer = system.file(ID, case)
    assert not isinstance(answer, Filed | Declined)
    assert system.find(ID) is None


# --- Reading what others wrote -----------------------------------------------------------------------

FRAGMENTS = [
    *(b"XA-1", b"XA-2", b",", b",,", b"\n", b"\r\n", b'"', b'""', b"1990-05-17", b"33012"),
    *(b"\xef\xbb\xbf", b"\0", b"{", b'"{""identity_core"":{}}"', b"+39", b"IT;AL", b"=1", b"'"),
]
HEADER_WITH_MORE = (
    b"x_case_ref,prs_FirstName,prs_Birthdate,prs_MobilePhone,prs_Citizenship,x_more\n"
)
HEADER = "x_case_ref,prs_FirstName,prs_Birthdate\r\n"


def test_rejected_rows_are_kept_with_line_and_reason_for_the_owner_alone(
    system: FilesSystem, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    rows = "XA-1,Invented A,1990\r\nXA-2,Invented B,1/2/1990\r\nXA-1,Invented C,1991\r\nXA-3,D\r\n"
    (out / "cases.csv").write_bytes(b"\xef\xbb\xbf" + (HEADER + rows).encode() + b"XA-4,\0,\r\n")
    found = list(system.read_cases())
    assert [case.case_ref for case in found if isinstance(case, CaseRecord)] == ["XA-1"]
    assert [(r.line, r.reasons) for r in found if isinstance(r, RejectedRow)] == [
        (3, ("prs_Birthdate: date-ambiguous",)),
        (4, ("x_case_ref: twice-in-this-file",)),
        (5, ("row: wrong-number-of-cells",)),
        (6, ("row: nul",)),
    ]
    kept = tmp_path / "rejected" / "cases.csv"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with kept.open(newline="") as file:
        lines = list(csv.reader(line.replace("\0", "?") for line in file))
    assert lines[1] == ["3", "prs_Birthdate: date-ambiguous", "XA-2,Invented B,1/2/1990"]
    assert len(lines) == 5


def test_a_corrected_file_leaves_no_old_rejections(system: FilesSystem, tmp_path: Path) -> None:
    source = tmp_path / "cases.csv"
    for rows in ("XA-1,A,nonsense\r\n", "XA-1,A,1990\r\n"):
        source.write_text(HEADER + rows)
        list(system.read_cases(source))
    assert not (tmp_path / "rejected" / "cases.csv").exists()


def test_a_missing_file_and_an_empty_one_are_told_apart(
    system: FilesSystem, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        list(system.read_cases(tmp_path / "missing.csv"))
    with pytest.raises(SchemaRefused, match="empty"):
        list(system.read_cases(io.BytesIO(b"")))
    with pytest.raises(SchemaRefused, match="not a header"):
        list(system.read_cases(io.BytesIO(HEADER.encode("utf-16"))))


@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=30))
def test_no_file_makes_the_adapter_fail_in_any_way_but_by_refusing(parts: list[bytes]) -> None:
    system = make({"root": "/nowhere"}, Tools())
    try:
        found = list(system.read_cases(io.BytesIO(HEADER_WITH_MORE + b"".join(parts))))
    except SchemaRefused:
        return
    for case in found:
        assert isinstance(case, RejectedRow | CaseRecord)


def test_json_that_is_deep_wide_or_broken_costs_its_row(system: FilesSystem) -> None:
    deep = "[" * 5000 + "]" * 5000
    nested = "[" * 300 + "]" * 300
    for more in (
        deep,
        f'{{"identity_core":{{"first_name":{nested}}}}}',
        f'{{"identity_core":{{"first_name":{"9" * 5000}}}}}',
        '{"identity_core":{"first_name":"\\ud800"}}',
        '{"identity_core":{"first_name":NaN}}',
        '{"identity_core":[]}',
        "[]",
    ):
        text = io.StringIO()
        csv.writer(text).writerows(
            [["x_case_ref", "prs_Title", "prs_Email", "x_more"], ["XA-1", "", "", more]]
        )
        (row,) = system.read_cases(io.BytesIO(text.getvalue().encode()))
        assert isinstance(row, RejectedRow)
        assert all(reason.startswith(("x_more", "prs_FirstName")) for reason in row.reasons)


def test_many_rows_are_read_in_flat_memory(system: FilesSystem) -> None:
    def rows() -> Iterator[bytes]:
        yield HEADER.encode()
        for number in range(20_000):
            yield f"XA-{number},Invented Person,1990-05-17\r\n".encode()

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self._rest, self._rows = b"", rows()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
            self._rest = self._rest or next(self._rows, b"")
            count = min(len(buffer), len(self._rest))
            buffer[:count], self._rest = self._rest[:count], self._rest[count:]
            return count

    list(system.read_cases(io.BytesIO(HEADER.encode())))  # tables are loaded once
    tracemalloc.start()
    try:
        count = sum(
            isinstance(case, CaseRecord) for case in system.read_cases(io.BufferedReader(Stream()))
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    # The marks of case numbers seen grow (under 100 bytes each, in steps); nothing else does.
    assert peak < 200 * count + MAX_RECORD
