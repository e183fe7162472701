"""E-mail that says nothing: that there is something new in the gateway, and never what.

Subject and text are constants of a language. No number, no name, no partner, no code: whoever reads
a mailbox, or only sees that mail goes, learns no more than that a gateway is in use. Several events
make one mail, a random while after the first, so that its time does not tell of another's; and so
many a day at most. What a worker has opened meanwhile, and what gateways deal with among themselves,
calls nobody.

What was told lies in `notify.json` in the home, so that a restart neither repeats nor forgets.
SMTP (RFC 5321) with STARTTLS (RFC 3207) and a verified certificate, or not at all.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import smtplib
import ssl
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import func, select

from broker.gateway.core import Core
from broker.gateway.settings import MailSettings, NotifySettings
from broker.gateway.store.alarms import clear_alarms, raise_alarm
from broker.gateway.store.tables import alarm, inbox
from broker.telemetry import logger
from schemas.errors import Unavailable

ALARM: Final = "notification-failed"
STATE: Final = "notify.json"
DAY: Final = timedelta(days=1)
FOR_MACHINES: Final = frozenset({"consent.record", "directory.announce"})
"""Types that gateways deal with among themselves: no worker opens them, so none is called."""
_TIMEOUT: Final = 20.0

WORDS: Final = {
    "en": ("Your gateway", "There is something new in your gateway. Please sign in to it."),
    "fr": (
        "Votre passerelle",
        "Il y a du nouveau dans votre passerelle. Veuillez vous y connecter.",
    ),
    "ar": ("بوابتك", "يوجد جديد في بوابتك. يرجى تسجيل الدخول إليها."),
}
"""Subject and text, by language; nothing is ever put into them."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was seen and said so far."""

    seen: datetime
    """The newest event that a mail was sent or planned for."""
    before: datetime | None = None
    """What had been seen when the planned mail was planned: it is about what is newer."""
    due: datetime | None = None
    """When the planned mail goes; None: none is planned."""
    sent: tuple[datetime, ...] = ()
    """Mails of the last day."""


def plan(
    told: Told, newest: datetime | None, now: datetime, settings: NotifySettings, draw: float
) -> Told:
    """What is to be said, after a look at what is new.

    Args:
        newest: When the newest event happened; None if there is none at all.
        draw: From 0 to 1: where between the shortest and the longest delay a new plan falls.
    """
    told = replace(told, sent=tuple(moment for moment in told.sent if now - moment < DAY))
    if newest is None or newest <= told.seen:
        return told
    delay = settings.shortest + draw * (settings.longest - settings.shortest)
    if told.due is None:
        return replace(told, seen=newest, before=told.seen, due=now + delay)
    return replace(told, seen=newest)


def still_worth_it(told: Told, newest: datetime | None) -> Told:
    """Without the plan, if a worker has seen everything meanwhile that it was about."""
    if told.due is None or (newest is not None and newest > (told.before or told.seen)):
        return told
    return replace(told, due=None, before=None)


def is_due(told: Told, now: datetime, settings: NotifySettings) -> bool:
    """True if a mail goes now: planned, and not more than so many within a day."""
    sent = [moment for moment in told.sent if now - moment < DAY]
    if told.due is None or len(sent) >= settings.most_a_day:
        return False
    # Planned further ahead than any plan reaches: the clock has been put back since.
    return now >= told.due or told.due > now + settings.longest


def said(told: Told, now: datetime) -> Told:
    """After a mail has gone."""
    return replace(told, due=None, before=None, sent=(*told.sent, now))


class Post(Protocol):
    """Takes one mail for each recipient, or raises."""

    def __call__(self, settings: NotifySettings, now: datetime) -> None: ...


class Notifier:
    """Looks for what is new, and says so. One task."""

    def __init__(
        self,
        core: Core,
        post: Post | None = None,
        draw: Callable[[], float] = secrets.SystemRandom().random,
    ) -> None:
        self._core = core
        self._draw = draw
        self._file = core.settings.path(Path(STATE))
        self._post = post or (lambda settings, now: send_all(settings, core.settings.path, now))

    async def run(self) -> None:
        settings = self._core.settings.notify
        if settings is None:
            await asyncio.Event().wait()  # for ever: a loop that ends is begun again
            return
        while True:
            try:
                await self.run_once()
            except Unavailable as error:
                logger().warning("notify:waits", code=error.code)
            await asyncio.sleep(settings.every.total_seconds())

    async def run_once(self) -> bool:
        """Look once; True if mail went out.

        Raises:
            Unavailable: Our own database cannot be asked now.
        """
        settings, now = self._core.settings.notify, self._core.now()
        if settings is None:
            return False
        told = await asyncio.to_thread(_read, self._file)
        first = told is None
        newest = await self._newest(settings)
        planned = plan(told or Told(seen=now), newest, now, settings, self._draw())
        told, dropped = still_worth_it(planned, newest), planned.due is not None
        goes = is_due(told, now, settings)
        if goes:
            # Noted before it is tried: one mail too few says less than one too many.
            await asyncio.to_thread(_write, self._file, said(told, now))
            try:
                await asyncio.to_thread(self._post, settings, now)
            except (OSError, smtplib.SMTPException, ValueError) as error:
                logger().error("notify:failed", code=type(error).__name__)
                again = (
                    now + settings.shortest + self._draw() * (settings.longest - settings.shortest)
                )
                await asyncio.to_thread(_write, self._file, replace(told, due=again))
                await self._alarm(raised=True)
                return False
            await self._alarm(raised=False)
        elif first or dropped or told.due is not None:
            await asyncio.to_thread(_write, self._file, told)
        return goes

    async def _newest(self, settings: NotifySettings) -> datetime | None:
        """When the newest message came that a worker has not opened, or the newest alarm that is
        told about was raised and still stands."""
        async with self._core.database.read() as connection:
            moments = [
                await connection.scalar(
                    select(func.max(inbox.c.received_at)).where(
                        inbox.c.opened_at.is_(None),
                        inbox.c.erased_at.is_(None),
                        inbox.c.type.not_in(FOR_MACHINES),
                    )
                ),
                await connection.scalar(
                    select(func.max(alarm.c.raised_at)).where(
                        alarm.c.code.in_(settings.alarms), alarm.c.cleared_at.is_(None)
                    )
                ),
            ]
        return max((moment for moment in moments if moment is not None), default=None)

    async def _alarm(self, *, raised: bool) -> None:
        now = self._core.now()
        async with self._core.database.begin() as connection:
            if raised:
                await raise_alarm(connection, ALARM, "mail", now=now)
            else:
                await clear_alarms(connection, "mail", ALARM, now=now)


def mail(settings: MailSettings, to: str, language: str, now: datetime) -> EmailMessage:
    """The whole mail for one recipient."""
    subject, text = WORDS[language]
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = format_datetime(now.astimezone(UTC).replace(microsecond=0))
    # Random, and without the name of this machine, which the library would put in.
    message["Message-ID"] = f"<{secrets.token_hex(16)}@{settings.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text, cte="base64")
    return message


def send_all(settings: NotifySettings, path: Callable[[Path], Path], now: datetime) -> None:
    """One mail to each recipient, of whom none learns of the others.

    Raises:
        smtplib.SMTPException: The server offers no STARTTLS (then nothing was said to it but a
            greeting), or does not take it.
        OSError: Not reached, or its certificate is not good.
    """
    server = settings.mail
    context = ssl.create_default_context(cafile=None if server.ca is None else path(server.ca))
    with smtplib.SMTP(
        server.host, server.port, timeout=_TIMEOUT, local_hostname=server.sender.rpartition("@")[2]
    ) as line:
        line.starttls(context=context)
        if server.user is not None and server.password_file is not None:
            line.login(server.user, _password(path(server.password_file)))
        for recipient in settings.recipients:
            line.send_message(mail(server, recipient.address, recipient.language, now))


def _password(file: Path) -> str:
    if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError("the password file is open to others; chmod 600")
    return file.read_text("utf-8").strip()


def _read(file: Path) -> Told | None:
    try:
        value = json.loads(file.read_text("ascii"))
        due, sent, before = value["due"], value["sent"], value.get("before")
        return Told(
            datetime.fromisoformat(value["seen"]),
            before=None if before is None else datetime.fromisoformat(before),
            due=None if due is None else datetime.fromisoformat(due),
            sent=_moments(sent),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the first look; what came before it is not new


def _moments(texts: Sequence[str]) -> tuple[datetime, ...]:
    return tuple(map(datetime.fromisoformat, texts))


def _write(file: Path, told: Told) -> None:
    value = {
        "seen": told.seen.isoformat(),
        "before": None if told.before is None else told.before.isoformat(),
        "due": None if told.due is None else told.due.isoformat(),
        "sent": [moment.isoformat() for moment in told.sent],
    }
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        json.dump(value, handle)
    part.replace(file)
