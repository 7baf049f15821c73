from collections.abc import Sequence

import pytest

from tests.log.entries import changes
from tocsin.domain.entry import Entry
from tocsin.domain.ids import AccountId
from tocsin.log.tail import LocalTail
from tocsin.storage.unit import Committed, WorkDue

ONE, TWO = AccountId(1), AccountId(2)


class Hearing:
    def __init__(self) -> None:
        self.heard: list[tuple[AccountId, list[int]]] = []

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        self.heard.append((account_id, [one.seq for one in entries]))


class Working:
    def __init__(self) -> None:
        self.woken: list[tuple[AccountId, WorkDue]] = []

    def work(self, account_id: AccountId, due: WorkDue) -> None:
        self.woken.append((account_id, due))


class Broken:
    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        raise RuntimeError("no")


def test_everyone_hears_what_they_have_ears_for() -> None:
    tail, hearing, working = LocalTail(), Hearing(), Working()
    tail.follow(hearing)
    tail.follow(working)
    due = WorkDue("dispatch", 5, 7)
    tail.committed(Committed({ONE: changes(1, 2), TWO: changes(9)}, [(TWO, due)]))
    assert hearing.heard == [(ONE, [1, 2]), (TWO, [9])]
    assert working.woken == [(TWO, due)]


def test_one_that_raises_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    tail, hearing = LocalTail(), Hearing()
    tail.follow(Broken())
    tail.follow(hearing)
    tail.committed(Committed({ONE: changes(1)}, []))
    assert hearing.heard == [(ONE, [1])]
