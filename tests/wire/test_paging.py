from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.errors import InvalidParameter
from tocsin.wire.paging import page_uri, parse_paging, render_paging

BASE, PATH = "https://tocsin.example", "/restapi/v1.0/things"


def test_a_page_in_the_middle() -> None:
    pairs = [("type", "SMS"), ("page", "2"), ("dateFrom", "2026-11-22T00:00:00.000Z"), ("access_token", "secret")]
    paging, navigation = render_paging(BASE, PATH, pairs, 2, 10, 35)
    assert paging == {
        "page": 2,
        "perPage": 10,
        "pageStart": 10,
        "pageEnd": 19,
        "totalPages": 4,
        "totalElements": 35,
    }
    rest = "type=SMS&dateFrom=2026-11-22T00:00:00.000Z"
    assert navigation == {
        name: {"uri": f"{BASE}{PATH}?{rest}&page={page}&perPage=10"}
        for name, page in (("firstPage", 1), ("lastPage", 4), ("previousPage", 1), ("nextPage", 3))
    }


def test_an_empty_list_still_has_first_and_last_page() -> None:
    paging, navigation = render_paging(BASE, PATH, [], 1, 100, 0)
    assert paging == {"page": 1, "perPage": 100, "totalPages": 0, "totalElements": 0}
    assert set(navigation) == {"firstPage", "lastPage"}
    assert render_paging(BASE, PATH, [], 1, 0, 5)[0] == {
        "page": 1,
        "perPage": 0,
        "totalPages": 0,
        "totalElements": 5,
    }


@given(st.integers(0, 500), st.integers(1, 50))
def test_pages_cover_every_element_once(total: int, per_page: int) -> None:
    seen: list[int] = []
    page, more = 1, True
    while more:
        paging, navigation = render_paging(BASE, PATH, [], page, per_page, total)
        if "pageStart" in paging:
            seen += range(paging["pageStart"], paging["pageEnd"] + 1)
        more = "nextPage" in navigation
        page += 1
    assert seen == list(range(total))


def test_a_page_beyond_the_end_leads_back() -> None:
    paging, navigation = render_paging(BASE, PATH, [], 9, 10, 35)
    assert "pageStart" not in paging
    assert "nextPage" not in navigation
    assert navigation["previousPage"]["uri"] == page_uri(BASE, PATH, [], 4, 10)


def test_what_clients_ask_for() -> None:
    assert parse_paging([]) == (1, 100)
    assert parse_paging([("page", "3"), ("perPage", "5000")]) == (3, 1000)
    assert parse_paging([("perPage", "0")]) == (1, 0)


@pytest.mark.parametrize(
    "name, value",
    [("page", "0"), ("page", "-1"), ("page", "x"), ("perPage", "-1"), ("perPage", "٣"), ("page", "9" * 30)],
)
def test_nonsense_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_paging([(name, value)])
    assert refused.value.parameter == name
