"""`referral log bundle`: opens what a hub stands on, reads, and writes a folder or a zip file."""

from __future__ import annotations

import asyncio
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from broker.audit.bundle.bundle import figures_of
from broker.audit.bundle.report import About, file_name, html
from broker.audit.bundle.report_pdf import IN as PAPER
from broker.audit.bundle.report_pdf import write_pdf
from broker.audit.log.checkpoint import SignedCheckpoint, open_checkpoint
from broker.audit.log.note import NoteSigner, Verifier
from broker.audit.proofs.policy import Policy
from broker.audit.witnesses.countries import policy_of
from broker.clock import SystemClock
from broker.database import Database
from broker.hub.log.bundling import Wanted, sign_contents, write_bundle
from broker.hub.settings import HubSettings, SettingsError, load_settings
from keys.custody import open_custody
from keys.trust import DirectoryClient
from schemas.codes.labels import LANGUAGES
from schemas.errors import Conflict, Refused, SchemaRefused


def make_bundle(
    settings_file: Path, target: Path, first: datetime, last: datetime, corridor: str | None
) -> dict[str, object]:
    """Make a bundle; say what is in it, and whether its head has the witnesses that it needs.

    Witnesses sign one head a minute: of evidence that is younger, none has it yet.

    Args:
        first, last: Days in UTC, both included.
        corridor: Two country codes, as `it:al`.

    Raises:
        Conflict: The target exists.
        NotFound: There is no evidence of that period or corridor.
        CustodyLocked, DirectoryRefused, StorageUnavailable: As when a hub starts.
    """
    try:
        settings = load_settings(settings_file)
    except SettingsError as error:
        raise Refused(str(error)) from None
    if target.exists():
        raise Conflict("there is something at that place already")
    wanted = Wanted(
        first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + timedelta(days=1), _pair(corridor)
    )
    with TemporaryDirectory(dir=target.resolve().parent) as beside:
        folder = Path(beside) / "bundle"
        folder.mkdir()
        count, witnessed = _fill(settings, folder, wanted)
        if target.suffix == ".zip":
            made = shutil.make_archive(str(Path(beside) / "packed"), "zip", folder)
            Path(made).rename(target)
        else:
            folder.rename(target)
    return {"target": str(target), "evidence": count, "witnessed": witnessed}


def _fill(settings: HubSettings, folder: Path, wanted: Wanted) -> tuple[int, bool]:
    now = SystemClock().now()
    custody = open_custody(settings.custody, settings.passphrase_file.read_bytes())
    directory = DirectoryClient(
        str(settings.directory),
        settings.state / "bundle-directory",
        settings.directory_root.read_bytes(),
    ).refresh(now)
    log_key = NoteSigner.from_text(custody.secret(settings.log.key).decode()).verifier
    policy = policy_of(
        directory.participants.values(),
        logs=[log_key],
        needed=settings.log.witnesses_needed,
        independent=[Verifier.from_text(item.vkey) for item in settings.log.witnesses],
    )

    async def write() -> int:
        database = Database(settings.database_url())
        try:
            return await write_bundle(
                folder,
                database=database,
                directory=directory,
                repository=settings.directory,
                policy=policy,
                wanted=wanted,
            )
        finally:
            await database.close()

    count = asyncio.run(write())
    head = open_checkpoint((folder / "checkpoint").read_bytes(), policy.logs, policy.witness_keys)
    about, figures = _about(settings.hub, head, wanted, policy, now), figures_of(folder)
    for language in LANGUAGES:
        page = html(about, figures, language)
        (folder / file_name(language)).write_text(page, encoding="utf-8")
    for language in PAPER:
        write_pdf(folder / file_name(language, "pdf"), about, figures, language)
    signer = custody.signer_for(settings.suite, now, directory.participant(settings.hub))
    sign_contents(folder, hub=settings.hub, signer=signer, wanted=wanted, now=now)
    return count, policy.is_met(head.by_witnesses)


def _about(
    hub: str, head: SignedCheckpoint, wanted: Wanted, policy: Policy, now: datetime
) -> About:
    names = {key: name for name, key in policy.witnesses.items()}
    return About(
        hub=hub,
        first=wanted.start.date(),
        last=(wanted.end - timedelta(days=1)).date(),
        corridor=wanted.corridor,
        made_at=now,
        origin=head.checkpoint.origin,
        size=head.checkpoint.size,
        witnesses=tuple(names[item.by] for item in head.by_witnesses),
        enough_witnesses=policy.is_met(head.by_witnesses),
    )


def _pair(corridor: str | None) -> tuple[str, str] | None:
    if corridor is None:
        return None
    match = re.fullmatch(r"([a-z]{2}):([a-z]{2})", corridor.lower())
    if match is None:
        raise SchemaRefused("a corridor is two country codes, as it:al")
    return match[1], match[2]
