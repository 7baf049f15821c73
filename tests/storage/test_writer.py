from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clocks import ManualClock
from tests.storage.writing import (
    ACCOUNT,
    INSERT_WORK,
    OTHER,
    UPDATE_EPOCH,
    fetch_log,
    fetch_rows,
    limit_pages,
    noted,
    with_work,
    work_row,
)
from tests.storing import RecordingListener, open_test_store
from tocsin.domain.entry import SubscriptionChange
from tocsin.domain.errors import Overloaded, Stale, StoreUnavailable
from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.storage import writer as writer_module
from tocsin.storage.schema import subscription
from tocsin.storage.statement import insert_into
from tocsin.storage.store import Store
from tocsin.storage.unit import ABSENT, AlreadyClaimed, Applied, Claim, Draft, Expect, Unit, WorkDue

pytestmark = pytest.mark.anyio


@pytest.fixture
def listener() -> RecordingListener:
    return RecordingListener()


@pytest.fixture
def groups() -> list[int]:
    return []


@pytest.fixture
async def store(tmp_path: Path, listener: RecordingListener, groups: list[int]) -> AsyncGenerator[Store]:
    async with open_test_store(tmp_path, listener, on_group=lambda units, _: groups.append(units)) as opened:
        yield opened


async def test_seq_columns_take_the_seqs_of_the_units_entries(store: Store) -> None:
    insert = insert_into(subscription)
    columns = [column.name for column in subscription.columns]
    row: dict[str, object] = dict.fromkeys(columns, 0) | dict.fromkeys(
        ("subscription_id", "client_id", "transport", "status"), "x"
    )
    row |= {"account_id": ACCOUNT, "modified_seq": 1, "ended_seq": None}
    at = (columns.index("modified_seq"), columns.index("ended_seq"))
    await store.writer.apply(noted(ACCOUNT, "before"))
    unit = noted(ACCOUNT, "a", "b")
    unit.add(insert, tuple(row.values()), at)
    applied = await store.writer.apply(unit)
    assert (applied.first_seq, applied.last_seq) == (2, 3)
    [stored] = await fetch_rows(store, "subscription")
    assert (stored[at[0]], stored[at[1]]) == (3, None)


async def test_units_without_entries_take_no_seq_and_are_not_told(store: Store, listener: RecordingListener) -> None:
    unit = Unit(ACCOUNT)
    unit.add(INSERT_WORK, work_row(ACCOUNT, 1))
    assert (await store.writer.apply(unit))[:2] == (0, 0)
    assert (await store.writer.apply(noted(ACCOUNT, "first"))).first_seq == 1
    assert len(listener.commits) == 1


async def test_due_work_is_told_with_the_commit(store: Store, listener: RecordingListener) -> None:
    unit = with_work(ACCOUNT, 7)
    unit.work.append(WorkDue("test", 7, 5))
    await store.writer.apply(unit)
    assert listener.commits == [({}, [(ACCOUNT, WorkDue("test", 7, 5))])]


async def test_the_listener_hears_before_those_who_wait(tmp_path: Path) -> None:
    heard: list[str] = []

    class Listener:
        def committed(self, _: object) -> None:
            heard.append("listener")

    async with open_test_store(tmp_path, Listener()) as store:
        waiting = asyncio.ensure_future(store.writer.apply(noted(ACCOUNT, "a")))
        waiting.add_done_callback(lambda _: heard.append("caller"))
        await waiting
        await store.writer.apply(noted(ACCOUNT, "b"))
    assert heard == ["listener", "caller", "listener"]


async def test_commit_time_never_goes_back(tmp_path: Path) -> None:
    async with open_test_store(tmp_path, clock=ManualClock(2_000)) as store:
        assert (await store.writer.apply(noted(ACCOUNT, "a"))).at_ms == 2_000
    async with open_test_store(tmp_path, clock=ManualClock(1_000)) as store:
        assert (await store.writer.apply(noted(ACCOUNT, "b"))).at_ms == 2_000
        assert (await store.writer.apply(noted(OTHER, "c"))).at_ms == 1_000
        assert await fetch_rows(store, "counter") == [(ACCOUNT, 2, 2_000), (OTHER, 1, 1_000)]


async def test_a_failing_unit_fails_alone(store: Store, listener: RecordingListener, groups: list[int]) -> None:
    await store.writer.apply(with_work(ACCOUNT, 1, "first"))
    units = [noted(ACCOUNT, "a"), with_work(ACCOUNT, 1, "fails"), noted(ACCOUNT, "b"), noted(OTHER, "c")]
    outcomes = await asyncio.gather(*(store.writer.apply(unit) for unit in units), return_exceptions=True)
    assert [type(one).__name__ for one in outcomes] == ["Applied", "IntegrityError", "Applied", "Applied"]
    assert await fetch_log(store, ACCOUNT) == [(1, "first"), (2, "a"), (3, "b")]
    told = [entry.seq for commit in listener.commits for entry in commit.entries.get(ACCOUNT, [])]
    assert told == [1, 2, 3]
    assert sum(groups) == 5


async def test_a_malformed_unit_fails_alone(store: Store) -> None:
    crooked = Unit(ACCOUNT, drafts=[Draft(SubscriptionChange, ("one", "too many"))])
    outcomes = await asyncio.gather(
        store.writer.apply(crooked), store.writer.apply(noted(ACCOUNT, "a")), return_exceptions=True
    )
    assert [type(one) for one in outcomes] == [TypeError, Applied]
    assert await fetch_log(store, ACCOUNT) == [(1, "a")]


async def test_a_claim_is_answered_with_the_earlier_value_ever_after(store: Store) -> None:
    def claiming(value: int) -> Unit:
        unit = noted(ACCOUNT, str(value))
        unit.claims.append(Claim("carrier", "loopback/1/5", value))
        return unit

    units = [claiming(value) for value in range(1, 20)]
    outcomes = await asyncio.gather(*(store.writer.apply(unit) for unit in units), return_exceptions=True)
    applied = [place for place, one in enumerate(outcomes, 1) if isinstance(one, Applied)]
    earlier = [one.earlier for one in outcomes if isinstance(one, AlreadyClaimed)]
    assert applied == [1]
    assert earlier == [{("carrier", "loopback/1/5"): 1}] * 18
    assert await fetch_log(store, ACCOUNT) == [(1, "1")]
    elsewhere = Unit(OTHER, claims=[Claim("carrier", "loopback/1/5", 9)])
    await store.writer.apply(elsewhere)
    assert [row[3] for row in await fetch_rows(store, "claim")] == [1, 9]


async def test_a_unit_that_saw_another_version_is_stale(store: Store) -> None:
    await store.writer.apply(with_work(ACCOUNT, 1))

    def raised(seen: int) -> Unit:
        unit = noted(ACCOUNT, f"saw {seen}")
        unit.expects.append(Expect("work", (1,), seen))
        unit.add(UPDATE_EPOCH, (ACCOUNT, 1, seen + 1))
        return unit

    units = [raised(0), raised(0), raised(1), raised(0)]
    outcomes = await asyncio.gather(*(store.writer.apply(unit) for unit in units), return_exceptions=True)
    assert [type(one) for one in outcomes] == [Applied, Stale, Applied, Stale]
    assert await fetch_log(store, ACCOUNT) == [(1, "saw 0"), (2, "saw 1")]
    gone = Unit(ACCOUNT, expects=[Expect("work", (2,), 0)])
    with pytest.raises(Stale):
        await store.writer.apply(gone)


async def test_two_that_change_one_row_at_once_lose_no_change(store: Store) -> None:
    await store.writer.apply(with_work(ACCOUNT, 1))
    given_back = 0

    async def raise_epoch(times: int) -> None:
        nonlocal given_back
        done = 0
        while done < times:
            [row] = await fetch_rows(store, "work")
            unit = noted(ACCOUNT, "raised")
            unit.expects.append(Expect("work", (1,), row[8]))
            unit.add(UPDATE_EPOCH, (ACCOUNT, 1, row[8] + 1))
            try:
                await store.writer.apply(unit)
            except Stale:
                given_back += 1
            else:
                done += 1

    await asyncio.gather(raise_epoch(40), raise_epoch(40), raise_epoch(40))
    [row] = await fetch_rows(store, "work")
    assert row[8] == len(await fetch_log(store, ACCOUNT)) == 120
    assert given_back > 0


async def test_a_row_may_be_expected_to_be_absent_or_merely_there(store: Store) -> None:
    def making() -> Unit:
        unit = with_work(ACCOUNT, 1)
        unit.expects.append(Expect("work", (1,), ABSENT))
        return unit

    outcomes = await asyncio.gather(*(store.writer.apply(making()) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in outcomes] == [Applied, Stale, Stale]
    secret = await store.secret("kept")
    assert (await store.writer.apply(Unit(AccountId(0), expects=[Expect("store_value", ("kept",), 0)]))).first_seq == 0
    assert await store.secret("kept") == secret
    with pytest.raises(Stale):
        await store.writer.apply(Unit(AccountId(0), expects=[Expect("store_value", ("lost",), 0)]))


async def test_units_of_one_account_keep_their_order(store: Store) -> None:
    units = [noted(ACCOUNT, str(number)) for number in range(1_000)]
    applied = await asyncio.gather(*(store.writer.apply(unit) for unit in units))
    assert [one.first_seq for one in applied] == list(range(1, 1_001))
    assert [subject for _, subject in await fetch_log(store, ACCOUNT)] == [str(number) for number in range(1_000)]


async def test_too_much_waiting_is_refused_before_it_queues(
    store: Store, monkeypatch: pytest.MonkeyPatch, listener: RecordingListener
) -> None:
    monkeypatch.setattr(writer_module, "MAX_WAITING_PER_ACCOUNT", 3)
    monkeypatch.setattr(writer_module, "MAX_WAITING", 5)
    units = [noted(ACCOUNT, "a") for _ in range(4)] + [noted(OTHER, "b") for _ in range(3)]
    outcomes = await asyncio.gather(*(store.writer.apply(unit) for unit in units), return_exceptions=True)
    taken, refused = [Applied] * 3, [Overloaded]
    assert [type(one) for one in outcomes] == [*taken, *refused, *taken[:2], *refused]
    await store.writer.apply(noted(ACCOUNT, "again"))
    assert len(await fetch_log(store, ACCOUNT)) == 4


async def test_units_that_are_too_large_or_have_no_entry_to_point_at_are_refused(store: Store) -> None:
    large = Unit(ACCOUNT)
    for number in range(501):
        large.add(INSERT_WORK, work_row(ACCOUNT, number))
    with pytest.raises(ValueError, match="501 rows"):
        await store.writer.apply(large)
    aimless = Unit(ACCOUNT)
    aimless.add(INSERT_WORK, work_row(ACCOUNT, 1), (8,))
    with pytest.raises(ValueError, match="without entries"):
        await store.writer.apply(aimless)
    assert await fetch_rows(store, "work") == []


async def test_a_caller_that_gives_up_harms_nobody(store: Store) -> None:
    leaving = asyncio.ensure_future(store.writer.apply(noted(ACCOUNT, "left")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await store.writer.apply(noted(ACCOUNT, "stayed"))).last_seq == 2


async def test_what_waits_is_written_before_closing_and_nothing_after(tmp_path: Path) -> None:
    async with open_test_store(tmp_path) as store:
        waiting = [asyncio.ensure_future(store.writer.apply(noted(ACCOUNT, "a"))) for _ in range(600)]
        await asyncio.sleep(0)
        await store.writer.close()
        assert {one.result().last_seq for one in waiting} == set(range(1, 601))
        with pytest.raises(StoreUnavailable):
            await store.writer.apply(noted(ACCOUNT, "late"))


async def test_a_database_that_takes_no_writes_is_unavailable_and_recovers(store: Store, tmp_path: Path) -> None:
    assert (await store.writer.apply(noted(ACCOUNT, "before"))).last_seq == 1
    filler = "x" * 400_000
    await limit_pages(store, 60)
    with pytest.raises(StoreUnavailable):
        await asyncio.gather(*(store.writer.apply(noted(ACCOUNT, filler)) for _ in range(3)))
    await limit_pages(store, 1_000_000)
    assert (await store.writer.apply(noted(ACCOUNT, "after"))).last_seq == 2
    assert [subject for _, subject in await fetch_log(store, ACCOUNT)] == ["before", "after"]


@settings(max_examples=25, deadline=None)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from((ACCOUNT, OTHER)),
            st.integers(0, 3),  # entries
            st.sampled_from(("sound", "breaks", "claims", "stale")),
            st.booleans(),  # whether what was sent so far is awaited first
        ),
        max_size=40,
    )
)
def test_seq_is_gapless_and_in_commit_order(
    plan: list[tuple[AccountId, int, str, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(_check_plan(plan, tmp_path_factory.mktemp("store")))


async def _check_plan(plan: list[tuple[AccountId, int, str, bool]], folder: Path) -> None:
    listener = RecordingListener()
    async with open_test_store(folder, listener) as store:
        for account_id in (ACCOUNT, OTHER):
            await store.writer.apply(with_work(account_id, 0))
        sent: list[tuple[Unit, str, asyncio.Future[Applied]]] = []
        for place, (account_id, entries, kind, settle) in enumerate(plan, 1):
            unit = _planned(account_id, place, entries, kind)
            sent.append((unit, kind, asyncio.ensure_future(store.writer.apply(unit))))
            if settle:
                await asyncio.gather(*(future for *_, future in sent), return_exceptions=True)
        await asyncio.gather(*(future for *_, future in sent), return_exceptions=True)
        for account_id in (ACCOUNT, OTHER):
            mine = [(kind, unit, future) for unit, kind, future in sent if unit.account_id == account_id]
            written = [(unit, future.result()) for _, unit, future in mine if future.exception() is None]
            expected = [str(draft.fields[0]) for unit, _ in written for draft in unit.drafts]
            log = await fetch_log(store, account_id)
            assert log == list(enumerate(expected, 1))
            told = [entry for commit in listener.commits for entry in commit.entries.get(account_id, [])]
            assert [(one.seq, one.subscription_id) for one in told if isinstance(one, SubscriptionChange)] == log
            for unit, applied in written:
                if unit.drafts:
                    assert applied.last_seq - applied.first_seq + 1 == len(unit.drafts)
                    assert log[applied.first_seq - 1][1] == unit.drafts[0].fields[0]
            _check_failures(mine)
        counters = {row[0]: row[1] for row in await fetch_rows(store, "counter")}
        for account_id in (ACCOUNT, OTHER):
            assert counters.get(account_id, 0) == len(await fetch_log(store, account_id))


def _planned(account_id: AccountId, place: int, entries: int, kind: str) -> Unit:
    unit = Unit(
        account_id,
        drafts=[Draft(SubscriptionChange, (SubscriptionId(f"{place}/{number}"),)) for number in range(entries)],
    )
    if kind == "breaks":
        unit.add(INSERT_WORK, work_row(account_id, 0))  # it exists, and nothing announced that it must not
    elif kind == "claims":
        unit.claims.append(Claim("carrier", "the same", place))
    elif kind == "stale":
        unit.expects.append(Expect("work", (0,), 5))
    return unit


def _check_failures(mine: list[tuple[str, Unit, asyncio.Future[Applied]]]) -> None:
    claims = [future for kind, _, future in mine if kind == "claims"]
    assert sum(1 for future in claims if future.exception() is None) == min(1, len(claims))
    for kind, _, future in mine:
        error = future.exception()
        if kind == "sound":
            assert error is None
        elif kind == "stale":
            assert isinstance(error, Stale)
        elif kind == "breaks":
            assert type(error).__name__ == "IntegrityError"
        elif error is not None:
            assert isinstance(error, AlreadyClaimed)


def test_the_thread_ends_with_the_store() -> None:
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tocsin-writer")]


async def test_what_one_turn_of_the_loop_brings_is_committed_together(store: Store, groups: list[int]) -> None:
    await store.writer.apply(noted(ACCOUNT, "before"))
    groups.clear()
    await asyncio.gather(*(store.writer.apply(noted(ACCOUNT, f"{number}")) for number in range(50)))
    assert groups == [50]
