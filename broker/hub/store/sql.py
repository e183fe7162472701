"""Two small differences between the dialects, so that no query module needs to know them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Column, ColumnElement, Row, any_, literal
from sqlalchemy.ext.asyncio import AsyncConnection

AnyRow = Row[*tuple[Any, ...]]
"""A row whose columns the query names."""


def one_of(
    connection: AsyncConnection, column: Column[Any], values: Iterable[Any]
) -> ColumnElement[bool]:
    """`column` is one of `values`.

    On PostgreSQL one array parameter, so that the statement reads the same for any number of
    values and is prepared once.
    """
    found = list(values)
    if connection.dialect.name == "postgresql":
        return column == any_(literal(found, ARRAY(column.type)))
    return column.in_(found)


def given(number: int, kind: str) -> str:
    """A parameter of a PostgreSQL array type, in a place where the planner does not look at it.

    It would count the values, find a plan for so few cheaper than one for any number, and plan the
    statement anew each time: for one that reads many tables that takes longer than to run it.
    """
    return f"(SELECT ${number}::{kind}[])::{kind}[]"
