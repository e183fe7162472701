"""A change is planned, signed by its holders one after another, each where they are, and applied."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.ceremony import Repository, first_plan
from keys.ceremony.proposal import Missing, Proposal
from keys.ceremony.roles import COUNTRY_LIFE, RoleSigner
from schemas.errors import (
    Conflict,
    DirectoryMoved,
    DirectoryOutOfScope,
    DirectoryRefused,
    DirectoryUnsigned,
    Refused,
)
from tests.support.ceremony import World, make_role, make_world
from tests.support.parties import NOW, Party, make_party


@pytest.fixture
def world(tmp_path: Path, italy: Party, albania: Party) -> World:
    return make_world(tmp_path, italy, albania)


def carried(plan: Proposal) -> Proposal:
    """To another machine, as a file."""
    return Proposal.from_bytes(plan.to_bytes())


def renamed(party: Party) -> Party:
    return replace(party, entry=party.entry.model_copy(update={"name": "Another invented name"}))


def test_signatures_are_collected_one_after_another_and_then_it_counts(
    world: World, italy: Party
) -> None:
    plan = carried(world.repository.plan_participants([renamed(italy).entry], NOW))
    first, second = world.countries["it"]
    assert plan.missing() == (Missing("it", "targets", 0, 2),)
    half = carried(plan.signed_by(first))
    assert half.missing() == (Missing("it", "targets", 1, 2),)
    with pytest.raises(DirectoryUnsigned, match="it: 1 of 2"):
        world.repository.apply(half, world.online, NOW)
    whole = carried(half.signed_by(second))
    assert whole.missing() == ()
    world.repository.apply(whole, world.online, NOW)
    assert world.reader().refresh(NOW).participants["it.nrm"] == renamed(italy).entry


def test_the_difference_is_shown_and_nothing_has_changed_yet(world: World, italy: Party) -> None:
    before = world.reader().refresh(NOW)
    plan = carried(world.repository.plan_participants([renamed(italy).entry], NOW))
    rows = {(one.what, one.field): (one.before, one.after) for one in plan.difference()}
    assert rows["it.nrm", "name"] == (italy.entry.name, "Another invented name")
    assert rows["role it", "version"] == ("2", "3")
    assert set(rows) == {("it.nrm", "name"), ("role it", "version")}
    assert world.reader().refresh(NOW) == before


def test_removing_and_new_keys_show_in_the_difference(world: World, italy: Party) -> None:
    gone = world.repository.plan_participants([], NOW, remove=["it.nrm"]).difference()
    assert all(one.after is None for one in gone if one.what == "it.nrm")
    assert {one.field for one in gone} >= {f"key {key.kid}" for key in italy.entry.keys}
    keys = [signer.published for signer in world.roots]
    change = world.repository.plan_country("it", (keys, 3), NOW).difference()
    lines = [one for one in change if one.field == "signers of it"]
    assert [(one.before or "")[:5] + (one.after or "")[:5] for one in lines] == ["2 of 3 of "]


def test_a_plan_is_void_once_what_it_rests_on_has_moved(world: World, italy: Party) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    for signer in world.countries["it"]:
        plan = plan.signed_by(signer)
    world.repository.publish_participant(
        make_party("it.ngo").entry,
        country_signers=world.countries["it"],
        online=world.online,
        now=NOW,
    )
    with pytest.raises(DirectoryMoved):
        world.repository.apply(plan, world.online, NOW)
    assert "it.ngo" in world.reader().refresh(NOW).participants


def test_another_countrys_change_meanwhile_does_no_harm(
    world: World, italy: Party, albania: Party
) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    world.repository.publish_participant(
        renamed(albania).entry, country_signers=world.countries["al"], online=world.online, now=NOW
    )
    for signer in world.countries["it"]:
        plan = plan.signed_by(signer)
    world.repository.apply(plan, world.online, NOW)
    found = world.reader().refresh(NOW).participants
    assert [found[name].name for name in ("it.nrm", "al.nrm")] == ["Another invented name"] * 2


def test_a_plan_that_waited_too_long_is_void(world: World, italy: Party) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    for signer in world.countries["it"]:
        plan = plan.signed_by(signer)
    with pytest.raises(DirectoryMoved):
        world.repository.apply(plan, world.online, NOW + COUNTRY_LIFE + timedelta(days=1))


def test_applying_a_plan_again_after_a_crash_changes_no_more(world: World, italy: Party) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    for signer in world.countries["it"]:
        plan = plan.signed_by(signer)
    world.repository.apply(plan, world.online, NOW)
    world.repository.apply(plan, world.online, NOW)
    assert world.reader().refresh(NOW).participants["it.nrm"] == renamed(italy).entry


def test_a_holder_whom_the_plan_does_not_need_signs_nothing(world: World, italy: Party) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    for stranger in (*world.roots, *world.countries["al"]):
        with pytest.raises(DirectoryUnsigned):
            plan.signed_by(stranger)


def test_a_signature_that_was_carried_over_from_another_plan_does_not_count(
    world: World, italy: Party
) -> None:
    one = world.repository.plan_participants([italy.entry], NOW + timedelta(days=1))
    other = world.repository.plan_participants([renamed(italy).entry], NOW)
    for signer in world.countries["it"]:
        one = one.signed_by(signer)
    signed, wanted = json.loads(one.roles["it"]), json.loads(other.roles["it"])
    wanted["signatures"] = signed["signatures"]
    forged = replace(other, roles={"it": json.dumps(wanted).encode()})
    assert [missing.have for missing in forged.missing()] == [0]
    with pytest.raises(DirectoryUnsigned):
        world.repository.apply(forged, world.online, NOW)


def smuggled(plan: Proposal, change: Callable[[dict[str, object]], None]) -> Proposal:
    """The plan as somebody between planner and signer made it."""
    value = json.loads(plan.roles["it"])
    change(value["signed"])
    return replace(plan, roles={**plan.roles, "it": json.dumps(value).encode()})


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda v: v["targets"].update({"al/nrm.json": v["targets"]["it/nrm.json"]}),
         DirectoryOutOfScope),
        (lambda v: v["targets"].update({"it/other.json": v["targets"]["it/nrm.json"]}),
         DirectoryOutOfScope),
        (lambda v: v["targets"]["it/nrm.json"]["hashes"].update({"sha256": "0" * 64}),
         DirectoryRefused),
        (lambda v: v["targets"]["it/nrm.json"].update({"length": 3}), DirectoryRefused),
        (lambda v: v.update({"version": 9}), DirectoryRefused),
        (lambda v: v.update({"version": 2}), DirectoryRefused),
        (lambda v: v.update({"_type": "snapshot"}), DirectoryRefused),
        (lambda v: v.update({"delegations": {"keys": {}, "roles": []}}), DirectoryRefused),
    ],
    ids=["another country", "another name", "another hash", "another length", "a version ahead",
         "the version before", "another kind of role", "a role of its own"],
)  # fmt: skip
def test_nobody_signs_a_plan_that_is_out_of_order(
    world: World, italy: Party, change: Callable[[dict[str, object]], None], error: type[Refused]
) -> None:
    plan = world.repository.plan_participants([renamed(italy).entry], NOW)
    bad = smuggled(plan, change)
    with pytest.raises(error):
        bad.signed_by(world.countries["it"][0])
    with pytest.raises(DirectoryRefused):
        world.repository.apply(bad, world.online, NOW)


def test_a_new_root_wants_the_old_holders_and_the_new(world: World, tmp_path: Path) -> None:
    new = [make_role(tmp_path, f"next{n}") for n in range(2)]
    plan = world.repository.plan_root(([one.published for one in new], 2), NOW)
    assert plan.missing() == (Missing("root", "before", 0, 2), Missing("root", "after", 0, 2))
    for signer in (new[0], world.roots[0], new[1]):
        plan = carried(plan.signed_by(signer))
    assert plan.missing() == (Missing("root", "before", 1, 2),)
    with pytest.raises(DirectoryUnsigned):
        world.repository.apply(plan, world.online, NOW)
    world.repository.apply(plan.signed_by(world.roots[2]), world.online, NOW)
    assert "it.nrm" in world.reader().refresh(NOW).participants


def test_a_first_plan_makes_a_directory_once(tmp_path: Path) -> None:
    roots: list[RoleSigner] = [make_role(tmp_path, f"root{n}") for n in range(3)]
    keeper, online = make_role(tmp_path, "targets"), make_role(tmp_path, "online")
    plan = first_plan(
        root=([one.published for one in roots], 2),
        targets=([keeper.published], 1),
        online=online.published,
        now=NOW,
    )
    for signer in (roots[0], keeper, roots[2]):
        plan = carried(plan.signed_by(signer))
    repository = Repository(tmp_path / "repository")
    repository.apply(plan, online, NOW)
    other = first_plan(
        root=([roots[0].published], 1), targets=([keeper.published], 1),
        online=online.published, now=NOW,
    ).signed_by(roots[0]).signed_by(keeper)  # fmt: skip
    with pytest.raises(Conflict):
        repository.apply(other, online, NOW)


def test_a_role_is_signed_anew_before_it_runs_out(world: World) -> None:
    later = NOW + timedelta(days=80)
    plan = world.repository.plan_renewal("it", later)
    for signer in world.countries["it"]:
        plan = plan.signed_by(signer)
    world.repository.apply(plan, world.online, later)
    reader = world.reader()
    assert "it.nrm" in reader.refresh(later).participants
    world.repository.refresh_timestamp(world.online, NOW + timedelta(days=100))
    assert set(reader.refresh(NOW + timedelta(days=100)).participants) == {"it.nrm"}
    assert reader.excluded == {"al": "expired"}


@settings(deadline=None)
@given(data=st.data())
def test_no_bytes_of_a_plan_raise_anything_but_ours(data: st.DataObject) -> None:
    whole = PLAN.to_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Refused):
        found = Proposal.from_bytes(bytes(changed))
        found.check()
        found.difference()


_KEY = make_party("it.nrm").signing_key()
PLAN = first_plan(root=([_KEY], 1), targets=([_KEY], 1), online=_KEY, now=NOW)
