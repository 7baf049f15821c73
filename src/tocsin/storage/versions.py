"""What the writer checks before it gives any seq: claims not yet taken, rows still at the version that was read.

One SELECT per table for a whole group. Says which units must not be written and why; writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine.interfaces import Dialect

from tocsin.domain.errors import Stale
from tocsin.domain.ids import AccountId
from tocsin.storage import schema
from tocsin.storage.connection import Cursor
from tocsin.storage.group import Standing, claim_keys
from tocsin.storage.lookup import Lookup
from tocsin.storage.statement import Row
from tocsin.storage.unit import ABSENT, AlreadyClaimed, Unit

_VERSION_COLUMNS = ("modified_seq", "epoch", "doomed", "next_id", "ended")
"""The first of these that a table has is its version; a table with none has version 0 for every row."""


class Versions:
    """Reads keys and versions on the writer's connection, inside its transaction."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._claims = Lookup(schema.claim, ("account_id", "kind", "key"), ("value",), dialect)
        self._counters = Lookup(schema.counter, ("account_id",), ("seq", "touched_ms"), dialect, lock=True)
        self._tables: dict[str, Lookup] = {}

    def counters(self, cursor: Cursor, units: Sequence[Unit]) -> dict[AccountId, Standing]:
        """Return where the logs of the accounts stand to which `units` append; absent where there is none yet."""
        wanted = {(unit.account_id,) for unit in units if unit.drafts}
        found = self._counters.fetch(cursor, wanted) if wanted else {}
        return {AccountId(key[0]): Standing(*values) for key, values in found.items()}

    def refused(self, cursor: Cursor, units: Sequence[Unit]) -> dict[int, Exception]:
        """Return, by place in `units`, the error of each unit that must not be written."""
        if not any(unit.claims or unit.expects or unit.blobs for unit in units):
            return {}
        claimed = self._claimed(cursor, units)
        present = self._present(cursor, units)
        refused: dict[int, Exception] = {}
        for place, unit in enumerate(units):
            earlier = {
                (one.kind, one.key): claimed[unit.account_id, one.kind, one.key][0]
                for one in unit.claims
                if (unit.account_id, one.kind, one.key) in claimed
            }
            if earlier:
                refused[place] = AlreadyClaimed(earlier)
            elif not _is_fresh(unit, present):
                refused[place] = Stale()
        return refused

    def _claimed(self, cursor: Cursor, units: Sequence[Unit]) -> dict[Row, Row]:
        wanted = [key for unit in units for key in claim_keys(unit)]
        return self._claims.fetch(cursor, wanted) if wanted else {}

    def _present(self, cursor: Cursor, units: Sequence[Unit]) -> dict[str, dict[Row, Row]]:
        wanted: dict[str, set[Row]] = {}
        for unit in units:
            for one in unit.expects:
                wanted.setdefault(one.table, set()).add((unit.account_id, *one.key))
            for key in unit.blobs:
                wanted.setdefault("blob", set()).add((unit.account_id, key))
        return {table: self._lookup(table).fetch(cursor, keys) for table, keys in wanted.items()}

    def _lookup(self, name: str) -> Lookup:
        lookup = self._tables.get(name)
        if lookup is None:
            table = schema.metadata.tables[name]
            keys = tuple(column.name for column in table.primary_key.columns)
            version = tuple(column for column in _VERSION_COLUMNS if column in table.c)[:1]
            lookup = self._tables[name] = Lookup(table, keys, version, self._dialect)
        return lookup


def _is_fresh(unit: Unit, present: dict[str, dict[Row, Row]]) -> bool:
    for one in unit.expects:
        found = present[one.table].get((unit.account_id, *one.key))
        if (ABSENT if found is None else found[0]) != one.version:
            return False
    return all(present["blob"].get((unit.account_id, key)) == (0,) for key in unit.blobs)
