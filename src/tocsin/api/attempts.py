"""Tocsin's own control API: what became of notifications, attempt by attempt. Our choice throughout."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import msgspec

from tocsin.api.call import Access, Call, Query, Reply, Route, json_reply
from tocsin.domain.attempt import AttemptRecord, Failed
from tocsin.domain.errors import InvalidParameter
from tocsin.domain.ids import SubscriptionId
from tocsin.storage.attempts import DELIVERED, AttemptPage, AttemptQuery, outcome_kind, outcome_name
from tocsin.wire.paging import parse_paging, render_paging
from tocsin.wire.times import parse_time, render_time

FAILED = "failed"


class AttemptList(Protocol):
    """Who keeps attempts."""

    async def page(self, query: AttemptQuery) -> AttemptPage:
        """Return a page of them, newest first."""
        ...


class AttemptInfo(msgspec.Struct, rename="camel"):
    """One element of `records`. Times as everywhere; `outcome` is `delivered` or the kind of failure, in lower case."""

    notification_uuid: str
    event: str
    number: int
    started_at: str
    duration_ms: int
    outcome: str
    http_status: int | None
    error: str | None
    next_attempt_at: str | None


class Attempts:
    """Handler of the list of attempts."""

    def __init__(self, attempts: AttemptList) -> None:
        self._attempts = attempts

    def routes(self) -> list[Route]:
        """Return its line of the route table."""
        return [Route("GET", "/tocsin/v1/attempts", "listAttempts", self.list_attempts, Access.ADMIN)]

    async def list_attempts(self, call: Call) -> Reply:
        """Return attempts, newest first, that match `subscriptionId`, `status` and `from`.

        `status` is an HTTP status, `delivered`, `failed`, or a kind of failure such as `timeout`.
        """
        query = parse_attempt_query(call.query)
        page = await self._attempts.page(query)
        paging, _ = render_paging(call.base_url, call.path, call.query.pairs, query.page, query.per_page, page.total)
        return json_reply({"records": [_info(record) for record in page.records], "paging": paging})


def parse_attempt_query(query: Query) -> AttemptQuery:
    """Return what is asked for. Raises InvalidParameter."""
    page, per_page = parse_paging(query.pairs)
    subscription_id = query.first("subscriptionId")
    asked = AttemptQuery(
        subscription_id=None if subscription_id is None else SubscriptionId(subscription_id),
        from_ms=_time(query.first("from")),
        page=page,
        per_page=per_page,
    )
    return _with_status(asked, query.first("status"))


def _with_status(asked: AttemptQuery, text: str | None) -> AttemptQuery:
    if text is None:
        return asked
    word = text.lower()
    if word in (DELIVERED, FAILED):
        return replace(asked, delivered=word == DELIVERED)
    kind = outcome_kind(word)
    if kind is not None:
        return replace(asked, kind=kind)
    if len(text) == 3 and text.isascii() and text.isdecimal():
        return replace(asked, http_status=int(text))
    raise InvalidParameter("Parameter [status] value is invalid", parameter="status", value=text)


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as wrong:
        raise InvalidParameter("Parameter [from] value is invalid", parameter="from", value=text) from wrong


def _info(record: AttemptRecord) -> AttemptInfo:
    outcome, following = record.outcome, record.next_attempt_ms
    return AttemptInfo(
        notification_uuid=record.notification_uuid,
        event=record.event,
        number=record.number,
        started_at=render_time(record.started_ms),
        duration_ms=outcome.duration_ms,
        outcome=outcome_name(outcome),
        http_status=outcome.http_status,
        error=outcome.detail if isinstance(outcome, Failed) else None,
        next_attempt_at=None if following is None else render_time(following),
    )
