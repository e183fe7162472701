"""Within what time an answer is due: a rule as data, with where it comes from.

A rule `from` a source is the field's own; `proposed` is ours, and meant to be set anew for each
corridor.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from schemas.bodies.common import Urgency

PROPOSED = "proposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A span by urgency, in working days or in calendar months; one of the three."""

    origin: str
    """The source, or `proposed`."""
    within: Mapping[Urgency, timedelta] | None = None
    working_days: int = 0
    """Monday to Friday; feasts differ by country and are left to the corridor's settings."""
    months: int = 0
    """Calendar months, as the law counts them (Regulation 1182/71, Art 3)."""
    not_before: timedelta | None = None
    """A window: before this span has passed nothing is expected."""

    def due(self, sent_at: datetime, urgency: Urgency = Urgency.NORMAL) -> datetime:
        """When the answer to something sent then is due."""
        if self.within is not None:
            return sent_at + self.within[urgency]
        if self.months:
            return after_months(sent_at, self.months)
        return after_working_days(sent_at, self.working_days)

    def opens(self, sent_at: datetime) -> datetime:
        """From when on an answer is expected."""
        return sent_at + (self.not_before or timedelta())

    def text(self) -> str:
        """For a table, as in `24 h / 72 h / 14 d`."""
        if self.within is not None:
            spans = list(dict.fromkeys(_span(self.within[urgency]) for urgency in Urgency))
            return " / ".join(spans)
        if self.months:
            first = f"{_span(self.not_before)} – " if self.not_before else ""
            return f"{first}{self.months} month{'s' if self.months > 1 else ''}"
        return f"{self.working_days} working days"


def _span(span: timedelta) -> str:
    hours = span // timedelta(hours=1)
    return f"{hours} h" if hours <= 72 else f"{hours // 24} d"


def hours(count: int, origin: str = PROPOSED) -> Deadline:
    """The same number of hours whatever the urgency."""
    return Deadline(origin=origin, within=dict.fromkeys(Urgency, timedelta(hours=count)))


def days(count: int, origin: str = PROPOSED) -> Deadline:
    """The same number of calendar days whatever the urgency."""
    return hours(24 * count, origin)


def working_days(count: int, origin: str = PROPOSED) -> Deadline:
    """The same number of working days whatever the urgency."""
    return Deadline(origin=origin, working_days=count)


BY_URGENCY = Deadline(
    origin="inter-agency referral form",
    within=MappingProxyType(
        {
            Urgency.EMERGENCY: timedelta(hours=24),
            Urgency.URGENT: timedelta(hours=72),
            Urgency.NORMAL: timedelta(days=14),
        }
    ),
)
EARLY_WINDOW = Deadline(
    origin="RAVOT-EUR final conference, 2016", months=2, not_before=timedelta(days=14)
)
"""Two weeks to two months before a return that may never be."""
ONE_MONTH = Deadline(origin="GDPR Art 12(3)", months=1)


def after_months(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of a shorter month."""
    count = moment.month - 1 + months
    year, month = moment.year + count // 12, count % 12 + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day)


def after_working_days(moment: datetime, count: int) -> datetime:
    """So many days later, Saturdays and Sundays not counted."""
    while count:
        moment += timedelta(days=1)
        count -= moment.weekday() < 5
    return moment
