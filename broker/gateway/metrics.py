"""Metrics: how many of what in which state. Counted by the loops' own task, never per person."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from broker.gateway.parts import Parts
from keys.rotation import days_left


class GatewayMetrics(Collector):
    """Reads the gateway's own state when asked. Served on a port of its own, on loopback."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        core = self._parts.core
        yield _gauge(
            "gateway_log_healthy",
            "1 if the gateway's own log is written and signed in time",
            core.log.sequencer.healthy(core.now()),
        )
        yield _gauge(
            "gateway_hub_reachable",
            "1 if the hub answered the outbox last",
            self._parts.outbox.hub_reachable,
        )
        yield _gauge(
            "gateway_consent_fresh",
            "1 if what is known of grants is young enough to unseal under",
            self._parts.grants.is_fresh(),
        )
        ahead = core.hub.clock_ahead
        yield _gauge(
            "gateway_hub_clock_ahead_seconds",
            "the hub's clock minus ours at its last answer",
            0.0 if ahead is None else ahead.total_seconds(),
        )
        yield _gauge(
            "gateway_key_days_left",
            "days until the first of our keys ends that has no successor",
            _days_left(self._parts),
        )


def _days_left(parts: Parts) -> float:
    core = parts.core
    now = core.now()
    return days_left(core.self_entry().keys, now)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
