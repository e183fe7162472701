"""The ceremony of docs/operations/ceremony.md, command by command, with a folder for each machine.

What moves between machines is a plan and public keys, as files; no holder ever has another's key.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from broker.cli.root import referral
from broker.cli.terminal.failures import Exit
from broker.clock import SystemClock
from keys.trust import DirectoryClient
from schemas.directory import Participant, TrustedDirectory
from tests.support.parties import make_party

HOLDERS = ("root-1", "root-2", "root-3", "keeper", "hub", "italy-1", "italy-2", "albania")
PASSPHRASE = "a long passphrase for tests\n"


@dataclass
class Machines:
    """One folder per holder of a key."""

    folder: Path

    def at(self, holder: str, name: str) -> str:
        return str(self.folder / holder / name)

    def bring(self, name: str, of: str, to: str) -> str:
        """Carry a file from one machine to another."""
        return str(shutil.copy(self.at(of, name), self.at(to, name)))

    def run(self, *words: str, code: Exit = Exit.OK) -> Result:
        answer = CliRunner().invoke(referral, words)
        assert answer.exit_code == code, answer.output
        return answer

    def key(self, holder: str) -> str:
        return self.at(holder, "key.json")

    def words(self, holder: str) -> tuple[str, str]:
        return "--passphrase-file", self.at(holder, "passphrase")

    def collect(self, *holders: str, code: Exit = Exit.OK) -> None:
        """The plan goes from the hub to each holder in turn, and back."""
        for holder in holders:
            plan = self.bring("plan.json", "hub", holder)
            self.run(
                *("directory", "sign", plan, "--key", self.key(holder), "--yes"),
                *self.words(holder),
                code=code,
            )
            self.bring("plan.json", holder, "hub")

    def publics(self, role: str, *holders: str) -> list[str]:
        return [
            word
            for one in holders
            for word in (f"--{role}-public", self.at("hub", f"{one}.public.json"))
        ]

    def plan(self, *words: str) -> Result:
        return self.run("directory", "plan", *words, "--out", self.at("hub", "plan.json"))

    def apply(self, code: Exit = Exit.OK) -> Result:
        return self.run(
            *("directory", "apply", self.at("hub", "plan.json"), *self.repository),
            *("--online-key", self.key("hub"), *self.words("hub")),
            code=code,
        )

    @property
    def repository(self) -> tuple[str, str]:
        return "--repository", self.at("hub", "directory")


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    from broker.cli.commands.trust import directory
    from keys.custody import KdfCost, create_custody

    def quick(uri: str, keys: Any, passphrase: bytes) -> Any:
        return create_custody(uri, keys, passphrase, cost=KdfCost(8, 1, 1))

    # The commands are as they are; only guessing a passphrase costs less.
    monkeypatch.setattr(directory, "create_custody", quick)
    found = Machines(tmp_path)
    for holder in HOLDERS:
        (tmp_path / holder).mkdir()
    for holder in HOLDERS:
        secret = tmp_path / holder / "passphrase"
        secret.write_text(PASSPHRASE)
        secret.chmod(0o600)
        public = found.at(holder, f"{holder}.public.json")
        found.run("directory", "key", found.key(holder), "--public", public, *found.words(holder))
        if holder != "hub":
            found.bring(f"{holder}.public.json", holder, "hub")
    return found


def begin(machines: Machines) -> None:
    machines.plan(
        "first",
        *machines.publics("root", "root-1", "root-2", "root-3"),
        *machines.publics("targets", "keeper"),
        *("--online-public", machines.at("hub", "hub.public.json")),
    )
    machines.collect("root-3", "keeper", "root-1")
    machines.apply()
    machines.plan(
        *("country", *machines.repository, "--cc", "it", "--country-threshold", "2"),
        *machines.publics("country", "italy-1", "italy-2"),
    )
    machines.collect("keeper", "italy-1", "italy-2")
    machines.apply()


def entry_of(machines: Machines, name: str) -> str:
    entry = make_party(name).entry
    path = Path(machines.at("hub", "entry.json"))
    path.write_bytes(entry.to_json())
    return str(path)


def test_a_directory_is_made_and_changed_by_holders_who_never_meet(machines: Machines) -> None:
    begin(machines)
    before = sorted(Path(machines.at("hub", "directory"), "metadata").iterdir())
    planned = machines.plan("publish", entry_of(machines, "it.nrm"), *machines.repository)
    assert "it.nrm" in planned.stdout
    assert "0 of 2 signatures" in planned.stderr
    assert sorted(Path(machines.at("hub", "directory"), "metadata").iterdir()) == before
    machines.collect("italy-2")
    machines.apply(code=Exit.VERIFICATION)
    machines.collect("italy-1")
    reviewed = machines.run("directory", "review", machines.at("hub", "plan.json"), "--json")
    assert json.loads(reviewed.stdout)["missing"] == []
    machines.apply()
    again = machines.run(
        "directory", "plan", "renew", "it", *machines.repository,
        "--out", machines.at("hub", "plan.json"), "--json",
    )  # fmt: skip
    changed = {(one["what"], one["field"]) for one in json.loads(again.stdout)["changes"]}
    assert changed == {("role it", "version")}


def test_a_plan_that_rests_on_an_older_directory_is_refused(machines: Machines) -> None:
    begin(machines)
    machines.plan("publish", entry_of(machines, "it.nrm"), *machines.repository)
    machines.collect("italy-1", "italy-2")
    old = machines.bring("plan.json", "hub", "keeper")
    machines.plan("publish", entry_of(machines, "it.ngo"), *machines.repository)
    machines.collect("italy-1", "italy-2")
    machines.apply()
    shutil.copy(old, machines.at("hub", "plan.json"))
    refused = machines.apply(code=Exit.VERIFICATION)
    assert "directory-moved" in refused.stderr


def test_a_country_that_lost_its_keys_gets_new_ones_and_the_old_count_no_more(
    machines: Machines,
) -> None:
    """docs/operations/recovery.md: by those who may name countries."""
    begin(machines)
    machines.plan("publish", entry_of(machines, "it.nrm"), *machines.repository)
    machines.collect("italy-1", "italy-2")
    machines.apply()
    machines.plan(
        *("country", *machines.repository, "--cc", "it"), *machines.publics("country", "albania")
    )
    machines.collect("keeper", "albania")
    machines.apply()
    machines.plan("publish", entry_of(machines, "it.nrm"), *machines.repository)
    machines.collect("italy-1", code=Exit.VERIFICATION)
    machines.collect("albania")
    machines.apply()


def test_a_participant_that_lost_everything_comes_back_beside_its_old_keys(
    machines: Machines,
) -> None:
    """docs/operations/recovery.md: by its country, which says what became of the old ones."""
    begin(machines)
    machines.plan("publish", entry_of(machines, "it.nrm"), *machines.repository)
    machines.collect("italy-1", "italy-2")
    machines.apply()
    fresh = make_party("it.nrm").entry
    public = Path(machines.at("hub", "public.json"))
    kept = {name: fresh.to_dict()[name] for name in ("id", "compartments", "suites", "keys")}
    public.write_text(json.dumps({**kept, "log_vkey": None}))
    old, new = machines.at("hub", "old.json"), machines.at("hub", "new.json")
    marked = ("directory", "mark", "it.nrm", *machines.repository, "--out", old)
    machines.run(*marked, "--as", "destroyed")
    machines.run(
        *("directory", "entry", str(public), "--name", "Invented", "--kind", "state"),
        *("--function", "nrm", "--beside", old, "--out", new),
    )
    machines.plan("publish", new, *machines.repository)
    machines.collect("italy-1", "italy-2")
    machines.apply()
    statuses = {key.kid: key.status.value for key in read(machines, "it.nrm").keys}
    assert {statuses.pop(key.kid) for key in fresh.keys} == {"active"}
    assert set(statuses.values()) == {"destroyed"}
    # It turns out that it was stolen.
    one = next(iter(statuses))
    machines.run(*marked, "--as", "compromised", "--key", one)
    machines.plan("publish", old, *machines.repository)
    machines.collect("italy-1", "italy-2")
    machines.apply()
    again = {key.kid: key.status.value for key in read(machines, "it.nrm").keys}
    assert again.pop(one) == "compromised"
    assert set(again.values()) == {"active", "destroyed"}
    machines.run(*marked, "--as", "compromised", "--key", "none", code=Exit.NOT_FOUND)


def read_directory(machines: Machines) -> TrustedDirectory:
    """As a reader with the first root sees it."""
    repository = Path(machines.at("hub", "directory"))
    client = DirectoryClient(
        repository, machines.folder / "reader", (repository / "root.json").read_bytes()
    )
    return client.refresh(SystemClock().now())


def read(machines: Machines, name: str) -> Participant:
    found = read_directory(machines).participant(name)
    assert found is not None
    return found


def test_a_root_that_lost_a_holder_gets_a_new_one(machines: Machines) -> None:
    begin(machines)
    machines.plan(
        *("root", *machines.repository), *machines.publics("root", "root-1", "root-2", "albania")
    )
    machines.collect("root-1", "root-2")
    machines.apply()
    machines.plan("renew", "root", *machines.repository)
    machines.collect("root-3", code=Exit.VERIFICATION)
    machines.collect("albania", "root-1")
    machines.apply()


def test_an_online_key_that_was_stolen_is_replaced_by_the_root(machines: Machines) -> None:
    """docs/operations/recovery.md, first section."""
    begin(machines)
    fresh = machines.at("hub", "hub-2.json")
    public = machines.at("hub", "hub-2.public.json")
    machines.run("directory", "key", fresh, "--public", public, *machines.words("hub"))
    machines.plan(
        *("root", *machines.repository), *machines.publics("root", "root-1", "root-2", "root-3"),
        *("--online-public", public),
    )  # fmt: skip
    machines.collect("root-1", "root-3")
    stolen = machines.key("hub")
    machines.apply(code=Exit.VERIFICATION)
    (machines.folder / "hub" / "key.json").rename(machines.folder / "hub" / "stolen.json")
    Path(fresh).rename(stolen)
    machines.apply()
    refresh = ("directory", "refresh", *machines.repository, *machines.words("hub"))
    machines.run(*refresh, "--online-key", stolen)
    machines.run(
        *refresh, "--online-key", machines.at("hub", "stolen.json"), code=Exit.VERIFICATION
    )
    assert read_directory(machines).root_version == 2


def test_without_a_yes_nothing_is_signed(machines: Machines) -> None:
    begin(machines)
    machines.plan("renew", "it", *machines.repository)
    plan = Path(machines.at("hub", "plan.json"))
    before = plan.read_bytes()
    answer = CliRunner().invoke(
        referral,
        [
            "directory",
            "sign",
            str(plan),
            "--key",
            machines.key("italy-1"),
            *machines.words("italy-1"),
        ],
        input="n\n",
    )
    assert isinstance(answer.exception, SystemExit | click.Abort)
    assert plan.read_bytes() == before
