"""Cases on a server of others: one file or none, sealed where the country says so, nobody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.base import (
    Ambiguous,
    CaseRecord,
    Declined,
    Erased,
    Filed,
    Kept,
    News,
    RejectedRow,
    Step,
    Tools,
)
from adapters.conformance import conform
from adapters.conformance.cases import full_case
from adapters.conformance.checks import new_id
from adapters.systems.files import FilesSystem
from adapters.systems.sftp import SftpSystem, make
from adapters.systems.sftp.line import CHUNK, Upload
from keys.file_sealing import new_file_key, open_file, seal_file
from schemas.errors import CaseSystemUnavailable, SchemaRefused, Suspect
from tests.support.sftp import Drop, dropping, write_keys

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HEADER = b"x_business_id,x_step,x_at,x_reason,x_services\n"
KEY = new_file_key()
TOOLS = Tools(
    seal_file=lambda content: seal_file(content, KEY), open_file=lambda data: open_file(data, KEY)
)


@pytest.fixture
def drop(tmp_path: Path) -> Iterator[Drop]:
    with dropping(tmp_path) as server:
        yield server


@pytest.fixture
def opened(drop: Drop) -> Iterator[Callable[..., SftpSystem]]:
    systems: list[SftpSystem] = []

    def start(**more: Any) -> SftpSystem:
        systems.append(make(drop.settings(**more), TOOLS))
        return systems[-1]

    yield start
    for system in systems:
        system.line.close()


def names(drop: Drop, folder: str) -> list[str]:
    return sorted(path.name for path in (drop.folder / folder).iterdir())


def test_it_keeps_every_promise_also_when_it_is_killed(drop: Drop) -> None:
    report = conform("sftp", drop.settings(sealed=True), TOOLS, now=NOW, kills=2)
    assert [each for each in report.results if each.outcome == "failed"] == []
    assert names(drop, "in") == names(drop, "parts") == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_line_that_breaks_at_any_step_leaves_one_file_or_none(
    after: bool, drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    system = opened()
    drop.after = after
    for step in range(20):
        business_id = new_id()
        drop.break_at = step
        try:
            system.file(business_id, full_case())
        except CaseSystemUnavailable:
            assert len(drop.broken) == step + 1
        else:
            if drop.break_at is not None:
                break  # it never came to this step
            assert len(drop.broken) == step + 1  # it broke, and went on over a new line
        # As after a restart: asked first, then filed.
        found = opened().find(business_id)
        assert names(drop, "parts") == []
        again = found or system.file(business_id, full_case())
        assert isinstance(again, Filed)
        assert system.read(again.reference) is not None
        assert names(drop, "in") == [again.reference]
        assert system.erase(again.reference) == Erased(existed=True)
        assert (names(drop, "in"), names(drop, "parts")) == ([], [])
    assert {"open", "write", "fsync", "close", "rename"} <= set(drop.broken)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_broken_upload_goes_on_where_it_was(
    after: bool, drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    texts = [{"finding": f"{number} " + "x" * 9000} for number in range(18)]
    case = CaseRecord("XA-1", {"vulnerability_needs": {"assessments": texts}})
    system, business_id = opened(), new_id()
    system.check()
    drop.after = after
    drop.break_at = 8  # what was left of each name, opening, two chunks, and then
    answer = system.file(business_id, case)
    assert isinstance(answer, Filed)
    assert drop.broken == ["write"]
    size = (drop.folder / "in" / answer.reference).stat().st_size
    assert size > 4 * CHUNK
    chunks = drop.offsets if not after else drop.offsets[:2] + drop.offsets[3:]
    assert chunks == [CHUNK * n for n in range(-(-size // CHUNK))]  # none sent twice
    there = system.read(answer.reference)
    assert there is not None
    assert there.sections == case.sections
    assert names(drop, "parts") == []


def test_an_upload_whose_part_another_has_cleared_away_begins_anew(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    content = bytes(range(256)) * 512
    upload = Upload("in/x.csv", content, confirmed=CHUNK)
    system = opened()
    assert system.line.run(lambda remote: remote.put_new(upload), [upload])
    assert (drop.folder / "in" / "x.csv").read_bytes() == content
    (drop.folder / "parts" / "in.y.csv").write_bytes(b"half")
    upload = Upload("in/y.csv", content, confirmed=CHUNK)
    assert system.line.run(lambda remote: remote.put_new(upload), [upload])
    assert (drop.folder / "in" / "y.csv").read_bytes() == content


def test_sealed_the_server_sees_ids_and_sizes_alone(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    system, business_id = opened(sealed=True), new_id()
    answer = system.file(business_id, full_case())
    assert answer == Filed(f"{business_id}.csv.jwe")
    system.tell("CASE-1", News("n-1", business_id, Step.ACCEPTED, NOW))
    for path in drop.folder.rglob("*.jwe"):
        assert not any(word in path.read_bytes() for word in (b"Invented", b"XA-TEST", b"CASE-1"))
        assert path.stat().st_mode & 0o077 == 0
    other = make(
        drop.settings(sealed=True),
        replace(TOOLS, open_file=lambda data: open_file(data, new_file_key())),
    )
    try:
        with pytest.raises(Suspect):
            other.read(answer.reference)
    finally:
        other.line.close()


def test_a_country_that_begins_to_seal_does_not_get_its_cases_twice(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    business_id = new_id()
    plain = opened().file(business_id, full_case())
    assert isinstance(plain, Filed)
    sealing = opened(sealed=True)
    assert sealing.find(business_id) == Filed(plain.reference, already=True)
    assert sealing.file(business_id, full_case()) == Filed(plain.reference, already=True)
    assert names(drop, "in") == [plain.reference]


def test_a_file_that_the_files_adapter_wrote_is_the_same_file(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    business_id = new_id()
    here = FilesSystem(drop.folder).file(business_id, full_case())
    there = opened().file(business_id, full_case())
    assert isinstance(here, Filed)
    assert there == Filed(here.reference, already=True)


def test_another_servers_key_gets_no_case(
    drop: Drop, opened: Callable[..., SftpSystem], tmp_path: Path
) -> None:
    _, foreign = write_keys(tmp_path / "foreign", "host")
    with pytest.raises(CaseSystemUnavailable) as refused:
        opened(host_key_file=str(foreign)).file(new_id(), full_case())
    assert "pinned" in str(refused.value)
    stranger, _ = write_keys(tmp_path / "foreign", "user")
    with pytest.raises(CaseSystemUnavailable):
        opened(key_file=str(stranger)).check()
    assert drop.steps == []


def test_a_key_file_that_others_may_read_is_not_used(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    os.chmod(drop.key, 0o640)
    with pytest.raises(CaseSystemUnavailable):
        opened().check()


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_page_of_decisions_comes_again_until_it_is_stored(
    sealed: bool, drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    system, business_id = opened(sealed=sealed), new_id()
    system.file(business_id, full_case())
    decided = drop.folder / "decided"
    decided.mkdir()
    rows = HEADER + f"{business_id},accepted,2026-11-22T10:00:00Z,,\n".encode()
    rows += f"{UUID(int=7)},accepted,2026-11-22T10:00:00Z,,\n".encode()
    name = "a.csv.jwe" if sealed else "a.csv"
    (decided / name).write_bytes(seal_file(rows, KEY) if sealed else rows)
    first = system.poll(None)
    assert system.poll(None) == first
    known, unknown = first.items
    assert isinstance(known, News)
    assert (known.business_id, known.step) == (business_id, Step.ACCEPTED)
    assert isinstance(unknown, Ambiguous)
    assert unknown.code == "no-referral"
    assert system.poll(first.cursor).items == ()
    assert [path.name for path in decided.glob("*.*")] == []
    assert len(names(drop, "decided/done")) == 1


def test_a_sealed_file_of_decisions_that_does_not_open_is_shown_to_a_person(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    decided = drop.folder / "decided"
    decided.mkdir()
    (decided / "a.csv.jwe").write_bytes(seal_file(HEADER, new_file_key()))
    system = opened(sealed=True)
    assert system.poll(None).items == ()  # it may still be growing
    os.utime(decided / "a.csv.jwe", (0, 0))
    (item,) = system.poll(None).items
    assert isinstance(item, Ambiguous)
    assert item.code == "cannot-open"


def test_cases_are_read_from_the_servers_folder_sealed_or_plain(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    out = drop.folder / "out"
    out.mkdir()
    rows = b"x_case_ref,prs_FirstName\nIT-%d,Invented\n"
    (out / "a.csv").write_bytes(rows % 1)
    (out / "b.csv.jwe").write_bytes(seal_file(rows % 2, KEY))
    (out / "~c.csv").write_bytes(rows % 3)
    (out / "d.txt").write_bytes(rows % 4)
    system = opened(sealed=True)
    found = [getattr(case, "case_ref", case) for case in system.read_cases()]
    assert found == ["IT-1", "IT-2"]


def dropped(drop: Drop, name: str, content: bytes) -> None:
    (drop.folder / "out").mkdir(exist_ok=True)
    (drop.folder / "out" / name).write_bytes(content)
    os.utime(drop.folder / "out" / name, (0, 0))


ROWS = b"x_case_ref,prs_FirstName\nIT-1,Invented\nIT 2,SECRET\n"


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_dropped_file_is_moved_once_taken_and_its_bad_rows_come_back(
    sealed: bool, drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    name = "a.csv.jwe" if sealed else "a.csv"
    dropped(drop, name, seal_file(ROWS, KEY) if sealed else ROWS)
    (drop.folder / "out" / "growing.csv").write_bytes(ROWS)
    system = opened(sealed=sealed)
    (file,) = system.dropped.take()
    assert file.name == name
    assert names(drop, "out") == ["growing.csv"]
    found = [getattr(each, "case_ref", each) for each in file.cases()]
    assert found[0] == "IT-1"
    assert isinstance(found[1], RejectedRow)
    assert names(drop, "done") == [] if (drop.folder / "done").exists() else True
    assert file.put_aside()
    assert (names(drop, "taken"), names(drop, "done")) == ([], [file.mark])
    (back,) = names(drop, "rejected")
    content = (drop.folder / "rejected" / back).read_bytes()
    assert back == file.mark
    assert (b"SECRET" in content) is not sealed
    plain = open_file(content, KEY) if sealed else content
    assert plain.splitlines()[1] == b'3,x_case_ref: bad-form,"IT 2,SECRET"'
    assert opened(sealed=sealed).dropped.take() == []


def test_what_a_dead_process_had_taken_is_taken_again_and_what_grew_is_read_again(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    dropped(drop, "a.csv", ROWS)
    (dead,) = opened().dropped.take()
    (file,) = opened().dropped.take()
    assert file.mark == dead.mark
    assert len(list(file.cases())) == 2
    with (drop.folder / "taken" / file.mark).open("ab") as growing:
        growing.write(b"IT-3,Invented\n")
    assert not file.put_aside()
    assert len(list(file.cases())) == 3
    assert file.put_aside()


def test_a_file_that_is_no_case_file_comes_back_with_the_reason_beside_it(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    dropped(drop, "a.csv", b"name\nSECRET\n")
    dropped(drop, "b.csv.jwe", seal_file(ROWS, new_file_key()))
    for file in opened(sealed=True).dropped.take():
        with pytest.raises(SchemaRefused) as refused:
            list(file.cases())
        file.refuse(refused.value)
    assert names(drop, "taken") == []
    back = [name.partition("-")[2] for name in names(drop, "rejected")]
    assert sorted(back) == ["a.csv", "a.csv.why.txt", "b.csv.jwe", "b.csv.why.txt.jwe"]
    (why,) = (drop.folder / "rejected").glob("*a.csv.why.txt")
    assert b"missing: x_case_ref" in why.read_bytes()
    assert b"SECRET" not in why.read_bytes()


def test_a_country_that_files_workbooks_gets_workbooks_and_none_twice(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    business_id = new_id()
    plain = opened().file(business_id, full_case())
    assert isinstance(plain, Filed)
    system = opened(sealed=True, writes="xlsx")
    assert system.file(business_id, full_case()) == Filed(plain.reference, already=True)
    new = system.file(UUID(int=9), full_case())
    assert new == Filed(f"{UUID(int=9)}.xlsx.jwe")
    there = system.read(new.reference)
    assert there is not None
    assert there.sections == full_case().sections
    assert system.update(new.reference, full_case()) == Filed(new.reference, already=True)


def test_what_the_servers_operator_keeps_is_said_when_a_case_is_erased(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    system, business_id = opened(keeps="backup-30-days"), new_id()
    answer = system.file(business_id, full_case())
    assert isinstance(answer, Filed)
    assert system.erase(answer.reference) == Kept("backup-30-days")
    assert system.find(business_id) is None


def test_other_content_under_one_id_is_declined_also_by_a_second_process(
    opened: Callable[..., SftpSystem],
) -> None:
    business_id = new_id()
    other = replace(full_case(), sections={"identity_core": {"first_name": "Another"}})
    assert isinstance(opened().file(business_id, full_case()), Filed)
    assert opened().file(business_id, other) == Declined("id-conflict")


def test_a_server_that_is_away_means_later_and_one_that_returns_is_used_again(
    drop: Drop, opened: Callable[..., SftpSystem]
) -> None:
    system = opened()
    system.check()
    drop.break_at = 0
    with pytest.raises(CaseSystemUnavailable):
        system.file(new_id(), full_case())
    assert isinstance(system.file(new_id(), full_case()), Filed)
    with pytest.raises(CaseSystemUnavailable):
        opened(root="/nowhere").check()
    with pytest.raises(CaseSystemUnavailable):
        opened(port=1).check()


WRONG: dict[str, dict[str, Any]] = {
    "no choice whether to seal": {"sealed": None},
    "a password": {"password": "invented"},
    "no host key": {"host_key_file": ""},
    "a port that is none": {"port": 0},
    "a ground in words": {"keeps": "we keep backups"},
    "an endless timeout": {"timeout": 0},
    "a form that is none": {"writes": "ods"},
    "a spelling that is nowhere": {"spelling": "here.toml"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrong_settings_are_named(wrong: dict[str, Any], tmp_path: Path) -> None:
    table = Drop(tmp_path, tmp_path / "key", tmp_path / "host").settings(port=22)
    with pytest.raises(SchemaRefused) as refused:
        make({**table, **wrong}, TOOLS)
    assert refused.value.where == tuple(sorted(wrong))
    with pytest.raises(SchemaRefused):
        make({**table, "sealed": True}, Tools())
