"""Talks to a hub: the SDK that the gateway and scripts use.

`HubClient` is `docs/protocol.md` section 4 as typed calls; `DirectoryWatcher` keeps the trust
directory fresh. Neither decides anything: what comes back is evidence, to be verified by the
caller with `keys.signing`, or an error of `schemas.errors`.
"""

from broker.client.directory import DirectoryWatcher
from broker.client.hub import HubClient
from broker.client.results import (
    Channels,
    EnvelopeState,
    GrantAnswer,
    GrantChange,
    GrantChanges,
    MailboxItem,
    Proof,
    QueueChannel,
    Refusal,
    Submitted,
)
from broker.client.revocations import KnownRevocations

__all__ = [
    "Channels",
    "DirectoryWatcher",
    "EnvelopeState",
    "GrantAnswer",
    "GrantChange",
    "GrantChanges",
    "HubClient",
    "KnownRevocations",
    "MailboxItem",
    "Proof",
    "QueueChannel",
    "Refusal",
    "Submitted",
]
