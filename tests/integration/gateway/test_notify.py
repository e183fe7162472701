"""What a mailbox, and whoever watches the line, learns of a referral: nothing."""

from __future__ import annotations

import socket
import ssl
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any
from uuid import UUID

from aiosmtpd.controller import Controller
from sqlalchemy import update

from broker.clock import TurnedClock
from broker.gateway.notify import ALARM, Notifier
from broker.gateway.settings import NotifySettings
from broker.gateway.store.alarms import raise_alarm
from broker.gateway.store.tables import inbox
from deploy.dev.certificates import Certificates
from tests.support.gateways import Side, World, open_alarms

DELAY = timedelta(minutes=31)
CANARY = "Canaria-Nobody"


class Mailbox:
    """What the server was told: every command's argument, and every mail."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.said: list[str] = []

    async def handle_EHLO(  # noqa: N802
        self, _server: Any, session: Any, _envelope: Any, name: str, answers: Any
    ) -> Any:
        session.host_name = name
        self.said.append(name)
        return answers

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        assert session.ssl is not None
        self.said += [envelope.mail_from, *envelope.rcpt_tos]
        self.mails.append(envelope.content)
        return "250 OK"


@contextmanager
def serving(box: Mailbox, certificates: Certificates | None) -> Iterator[int]:
    tls = None
    if certificates is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates.certificate, certificates.key)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        box, hostname="127.0.0.1", port=port, tls_context=tls, require_starttls=tls is not None
    )
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def notifier(side: Side, port: int, ca: Path) -> tuple[Notifier, TurnedClock]:
    core, clock = side.gateway.core, TurnedClock()
    mail = {"host": "127.0.0.1", "port": port, "sender": "gateway@mail.invalid", "ca": ca}
    recipients = [
        {"address": f"worker@{language}.invalid", "language": language}
        for language in ("en", "fr", "ar")
    ]
    notify = NotifySettings.model_validate({"mail": mail, "recipients": recipients})
    core.settings = core.settings.model_copy(update={"notify": notify})
    core.clock = clock
    return Notifier(core), clock


async def opened(side: Side, message: UUID) -> None:
    async with side.gateway.core.database.begin() as connection:
        await connection.execute(
            update(inbox).where(inbox.c.id == message).values(opened_at=side.gateway.core.now())
        )


async def test_a_referral_is_announced_to_each_worker_without_a_word_of_it(
    two: World, tmp_path: Path
) -> None:
    italy, albania = two["it.nrm"], two["al.nrm"]
    certificates, box = Certificates.make(tmp_path / "tls"), Mailbox()
    with serving(box, certificates) as port:
        telling, clock = notifier(albania, port, certificates.ca)
        assert not await telling.run_once()
        sections = {"case_admin": {"status": "Active", "case_owner": CANARY}}
        sent = await italy.refer("al.nrm", await italy.consent("al.nrm"), sections=sections)
        await italy.push()
        clock.turn(timedelta(seconds=5))
        await albania.pull()
        assert not await telling.run_once()
        assert not box.mails
        clock.turn(DELAY)
        assert await telling.run_once()
        # After a restart nothing is repeated.
        assert not await Notifier(albania.gateway.core).run_once()
        # One that a worker opens before the mail goes needs no mail.
        again = await italy.refer("al.nrm", await italy.consent("al.nrm"), sections=sections)
        await italy.push()
        await albania.pull()
        assert not await telling.run_once()
        await opened(albania, again.id)
        clock.turn(DELAY)
        assert not await telling.run_once()
    assert len(box.mails) == 3
    words = [CANARY, "CASE-1", str(sent.id), str(sent.business_id), "nrm", "Active", "referral"]
    words += [socket.gethostname(), "Ital", "Alban"]
    for raw in box.mails:
        read = message_from_bytes(raw)
        text = b64decode(str(read.get_payload())).decode()
        headers = "\n".join(f"{name}: {value}" for name, value in read.items())
        assert text.strip()
        assert not [word for word in words if word in text or word in headers]
    assert not [word for word in words if any(word in each for each in box.said)]


async def test_without_starttls_or_with_another_certificate_nothing_is_sent_and_an_alarm_says_so(
    two: World, tmp_path: Path
) -> None:
    albania, box = two["al.nrm"], Mailbox()
    ours, others = (Certificates.make(tmp_path / name) for name in ("ours", "others"))
    for certificates in (None, others):
        with serving(box, certificates) as port:
            telling, clock = notifier(albania, port, ours.ca)
            await telling.run_once()
            await raise_one(albania, clock)
            await telling.run_once()
            clock.turn(DELAY)
            assert not await telling.run_once()
            assert ALARM in await open_alarms(albania)
    assert not box.mails
    assert set(box.said) <= {"mail.invalid"}
    with serving(box, ours) as port:
        telling, clock = notifier(albania, port, ours.ca)
        clock.turn(2 * DELAY)
        assert await telling.run_once()
        assert ALARM not in await open_alarms(albania)
    assert len(box.mails) == 3


async def raise_one(side: Side, clock: TurnedClock) -> None:
    """An alarm of a code that is told about."""
    clock.turn(timedelta(minutes=1))
    async with side.gateway.core.database.begin() as connection:
        await raise_alarm(connection, "outcome-unknown", "7", now=clock.now())
