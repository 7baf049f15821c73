import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.log.entries import changes
from tocsin.domain.entry import Entry
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import AccountId
from tocsin.log.follower import STRAGGLER_S, Follower
from tocsin.log.turns import RETRY_S, Turns

ACCOUNT = AccountId(1)


class Timers:
    """Timers that a test lets ring."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, Callable[[], None]]] = []
        self.asked = asyncio.Event()

    def __call__(self, delay_s: float, ring: Callable[[], None]) -> "Timers":
        self.waiting.append((delay_s, ring))
        self.asked.set()
        return self

    def cancel(self) -> None:
        self.waiting.clear()

    def ring(self) -> float:
        delay_s, ring = self.waiting.pop(0)
        ring()
        return delay_s


class Log:
    """The database's log, up to `end`; `away` makes the next reading fail."""

    def __init__(self) -> None:
        self.end = 0
        self.away = False
        self.readings = 0

    async def entries(self, account_id: AccountId, after_seq: int, limit: int) -> Sequence[Entry]:
        self.readings += 1
        if self.away:
            self.away = False
            raise StoreUnavailable
        return changes(*range(after_seq + 1, min(self.end, after_seq + limit) + 1))


class Reader:
    def __init__(self) -> None:
        self.taken: list[int] = []
        self.limit: int | None = None
        self.moved = asyncio.Event()

    def take(self, entries: Sequence[Entry]) -> int:
        room = len(entries) if self.limit is None else max(0, self.limit - len(self.taken))
        self.taken += [one.seq for one in entries[:room]]
        self.moved.set()
        return min(room, len(entries))

    async def until(self, seq: int) -> None:
        async with asyncio.timeout(10):
            while not self.taken or self.taken[-1] < seq:
                self.moved.clear()
                await self.moved.wait()


class Scene:
    def __init__(self) -> None:
        self.log, self.reader, self.timers = Log(), Reader(), Timers()
        self.turns = Turns("test", 1, self.timers)
        self.follower = Follower(ACCOUNT, 0, self.reader, self.log, self.turns, self.timers)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    serving = asyncio.create_task(scene.turns.run())
    yield scene
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


@pytest.mark.anyio
async def test_entries_in_order_pass_through_and_doubles_are_ignored(scene: Scene) -> None:
    scene.follower.offer(changes(1, 2))
    scene.follower.offer(changes(2, 3))
    scene.follower.offer(changes(1))
    assert scene.reader.taken == [1, 2, 3]
    assert not scene.timers.waiting


@pytest.mark.anyio
async def test_a_straggler_closes_the_gap_without_a_reading(scene: Scene) -> None:
    scene.follower.offer(changes(1))
    scene.follower.offer(changes(4))
    scene.follower.offer(changes(3))
    assert scene.reader.taken == [1]
    scene.follower.offer(changes(2))
    assert scene.reader.taken == [1, 2, 3, 4]
    scene.timers.ring()
    assert scene.log.readings == 0


@pytest.mark.anyio
async def test_a_gap_that_stays_is_read_from_the_log(scene: Scene) -> None:
    scene.log.end = 5
    scene.follower.offer(changes(1))
    scene.follower.offer(changes(5))
    assert scene.timers.ring() == STRAGGLER_S
    await scene.reader.until(5)
    assert scene.reader.taken == [1, 2, 3, 4, 5]


@pytest.mark.anyio
async def test_a_reading_that_fails_is_tried_again(scene: Scene) -> None:
    scene.log.end, scene.log.away = 2, True
    scene.follower.reached(2)
    await asyncio.wait_for(scene.timers.asked.wait(), 10)
    assert scene.timers.ring() == RETRY_S
    await scene.reader.until(2)
    assert scene.reader.taken == [1, 2]


@pytest.mark.anyio
async def test_a_reader_that_holds_gets_the_rest_when_it_resumes(scene: Scene) -> None:
    scene.log.end = 6
    scene.reader.limit = 2
    scene.follower.offer(changes(1, 2, 3))
    scene.follower.offer(changes(4))
    assert scene.reader.taken == [1, 2]
    assert not scene.follower.caught_up
    scene.reader.limit = None
    scene.follower.resume()
    assert scene.reader.taken == [1, 2, 3, 4]
    scene.follower.reached(6)
    await scene.reader.until(6)
    assert scene.reader.taken == [1, 2, 3, 4, 5, 6]


@pytest.mark.anyio
async def test_a_closed_follower_gives_nothing(scene: Scene) -> None:
    scene.follower.close()
    scene.follower.offer(changes(1))
    assert scene.reader.taken == []


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5)), max_size=30), st.integers(0, 3))
def test_whatever_the_tail_does_the_reader_sees_each_entry_once_in_order(
    offers: list[tuple[int, int]], hold_at: int
) -> None:
    async def play() -> None:
        scene = Scene()
        serving = asyncio.create_task(scene.turns.run())
        scene.log.end = 50
        scene.reader.limit = hold_at or None
        for first, length in offers:
            scene.follower.offer(changes(*range(first, min(50, first + length) + 1)))
        scene.reader.limit = None
        scene.follower.resume()
        scene.follower.reached(50)
        await scene.reader.until(50)
        serving.cancel()
        assert scene.reader.taken == list(range(1, 51))

    asyncio.run(play())
