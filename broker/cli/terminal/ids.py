"""Ids as arguments: what is none is a mistake of writing, not something that was not found."""

from __future__ import annotations

from uuid import UUID

import click


class IdParam(click.ParamType[str]):
    """An id as `referral inbox` and `referral consent list` show it."""

    name = "id"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            return str(UUID(str(value)))
        except ValueError:
            self.fail("not an id; referral inbox and referral consent list show them", param, ctx)


ID = IdParam()
