"""What the hub counts. Labels are participants, lanes and codes; never an id, never a person."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry per hub, so that two in one process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "hub_envelopes_accepted",
            "Envelopes that are durable, with their evidence",
            ["lane", "kind"],
            registry=self.registry,
        )
        self.repeated = Counter(
            "hub_envelopes_repeated",
            "The same bytes again: the same answer",
            registry=self.registry,
        )
        self.refused = Counter(
            "hub_envelopes_refused",
            "Refusals to known participants, each with signed evidence",
            ["code"],
            registry=self.registry,
        )
        self.suspect = Counter(
            "hub_suspect", "Quarantined, a person must look", ["code"], registry=self.registry
        )
        self.strangers = Counter(
            "hub_strangers", "Requests by nobody we know", ["code"], registry=self.registry
        )
        self.handed_over = Counter(
            "hub_handed_over", "Items given out", ["channel", "item"], registry=self.registry
        )
        self.stopped = Counter(
            "hub_envelopes_stopped",
            "Accepted, and not handed over",
            ["code"],
            registry=self.registry,
        )
        self.overdue = Counter(
            "hub_overdue",
            "Silence that became evidence: somebody must look",
            ["what", "lane"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "hub_waiting", "Items not handed over yet", ["lane"], registry=self.registry
        )
        self.healthy = Gauge("hub_healthy", "1 if ready", registry=self.registry)
        self.days_left = Gauge(
            "hub_days_left",
            "Until our key ends without a successor, or a role of the directory unless signed anew",
            ["what"],
            registry=self.registry,
        )
        self.clock_ahead = Gauge(
            "hub_clock_ahead_seconds",
            "A participant's clock minus ours, by its last signed request",
            ["participant"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "hub_batch_size",
            "Submissions in one transaction",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=self.registry,
        )
        self.accept_seconds = Histogram(
            "hub_accept_seconds",
            "From the whole request to durable",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
