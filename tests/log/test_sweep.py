from collections.abc import Sequence

import pytest

from tests.clocks import ManualClock
from tocsin.domain.ids import AccountId, Seq
from tocsin.log.sweep import MARGIN_MS, WHOLE_EVERY_S, Sweep

pytestmark = pytest.mark.anyio


class Counters:
    def __init__(self) -> None:
        self.rows: list[tuple[int, int, int]] = []
        self.since: list[int] = []

    async def touched(self, since_ms: int) -> Sequence[tuple[AccountId, Seq, int]]:
        self.since.append(since_ms)
        return [(AccountId(a), Seq(s), at) for a, s, at in self.rows if at >= since_ms]

    async def behind(self, after: AccountId, limit: int) -> Sequence[tuple[AccountId, Seq]]:
        return [(AccountId(a), Seq(s)) for a, s, _ in self.rows if a > after][: min(limit, 2)]


class Told:
    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    async def reached(self, account_id: AccountId, seq: Seq) -> None:
        self.told.append((account_id, seq))


async def test_the_first_turn_tells_of_every_account_behind_page_by_page() -> None:
    counters, told, clock = Counters(), Told(), ManualClock()
    counters.rows = [(number, number * 10, 0) for number in range(5)]
    await Sweep(counters, told, clock).turn()
    assert told.told == [(number, number * 10) for number in range(5)]


async def test_later_turns_tell_of_what_was_touched_since_less_a_margin() -> None:
    counters, told, clock = Counters(), Told(), ManualClock()
    sweep = Sweep(counters, told, clock)
    await sweep.turn()
    at_ms = clock.now_ms() + 500
    counters.rows = [(1, 10, at_ms), (2, 20, at_ms - MARGIN_MS - 501)]
    await sweep.turn()
    assert told.told == [(1, 10)]
    await sweep.turn()
    assert counters.since[-1] == at_ms - MARGIN_MS


async def test_once_a_minute_everything_is_told() -> None:
    counters, told, clock = Counters(), Told(), ManualClock()
    sweep = Sweep(counters, told, clock)
    counters.rows = [(1, 10, 0)]
    await sweep.turn()
    await sweep.turn()
    assert told.told == [(1, 10)]
    clock.advance(WHOLE_EVERY_S)
    await sweep.turn()
    assert told.told == [(1, 10), (1, 10)]
