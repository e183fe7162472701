"""The parts of one gateway, joined together."""

from __future__ import annotations

from dataclasses import dataclass

from broker.gateway.cases.polling import Polling
from broker.gateway.cases.questions import Questions
from broker.gateway.cases.reporting import Reporting
from broker.gateway.cases.telling import Telling
from broker.gateway.consent.exclusions import Excluding
from broker.gateway.consent.giving import Consents
from broker.gateway.consent.knowing import KnownGrants
from broker.gateway.consent.majority import Majority
from broker.gateway.consent.withdrawal import Withdrawals
from broker.gateway.core import Core
from broker.gateway.deadlines import Deadlines
from broker.gateway.erasure.attesting import Attesting
from broker.gateway.erasure.ending import Ending
from broker.gateway.erasure.epochs import Epochs
from broker.gateway.erasure.erasing import Erasing
from broker.gateway.erasure.orders import Orders
from broker.gateway.erasure.passing import Passing
from broker.gateway.network.agreements import Agreements
from broker.gateway.network.clocks import Clocks
from broker.gateway.network.evidence import EvidenceBook
from broker.gateway.network.hub_restored import HubRestored
from broker.gateway.network.lost_receipts import LostReceipts
from broker.gateway.network.reconciling import Reconciling
from broker.gateway.network.witness import HubWitness
from broker.gateway.notify import Notifier
from broker.gateway.receive.filing import Filing
from broker.gateway.receive.intake import Intake
from broker.gateway.receive.receipts import Receipts
from broker.gateway.receive.receiver import Receiver
from broker.gateway.retention import Retention
from broker.gateway.rights.answering import Answering
from broker.gateway.rights.asking import Asking
from broker.gateway.safeguards.sweep import SafeguardsSweep
from broker.gateway.send.attachments import Attachments
from broker.gateway.send.composer import Composer
from broker.gateway.send.exceptions import Exceptions
from broker.gateway.send.outbox import Outbox
from broker.gateway.send.sender import Sender
from broker.gateway.statistics.closing import QuarterClose


@dataclass(frozen=True)
class Parts:
    """Everything that works on one `Core`."""

    core: Core
    agreements: Agreements
    composer: Composer
    sender: Sender
    consents: Consents
    grants: KnownGrants
    withdrawals: Withdrawals
    excluding: Excluding
    erasing: Erasing
    ending: Ending
    epochs: Epochs
    outbox: Outbox
    receiver: Receiver
    receipts: Receipts
    filing: Filing
    attachments: Attachments
    deadlines: Deadlines
    exceptions: Exceptions
    witness: HubWitness
    reconciling: Reconciling
    lost_receipts: LostReceipts
    polling: Polling
    telling: Telling
    reporting: Reporting
    questions: Questions
    retention: Retention
    asking: Asking
    answering: Answering
    majority: Majority
    safeguards_sweep: SafeguardsSweep
    quarter_close: QuarterClose
    notifier: Notifier
    clocks: Clocks


def join(core: Core) -> Parts:
    """Build the parts in the order in which they need each other."""
    agreements = Agreements(core)
    sender = Sender(core)
    book = EvidenceBook(core)
    consents = Consents(core, agreements, sender)
    grants = KnownGrants(core)
    orders = Orders(core, Passing(core, agreements, sender))
    withdrawals = Withdrawals(core, agreements, sender, orders)
    attachments = Attachments(core)
    receipts = Receipts(core)
    excluding = Excluding(core, agreements, sender)
    intake = Intake(core, withdrawals, orders, excluding)
    composer = Composer(core, agreements)
    sender.outbox = outbox = Outbox(core, consents, book, attachments)
    receiver = Receiver(core, agreements, grants, book, intake)
    return Parts(
        core=core,
        agreements=agreements,
        composer=composer,
        sender=sender,
        consents=consents,
        grants=grants,
        withdrawals=withdrawals,
        excluding=excluding,
        erasing=Erasing(core, orders, Attesting(core, agreements, sender)),
        ending=Ending(core, orders),
        epochs=Epochs(core),
        outbox=outbox,
        receiver=receiver,
        receipts=receipts,
        filing=Filing(core, receipts),
        attachments=attachments,
        deadlines=Deadlines(core),
        exceptions=Exceptions(core, agreements, sender),
        witness=HubWitness(core),
        polling=Polling(core, composer, sender),
        telling=Telling(core),
        reporting=Reporting(core, composer, sender),
        lost_receipts=LostReceipts(core, receiver),
        reconciling=Reconciling(core, agreements, HubRestored(core, agreements, consents)),
        questions=Questions(core),
        retention=Retention(core),
        asking=Asking(core, composer, sender),
        answering=Answering(core, composer, sender),
        majority=Majority(core, withdrawals),
        safeguards_sweep=SafeguardsSweep(core),
        quarter_close=QuarterClose(core),
        notifier=Notifier(core),
        clocks=Clocks(core),
    )
