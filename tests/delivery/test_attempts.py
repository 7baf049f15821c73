import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.storing import open_test_store
from tocsin.delivery import attempts as module
from tocsin.delivery.attempts import KEPT_SUCCESSES, AttemptLog
from tocsin.domain.attempt import AttemptRecord, Delivered, Failed, FailureKind
from tocsin.domain.errors import StoreUnavailable
from tocsin.domain.ids import AccountId, ExtensionId, SubscriptionId
from tocsin.storage.attempts import AttemptQuery, fetch_attempts
from tocsin.storage.store import Store
from tocsin.storage.unit import Applied, Unit
from tocsin.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio
OK = Delivered(200, 3)
NOT_FOUND = Failed(FailureKind.STATUS, "the receiver answered 404 Not Found", 5, 404, None, "404 Not Found", "gone")


def attempt_at(
    started_ms: int, outcome: Delivered | Failed = OK, *, subscription: str = "s-1", account: int = 1
) -> AttemptRecord:
    return AttemptRecord(
        account_id=AccountId(account),
        subscription_id=SubscriptionId(subscription),
        notification_uuid=f"u-{started_ms}",
        event="/restapi/v1.0/account/1/extension/2/message-store",
        extension_id=ExtensionId(2),
        first_seq=started_ms,
        last_seq=started_ms,
        number=1,
        started_ms=started_ms,
        outcome=outcome,
        next_attempt_ms=None if isinstance(outcome, Delivered) else started_ms + 1_000,
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    async with open_test_store(tmp_path) as opened:
        yield opened


async def stored(store: Store, query: AttemptQuery | None = None) -> list[int]:
    """When each attempt in the database began, newest first."""
    page = await store.readers.run(fetch_attempts, query or AttemptQuery(per_page=1_000))
    return [record.started_ms for record in page.records]


async def test_what_is_recorded_is_read_back_as_it_was_newest_first(store: Store) -> None:
    log = AttemptLog(store, keep_all=False)
    given = [attempt_at(1), attempt_at(2, NOT_FOUND), attempt_at(3, account=7, subscription="s-7")]
    for attempt in given:
        log.record(attempt)
    page = await log.page(AttemptQuery())
    assert page.total == 3
    assert list(page.records) == given[::-1]
    assert list(await log.last_attempts(2)) == given[:0:-1]


async def test_failures_are_durable_soon_and_successes_when_it_is_quiet(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.005)
    log = AttemptLog(store, keep_all=False)
    written: asyncio.Queue[Unit] = asyncio.Queue()
    apply = store.writer.apply

    async def noted(unit: Unit) -> Applied:
        applied = await apply(unit)
        if unit.account_id:
            written.put_nowait(unit)
        return applied

    monkeypatch.setattr(store.writer, "apply", noted)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        tasks.create_task(log.run())
        log.record(attempt_at(1))
        log.record(attempt_at(2, NOT_FOUND))
        await written.get()
        assert await stored(store) == [2]
        await written.get()
        assert await stored(store) == [2, 1]
        log.record(attempt_at(3))
        await log.close()
    assert await stored(store) == [3, 2, 1]


async def test_many_failures_are_not_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 60)
    log = AttemptLog(store, keep_all=False)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(10):
        tasks.create_task(log.run())
        for number in range(module.FLUSH_AT):
            log.record(attempt_at(number, NOT_FOUND))
        while len(await stored(store)) < module.FLUSH_AT:
            pass  # each look takes a turn of the loop and a reader's thread
        await log.close()


async def test_of_successes_the_last_hundred_stay(store: Store) -> None:
    log = AttemptLog(store, keep_all=False)
    for number in range(KEPT_SUCCESSES + 50):
        log.record(attempt_at(number))
    log.record(attempt_at(1_000, subscription="s-2"))
    log.record(attempt_at(1_001, NOT_FOUND))
    assert (await log.page(AttemptQuery())).total == KEPT_SUCCESSES + 2
    for number in range(2_000, 2_010):
        log.record(attempt_at(number))
    await log.close()
    kept = await stored(store, AttemptQuery(subscription_id=SubscriptionId("s-1"), delivered=True, per_page=1_000))
    assert kept == [*range(2_009, 1_999, -1), *range(149, 59, -1)]
    assert await stored(store, AttemptQuery(subscription_id=SubscriptionId("s-2"))) == [1_000]
    assert await stored(store, AttemptQuery(delivered=False)) == [1_001]


async def test_of_failures_the_last_thousand_stay(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_FAILURES", 20)
    log = AttemptLog(store, keep_all=False)
    for number in range(100):
        log.record(attempt_at(number, NOT_FOUND))
    await log.flush(successes=False)
    assert await stored(store) == list(range(99, 79, -1))


async def test_a_setting_keeps_all(store: Store) -> None:
    log = AttemptLog(store, keep_all=True)
    for number in range(KEPT_SUCCESSES + 150):
        log.record(attempt_at(number, NOT_FOUND if number % 2 else OK))
    await log.close()
    assert (await log.page(AttemptQuery())).total == KEPT_SUCCESSES + 150


async def test_filters_and_pages(store: Store) -> None:
    log = AttemptLog(store, keep_all=True)
    slow = Failed(FailureKind.TIMEOUT, "no answer within 10 s", 10_000)
    outcomes: list[Delivered | Failed] = [OK, NOT_FOUND, slow]
    for number in range(1, 7):
        log.record(attempt_at(number, outcomes[number % 3], subscription=f"s-{number % 2}"))
    await log.close()
    assert await stored(store, AttemptQuery(http_status=404)) == [4, 1]
    assert await stored(store, AttemptQuery(kind=FailureKind.TIMEOUT)) == [5, 2]
    assert await stored(store, AttemptQuery(delivered=True)) == [6, 3]
    assert await stored(store, AttemptQuery(delivered=False, from_ms=4)) == [5, 4]
    assert await stored(store, AttemptQuery(subscription_id=SubscriptionId("s-0"), page=2, per_page=2)) == [2]
    assert (await log.page(AttemptQuery(page=2, per_page=4))).total == 6


async def test_a_store_that_takes_no_writes_is_asked_again_and_what_is_too_much_is_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 3)
    log = AttemptLog(store, keep_all=False)
    with monkeypatch.context() as broken:

        async def full(_: Unit) -> Applied:
            raise StoreUnavailable("the disk is full")

        broken.setattr(store.writer, "apply", full)
        for number in range(5):
            log.record(attempt_at(number, NOT_FOUND))
            assert not await log.flush(successes=False)
        assert (await log.page(AttemptQuery())).total == 0
    assert await log.flush(successes=False)
    assert await stored(store) == [4, 3, 2]


async def test_every_attempt_is_counted(store: Store) -> None:
    metrics = Metrics()
    log = AttemptLog(store, keep_all=False, metrics=metrics)
    for outcome in (OK, OK, NOT_FOUND):
        log.record(attempt_at(1, outcome))
    shown = metrics.render().decode()
    assert 'tocsin_notifications_total{outcome="delivered",transport="webhook"} 2.0' in shown
    assert 'tocsin_notifications_total{outcome="status",transport="webhook"} 1.0' in shown
    assert "tocsin_attempt_seconds_count 3.0" in shown
    await log.close()
