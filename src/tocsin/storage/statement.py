"""Statements, written once in SQLAlchemy Core and compiled once per dialect to what the driver's cursor takes.

A row is a plain tuple in the order of `Statement.columns`; the compiled form knows how the driver wants it ordered.
Nothing here opens a connection.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from sqlalchemy import Delete, Insert, Select, Table, Update, bindparam, delete, insert
from sqlalchemy.engine.interfaces import Dialect

Row = tuple[Any, ...]

_ONE_ROW = re.compile(r" VALUES (\((?:\?, )*\?\))$")


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """A named Core statement and the order in which its callers give the values of a row.

    `order` ranks it within a unit's transaction (parents before children); statements of equal rank keep the order in
    which units first name them.
    """

    name: str
    core: Insert | Update | Delete | Select[Any]
    columns: tuple[str, ...]
    order: int = 50


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement as one driver takes it: its text, and the positions of a row's values in the driver's order.

    `constants` are values that the statement itself holds; their positions follow those of the row's.
    """

    sql: str
    positions: tuple[int, ...]
    constants: Row = ()
    values: str = ""
    """Of an insert of one row of values: the text of that row, so that a driver can write several at once."""

    def arrange(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return `rows` in the driver's order; the rows themselves when that is the callers' order."""
        if self.positions == tuple(range(len(self.positions))):
            return [(*row, *self.constants) for row in rows] if self.constants else rows
        if len(self.positions) == 1:
            return [((*row, *self.constants)[self.positions[0]],) for row in rows]
        pick = itemgetter(*self.positions)
        return [pick((*row, *self.constants)) for row in rows]


def prepare(statement: Statement, dialect: Dialect) -> Prepared:
    """Compile `statement` for `dialect`, whose paramstyle must be positional.

    Raises ValueError when `columns` names a value that the statement doesn't take.
    """
    compiled = statement.core.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    names = list(compiled.positiontup or ())
    constants = [name for name in dict.fromkeys(names) if name not in statement.columns]
    unknown = set(statement.columns) - set(names)
    if unknown:
        raise ValueError(f"{statement.name} takes no {', '.join(sorted(unknown))}")
    known = [*statement.columns, *constants]
    values = compiled.params
    missing = [name for name in constants if compiled.binds[name].required]
    if missing:
        raise ValueError(f"{statement.name} needs {', '.join(missing)}, which its columns don't name")
    sql = str(compiled)
    return Prepared(
        sql,
        tuple(known.index(name) for name in names),
        tuple(values[name] for name in constants),
        found.group(1) if isinstance(statement.core, Insert) and (found := _ONE_ROW.search(sql)) else "",
    )


def insert_into(table: Table, *, order: int = 50) -> Statement:
    """An insert of all columns of `table`, in the table's order."""
    names = tuple(column.name for column in table.columns)
    return Statement(
        f"insert_{table.name}", insert(table).values({name: bindparam(name) for name in names}), names, order
    )


def delete_from(table: Table, *, order: int = 50) -> Statement:
    """A delete of one row of `table` by its whole primary key, in the table's order."""
    keys = tuple(table.primary_key.columns)
    names = tuple(f"k_{column.name}" for column in keys)
    which = [column == bindparam(name) for column, name in zip(keys, names, strict=True)]
    return Statement(f"delete_{table.name}", delete(table).where(*which), names, order)
