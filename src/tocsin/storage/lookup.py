"""Read many rows of one table by key in one SELECT, on the driver's cursor.

Used by the writer before it gives any seq: claims, versions, blobs and counters of a whole group. Never writes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Table, select, tuple_
from sqlalchemy.engine.interfaces import Dialect

from tocsin.storage.connection import Cursor
from tocsin.storage.statement import Row

_SIZES = (1, 8, 64, 512)
"""Keys in one statement. Few sizes, so that few texts are compiled and cached; the last key fills what is left."""


class Lookup:
    """Values of `table` by key; 0 where no values are asked for.

    `lock` holds the rows until the transaction ends, where the database has such locks.
    """

    def __init__(
        self, table: Table, keys: tuple[str, ...], values: tuple[str, ...], dialect: Dialect, *, lock: bool = False
    ) -> None:
        self._table = table
        self._keys = keys
        self._values = values
        self._dialect = dialect
        self._lock = lock
        self._texts: dict[int, str] = {}

    def fetch(self, cursor: Cursor, wanted: Iterable[Row]) -> dict[Row, Row]:
        """Return the values of those of `wanted` that exist, by key. Keys are read, and so locked, in sorted order."""
        found: dict[Row, Row] = {}
        left = sorted(set(wanted))
        width = len(self._keys)
        for start in range(0, len(left), _SIZES[-1]):
            chunk = left[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(chunk))
            chunk += [chunk[-1]] * (size - len(chunk))
            cursor.execute(self._text(size), [value for key in chunk for value in key])
            for row in cursor.fetchall():
                found[tuple(row[:width])] = tuple(row[width:]) or (0,)
        return found

    def _text(self, size: int) -> str:
        text = self._texts.get(size)
        if text is None:
            text = self._texts[size] = self._compile(size)
        return text

    def _compile(self, size: int) -> str:
        keys = [self._table.c[name] for name in self._keys]
        # The values only say how many there are; render_postcompile writes one placeholder for each.
        any_key: tuple[Any, ...] = tuple(0 for _ in keys)
        one_of = keys[0].in_([0] * size) if len(keys) == 1 else tuple_(*keys).in_([any_key] * size)
        values = [self._table.c[name] for name in self._values]
        query = select(*keys, *values).where(one_of)
        if self._lock:
            query = query.order_by(*keys).with_for_update()
        return str(query.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True}))
