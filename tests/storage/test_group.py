from __future__ import annotations

import asyncio

import pytest

from tests.storage.writing import ACCOUNT, OTHER, noted, with_work
from tocsin.domain.ids import AccountId
from tocsin.storage.group import MAX_GROUP_ROWS, MAX_UNITS, Backlog, Standing, Waiting, merge
from tocsin.storage.statement import Row, Statement
from tocsin.storage.unit import Claim, Expect, Unit


def waiting(unit: Unit, rows: int = 1) -> Waiting:
    loop = asyncio.new_event_loop()
    try:
        return Waiting(unit, loop.create_future(), rows)
    finally:
        loop.close()


def groups_of(*units: Unit, rows: int = 1) -> list[list[int]]:
    """The groups that `units` are written in, each unit by its place."""
    backlog = Backlog()
    for unit in units:
        backlog.add(waiting(unit, rows))
    groups = []
    while backlog:
        groups.append([next(n for n, unit in enumerate(units) if unit is one.unit) for one in backlog.take_group()])
    return groups


def expecting(table: str, *key: int | str) -> Unit:
    return Unit(ACCOUNT, expects=[Expect(table, key, 0)])


def test_accounts_take_turns() -> None:
    units = [noted(ACCOUNT), noted(ACCOUNT), noted(ACCOUNT), noted(OTHER), noted(OTHER)]
    assert groups_of(*units) == [[0, 3, 1, 4, 2]]


def test_a_group_is_bounded_in_units_and_in_rows() -> None:
    assert [len(group) for group in groups_of(*(noted(ACCOUNT) for _ in range(MAX_UNITS + 1)))] == [MAX_UNITS, 1]
    by_rows = groups_of(*(noted(ACCOUNT) for _ in range(20)), rows=500)
    assert [len(group) for group in by_rows] == [MAX_GROUP_ROWS // 500] * 2 + [4]


def test_one_unit_of_a_group_takes_a_key_or_changes_a_row() -> None:
    claiming = [Unit(ACCOUNT, claims=[Claim("carrier", "a", value)]) for value in range(2)]
    assert groups_of(*claiming) == [[0], [1]]
    assert groups_of(expecting("work", 1), expecting("work", 1), expecting("work", 2)) == [[0], [1, 2]]
    assert groups_of(expecting("work", 1), Unit(OTHER, expects=[Expect("work", (1,), 0)])) == [[0, 1]]


def test_a_unit_that_must_wait_keeps_its_place_in_its_account() -> None:
    units = [expecting("work", 1), expecting("work", 1), noted(ACCOUNT, "after"), noted(OTHER)]
    assert groups_of(*units) == [[0, 3], [1, 2]]


def test_many_may_refer_to_a_blob_but_not_beside_who_dooms_it() -> None:
    referring = [Unit(ACCOUNT, blobs=["k.1"]) for _ in range(2)]
    assert groups_of(*referring) == [[0, 1]]
    assert groups_of(referring[0], expecting("blob", "k.1"), referring[1]) == [[0], [1], [2]]


def test_seqs_follow_the_counters_and_nothing_in_the_units_changes() -> None:
    units = [noted(ACCOUNT, "a", "b"), Unit(ACCOUNT), with_work(OTHER, 1, "c"), noted(ACCOUNT, "d")]
    for _ in range(2):
        merged = merge(units, {ACCOUNT: Standing(7, 900)}, 500)
        assert merged.applied == [(8, 9, 900), (0, 0, 500), (1, 1, 500), (10, 10, 900)]
        assert {account: [one.seq for one in entries] for account, entries in merged.entries.items()} == {
            ACCOUNT: [8, 9, 10],
            OTHER: [1],
        }
        written = {statement.name: rows for statement, rows in merged.in_order()}
        assert written["update_counter"] == [(ACCOUNT, 10, 900)]
        assert written["insert_counter"] == [(OTHER, 1, 500)]
        assert len(written["insert_log_entry"]) == 4


@pytest.mark.parametrize("ranks", [(1, 2, 3), (3, 2, 1), (2, 2, 2)])
def test_statements_run_by_rank_and_then_as_named(ranks: tuple[int, ...]) -> None:
    core = with_work(ACCOUNT, 1).writes[0].statement.core
    statements = [Statement(str(place), core, (), rank) for place, rank in enumerate(ranks)]
    unit = Unit(AccountId(1))
    row: Row = ()
    for statement in statements:
        unit.add(statement, row)
    names = [statement.name for statement, _ in merge([unit], {}, 0).in_order()]
    assert names == sorted("012", key=lambda name: ranks[int(name)])
