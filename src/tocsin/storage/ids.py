"""Numeric ids, taken from blocks that each process reserves durably: below 2**53, no clock in them, never given twice.

What is left of a block when a process ends is never given: ids have holes. A taken id costs no write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import bindparam, select, update

from tocsin.domain.errors import Stale
from tocsin.domain.ids import MAX_ID, SYSTEM_ACCOUNT
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.schema import id_block
from tocsin.storage.statement import Statement, insert_into
from tocsin.storage.unit import ABSENT, Applies, Expect, Unit

IdKind = Literal["message", "directory", "work", "attempt"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The first id of a kind, and how many are reserved at once."""

    first: int
    block: int


# First ids have the number of digits that RingCentral's have, so that columns and fields sized for those fit.
_PLANS: dict[str, _Plan] = {
    "message": _Plan(100_000_000_001, 20_000),
    "directory": _Plan(400_000_001, 200),
    "work": _Plan(1, 10_000),
    "attempt": _Plan(1, 20_000),
}

INSERT_BLOCK = insert_into(id_block)
UPDATE_BLOCK = Statement(
    "update_id_block",
    update(id_block)
    .where(id_block.c.account_id == bindparam("of_account"), id_block.c.kind == bindparam("of_kind"))
    .values(next_id=bindparam("to_next")),
    ("of_account", "of_kind", "to_next"),
)
FETCH_BLOCK = Statement(
    "fetch_id_block",
    select(id_block.c.next_id).where(
        id_block.c.account_id == bindparam("of_account"), id_block.c.kind == bindparam("of_kind")
    ),
    ("of_account", "of_kind"),
)


class _Block:
    """The ids of one kind that this process may give: ranges, each reserved as a whole, in the order of reservation."""

    __slots__ = ("left", "plan", "ranges", "reserving")

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.left = 0
        self.ranges: deque[range] = deque()
        self.reserving: asyncio.Task[None] | None = None

    def extend(self, first: int, end: int) -> None:
        self.ranges.append(range(first, end))
        self.left += end - first

    def take(self, count: int) -> list[int]:
        """Remove and return `count` ids; `left` must be enough."""
        taken: list[int] = []
        while len(taken) < count:
            ids = self.ranges.popleft()
            wanted = count - len(taken)
            taken += ids[:wanted]
            if wanted < len(ids):
                self.ranges.appendleft(ids[wanted:])
        self.left -= count
        return taken


class Ids:
    """Gives ids on one event loop. Does not suspend while a reserved block has some; the next is reserved ahead."""

    def __init__(self, writer: Applies, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._blocks = {kind: _Block(plan) for kind, plan in _PLANS.items()}

    async def take(self, kind: IdKind) -> int:
        """Return an id of `kind` that was never given before."""
        return (await self.take_many(kind, 1))[0]

    async def take_many(self, kind: IdKind, count: int) -> list[int]:
        """Return `count` ids of `kind`, rising but not always adjacent. Raises as `apply` does."""
        block = self._blocks[kind]
        while block.left < count:
            # Shielded: a caller that is cancelled must not take the reservation from the others that wait for it.
            await asyncio.shield(self._reserve(kind, block, count))
        taken = block.take(count)
        if block.left < block.plan.block // 2:
            self._reserve(kind, block, 0)
        return taken

    async def close(self) -> None:
        """Wait for reservations that are under way."""
        pending = [block.reserving for block in self._blocks.values() if block.reserving is not None]
        await asyncio.gather(*pending, return_exceptions=True)

    def _reserve(self, kind: str, block: _Block, wanted: int) -> asyncio.Task[None]:
        if block.reserving is None or block.reserving.done():
            size = max(block.plan.block, wanted)
            block.reserving = asyncio.get_running_loop().create_task(self._extend(kind, block, size))
        return block.reserving

    async def _extend(self, kind: str, block: _Block, size: int) -> None:
        while True:
            stored = await self._readers.run(_fetch_next, kind)
            first = block.plan.first if stored is None else stored
            if first + size > MAX_ID:
                raise RuntimeError(f"no {kind} ids are left")
            unit = Unit(SYSTEM_ACCOUNT)
            unit.expects.append(Expect("id_block", (kind,), ABSENT if stored is None else stored))
            unit.add(INSERT_BLOCK if stored is None else UPDATE_BLOCK, (SYSTEM_ACCOUNT, kind, first + size))
            try:
                await self._writer.apply(unit)
            except Stale:
                continue  # another process took this block
            block.extend(first, first + size)
            return


def _fetch_next(conn: ReadConnection, kind: str) -> int | None:
    row = conn.one(FETCH_BLOCK, (SYSTEM_ACCOUNT, kind))
    return None if row is None else row[0]
