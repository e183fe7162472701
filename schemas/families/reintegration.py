"""Reintegration and monitoring: her plan, grants, contact, conferences, the end of a case."""

from __future__ import annotations

from functools import partial

from schemas.bodies import reintegration as bodies
from schemas.consent import Purpose
from schemas.envelope import Kind
from schemas.families.base import (
    CONSENTED,
    DANGER,
    Chapter,
    Corridor,
    Direction,
    MessageType,
    sections,
)
from schemas.families.deadline import days, working_days

_row = partial(MessageType, chapter=Chapter.REINTEGRATION, machine="dialogue")
_plan = partial(
    _row,
    purposes=frozenset({Purpose.REINTEGRATION}),
    permitted_sections=sections("REI VUL"),
)
_grant = partial(
    _row,
    purposes=frozenset({Purpose.REINTEGRATION, Purpose.COMPENSATION}),
    permitted_sections=sections("CMP"),
)
_watch = partial(_row, purposes=frozenset({Purpose.MONITORING}))
_table = partial(_row, permitted_sections=sections("ADM"))

TYPES: tuple[MessageType, ...] = (
    _plan(
        "reintegration.plan.share",
        Kind.REQUEST,
        bodies.PlanShared,
        Direction.FORWARD,
        "begin",
        opens=True,
        preconditions=CONSENTED,
        required_sections=sections("REI"),
        replies=("reintegration.plan.comment",),
        deadline=days(14),
        filed=True,
    ),
    _plan(
        "reintegration.plan.comment",
        Kind.ANSWER,
        bodies.PlanComment,
        Direction.EITHER,
        "say",
    ),
    _plan(
        "reintegration.plan.update",
        Kind.NOTICE,
        bodies.PlanShared,
        Direction.EITHER,
        "say",
        preconditions=CONSENTED,
        required_sections=sections("REI"),
        filed=True,
    ),
    _grant(
        "grant.authorise",
        Kind.REQUEST,
        bodies.GrantAuthorised,
        Direction.FORWARD,
        "begin",
        opens=True,
        corridor=Corridor.TO_ORIGIN,
        preconditions=CONSENTED,
        replies=("grant.disbursed", "grant.adjust"),
        deadline=days(10),
    ),
    _grant(
        "grant.disbursed",
        Kind.ANSWER,
        bodies.GrantDisbursed,
        Direction.BACK,
        "say",
        corridor=Corridor.TO_DESTINATION,
    ),
    _grant("grant.adjust", Kind.ANSWER, bodies.GrantAdjusted, Direction.EITHER, "say"),
    _watch(
        "monitoring.request",
        Kind.REQUEST,
        bodies.MonitoringRequest,
        Direction.FORWARD,
        "begin",
        opens=True,
        corridor=Corridor.TO_ORIGIN,
        preconditions=CONSENTED,
        permitted_sections=sections("ADM MON"),
        replies=("monitoring.report", "contact.lost", "contact.restored"),
        deadline=days(30),
    ),
    _watch(
        "monitoring.report",
        Kind.ANSWER,
        bodies.MonitoringReport,
        Direction.BACK,
        "say",
        corridor=Corridor.TO_DESTINATION,
        permitted_sections=sections("MON"),
        filed=True,
    ),
    _watch(
        "contact.lost",
        Kind.NOTICE,
        bodies.ContactLost,
        Direction.EITHER,
        "begin",
        opens=True,
        corridor=Corridor.TO_DESTINATION,
        preconditions=CONSENTED,
        exceptions=DANGER,
        permitted_sections=sections("MON RSK"),
        purposes=frozenset({Purpose.MONITORING, Purpose.PROTECTION}),
    ),
    _watch(
        "contact.restored",
        Kind.NOTICE,
        bodies.ContactRestored,
        Direction.EITHER,
        "say",
        corridor=Corridor.TO_DESTINATION,
        permitted_sections=sections("MON"),
    ),
    _table(
        "conference.invite",
        Kind.NOTICE,
        bodies.ConferenceInvite,
        Direction.FORWARD,
        "begin",
        opens=True,
        replies=("conference.attend",),
        deadline=working_days(5),
    ),
    _table("conference.attend", Kind.ANSWER, bodies.ConferenceAttend, Direction.BACK, "say"),
    _table("conference.minutes", Kind.NOTICE, bodies.ConferenceMinutes, Direction.EITHER, "end"),
    _row(
        "case.reopen",
        Kind.NOTICE,
        bodies.CaseReopen,
        Direction.FORWARD,
        "tell",
        machine="notice",
        opens=True,
        preconditions=CONSENTED,
        exceptions=DANGER,
        permitted_sections=sections("ADM RSK"),
    ),
    _row(
        "case.close",
        Kind.NOTICE,
        bodies.CaseClose,
        Direction.EITHER,
        "tell",
        machine="notice",
        also={"return": "close", "dialogue": "end"},
        opens=True,
        permitted_sections=sections("ADM"),
    ),
)
