"""`page` and `perPage` in, `paging` and `navigation` out: the same for every list that has pages.

Pure; says nothing of what is listed. Source: RC listMessages, RC listExtensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote_plus, urlencode

from tocsin.domain.errors import InvalidParameter

DEFAULT_PER_PAGE = 100
MAX_PER_PAGE = 1000
_MAX_PAGE = 1_000_000

Pairs = Sequence[tuple[str, str]]


def parse_paging(pairs: Pairs) -> tuple[int, int]:
    """Return page (from 1) and perPage (0 to 1000; what is over is cut to 1000). Raises InvalidParameter."""
    page = _number(pairs, "page", 1)
    if page < 1:
        raise InvalidParameter("Parameter [page] value is invalid", parameter="page", value=str(page))
    return page, min(_number(pairs, "perPage", DEFAULT_PER_PAGE), MAX_PER_PAGE)


def render_paging(
    base_url: str, path: str, pairs: Pairs, page: int, per_page: int, total: int
) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """Return `paging` and `navigation` of one page of a list of `total`.

    The links keep every pair but `page`, `perPage` and a token. A page without elements has no pageStart and
    no pageEnd; first and last page are always linked.
    """
    pages = -(-total // per_page) if per_page else 0
    start = (page - 1) * per_page
    count = max(0, min(per_page, total - start))
    paging = {"page": page, "perPage": per_page, "totalPages": pages, "totalElements": total}
    if count:
        paging |= {"pageStart": start, "pageEnd": start + count - 1}
    numbers = {"firstPage": 1, "lastPage": max(1, pages)}
    if page > 1:
        numbers["previousPage"] = min(page - 1, max(1, pages))
    if page < pages:
        numbers["nextPage"] = page + 1
    return paging, {
        name: {"uri": page_uri(base_url, path, pairs, number, per_page)} for name, number in numbers.items()
    }


def page_uri(base_url: str, path: str, pairs: Pairs, page: int, per_page: int) -> str:
    """Return the absolute uri of one page, with ids as they are in `path`; a token never becomes part of it."""
    kept = [pair for pair in pairs if pair[0] not in ("page", "perPage", "access_token")]
    query = urlencode([*kept, ("page", str(page)), ("perPage", str(per_page))], quote_via=quote_plus, safe=":")
    return f"{base_url}{path}?{query}"


def _number(pairs: Pairs, name: str, default: int) -> int:
    text = next((value for key, value in pairs if key == name), None)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) > _MAX_PAGE:
        raise InvalidParameter(f"Parameter [{name}] value is invalid", parameter=name, value=text)
    return int(text)
