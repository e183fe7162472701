"""An auditor's bundle proves everything in it offline, and says no more than the hub can see."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from click.testing import CliRunner

from broker.audit.bundle.bundle import CONTENTS, figures_of, read_keys, unpacked, verify_bundle
from broker.audit.log.note import Verifier
from broker.audit.proofs.offline import TrustedKey
from broker.audit.proofs.policy import Policy
from broker.audit.witnesses.countries import policy_of
from broker.cli.log.bundle import make_bundle
from broker.cli.root import referral
from broker.hub.ending import erasing
from broker.hub.state import Hub
from keys.ceremony import Repository, RoleSigner
from keys.custody import open_custody
from schemas.base import unb64u
from schemas.errors import Conflict, NotFound
from tests.support.gateways import World, always_the_newest_head, world

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)


@pytest.fixture
async def after_a_referral(tmp_path: Path) -> AsyncIterator[World]:
    """A referral that arrived, and a withdrawal after it; witnessed by both countries."""
    async with world(tmp_path / "network", "it.nrm", "al.nrm") as made:
        italy = made["it.nrm"]
        grant = await italy.consent("al.nrm")
        await italy.refer("al.nrm", grant)
        await made.settle()
        await italy.parts.withdrawals.order(grant)
        await made.settle()
        await italy.refer("al.nrm", await italy.consent("al.nrm", "CASE-2"))  # this one stays
        await made.settle()
        hub: Hub = made.hub.state.hub
        await erasing.run_once(hub, hub.withdrawn.take() | {grant})
        always_the_newest_head(hub)
        await hub.sequencer.run_once()
        for side in made.sides.values():
            await side.parts.witness.run_once()
            side.parts.witness.close()
        yield made


def policy_from_directory(made: World) -> Policy:
    core = made["it.nrm"].gateway.core
    key = Verifier.from_text(core.partner("hub.main").log_vkey or "")
    return policy_of(core.trusted().participants.values(), logs=[key])


def digests(line: str) -> set[str]:
    """Of which envelopes, by their digests, one line's evidence says something."""
    payload = json.loads(unb64u(json.loads(json.loads(line)["evidence"])["payload"]))
    return {fact["digest"] for fact in payload["facts"]}


async def make(made: World, target: Path, corridor: str | None = None) -> Path:
    settings = made.network.hub.settings_file
    await asyncio.to_thread(make_bundle, settings, target, TODAY, TODAY, corridor)
    return target


async def test_a_bundle_is_proven_offline_and_adds_up(
    after_a_referral: World, tmp_path: Path
) -> None:
    folder = await make(after_a_referral, tmp_path / "bundle")
    policy = policy_from_directory(after_a_referral)

    verdict = verify_bundle(folder, policy, trusted_keys=read_keys(folder / "keys.json"))
    figures = figures_of(folder)

    assert verdict.proven, verdict.lines()
    assert verdict.stated_by == "hub.main"
    assert {seen.name for seen in verdict.seen if seen.is_witness} == {
        "it.nrm/gateway-log",
        "al.nrm/gateway-log",
    }
    route = figures.routes["it.nrm", "al.nrm"]
    envelopes = json.loads((folder / "envelopes.json").read_text()).values()
    sent = sum(envelope["sender"] == "it.nrm" for envelope in envelopes)
    assert sent >= 2
    assert (route.sent, route.delivered, len(route.to_delivery.times)) == (sent, sent, sent)
    assert figures.withdrawals["al.nrm"].delivered == 1
    # What is not evidence is proven too; the withdrawn grant's leaf nobody can open any more.
    assert verdict.events["agreement:registered"] >= 1
    assert verdict.events["directory:published"] >= 1
    assert verdict.events["grant:withdrawn"] == 1
    assert verdict.events["grant:registered"] == 1
    assert "versions in this bundle" in verdict.checks[-1].detail
    withdrawn = json.loads(
        next(
            line
            for line in (folder / "statements.jsonl").read_text().splitlines()
            if b"grant:withdrawn" in unb64u(json.loads(line)["leaf"])
        )
    )
    stated = {
        fact
        for line in (folder / "evidence.jsonl").read_text().splitlines()
        for fact in digests(line)
    }
    assert withdrawn["statement"] is None
    assert withdrawn["opening"]["subject"] in stated
    page = (folder / "report.html").read_text()
    assert "al.nrm" in page
    assert "<script" not in page
    for name in ("report.pdf", "report.fr.pdf"):
        assert (folder / name).read_bytes().startswith(b"%PDF-")
    assert 'lang="ar" dir="rtl"' in (folder / "report.ar.html").read_text()
    assert list((folder / "directory" / "metadata").glob("*.root.json"))


async def test_a_bundle_is_one_file_or_a_folder_in_which_nothing_can_be_changed(
    after_a_referral: World, tmp_path: Path
) -> None:
    made_by = after_a_referral
    packed = await make(after_a_referral, tmp_path / "bundle.zip", "AL:IT")
    with pytest.raises(NotFound):
        await make(after_a_referral, tmp_path / "none", "fr:de")
    with pytest.raises(Conflict):
        await make(after_a_referral, packed)
    whole = tmp_path / "bundle"
    with unpacked(packed) as folder:
        shutil.copytree(folder, whole)
    assert figures_of(whole).total.sent == figures_of(whole).total.delivered > 0
    policy = policy_from_directory(after_a_referral)
    keys = read_keys(whole / "keys.json")

    def broken(change: str) -> bool:
        folder = tmp_path / "changed"
        shutil.copytree(whole, folder)
        victim = folder / change.partition(" ")[2]
        match change.partition(" ")[0]:
            case "remove":
                victim.unlink()
            case "add":
                victim.write_text("more")
            case "change":
                data = victim.read_bytes()
                victim.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        proven = verify_bundle(folder, policy, trusted_keys=keys).proven
        shutil.rmtree(folder)
        return not proven

    names = [path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()]
    root = made_by.network.root
    judged: set[str] = set()
    for name in names:
        assert broken(f"change {name}"), name
        # As an auditor does, and in the words that are promised to a script.
        assert one_bit(whole / name, 0, partial(as_auditor, whole, tmp_path, root)) == 3, name
        judged |= {
            one_bit(whole / name, place, partial(verdict_of, whole, policy, keys, root))
            for place in places_in(whole / name)
        }
    judge = partial(verify_bundle, whole, policy, trusted_keys=keys)
    for place in range((whole / CONTENTS).stat().st_size):
        assert not one_bit(whole / CONTENTS, place, judge).proven
    assert judged == {"not proven"}
    assert verdict_of(whole, policy, keys, root) == "proven"
    assert as_auditor(whole, tmp_path, root) == 0
    for name in ("evidence.jsonl", "statements.jsonl", "report.html"):
        assert broken(f"remove {name}"), name
    assert broken("add directory/metadata/another.json")
    assert not broken("nothing at-all")
    assert not verify_bundle(whole, policy, trusted_keys={}).proven
    assert CONTENTS in names


Judged = TypeVar("Judged")


def one_bit(file: Path, place: int, judge: Callable[[], Judged]) -> Judged:
    """What is made of it while one bit of one byte is another; then it is as it was."""
    whole = file.read_bytes()
    bent = bytearray(whole)
    bent[place % len(whole)] ^= 1 << (place * 5 + len(whole)) % 8
    try:
        file.write_bytes(bent)
        return judge()
    finally:
        file.write_bytes(whole)


def places_in(file: Path) -> Iterable[int]:
    """The first, the last and some between."""
    size = file.stat().st_size
    return {0, size - 1, *(random.Random(file.name).randrange(size) for _ in range(6))}


def verdict_of(folder: Path, policy: Policy, keys: Mapping[str, TrustedKey], root: bytes) -> str:
    """By both ways of knowing keys; whatever is raised is an error of ours that the test reports."""
    one = verify_bundle(folder, policy, trusted_keys=keys).proven
    other = verify_bundle(folder, None, trusted_root=root).proven
    return "not proven" if not (one or other) else "proven" if one and other else "undecided"


def as_auditor(folder: Path, elsewhere: Path, root: bytes) -> int:
    """How `referral log verify BUNDLE --root root.json` ends."""
    (elsewhere / "trusted-root.json").write_bytes(root)
    words = ["log", "verify", str(folder), "--root", str(elsewhere / "trusted-root.json")]
    answer = CliRunner().invoke(referral, words)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code


def remove_albania(made: World) -> None:
    """As Albania's keepers do, years later."""
    authority = made.path / "authority"
    words = (authority / "passphrase").read_bytes()

    def signer(role: str) -> RoleSigner:
        return RoleSigner.of(open_custody(f"file:{authority / role}.json", words))

    Repository(made.path / "directory").publish_participants(
        [],
        remove=["al.nrm"],
        country_signers=[signer("al")],
        online=signer("online"),
        now=datetime.now(UTC),
    )


async def test_a_bundle_is_proven_after_its_participants_have_gone_from_the_directory(
    after_a_referral: World, tmp_path: Path
) -> None:
    made = after_a_referral
    before = await make(made, tmp_path / "before")
    policy = policy_from_directory(made)
    await asyncio.to_thread(remove_albania, made)
    await made.at_hub.refresh_directory()
    await made.at_hub.sequencer.run_once()
    after = await make(made, tmp_path / "after")
    today = await made["it.nrm"].gateway.core.directory.refresh()
    keys = {key.kid: TrustedKey(owner.id, key.alg, key.jwk) for owner, key in today.by_kid.values()}

    for folder in (before, after):
        root = made.network.root
        verdict = verify_bundle(folder, policy, trusted_root=root)
        assert verdict.proven, verdict.lines()
        assert verdict.key_from == "directory"
        assert not verify_bundle(folder, policy, trusted_keys=keys).proven, "today's do not do"
        assert not verify_bundle(folder, policy, trusted_root=b"{}").proven
    assert verify_bundle(before, None, trusted_root=made.network.root).proven
