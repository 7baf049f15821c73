"""Notifications as HTTP POSTs, and the handshake that a receiver must pass first. Answers notify's Transport.

One send is one attempt: it reports how that ended and forgets it. When to try again, and what is blacklisted, is the
notifier's to decide. Header names, values and limits: RC doc notifications/webhooks, reference of subscriptions.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, assert_never

from tocsin.delivery.answer import KEPT_BYTES, Answer, Bounds, Broken, Result, Stopped, read_head, retry_after_s
from tocsin.delivery.connection import Exchange
from tocsin.delivery.egress import Egress
from tocsin.delivery.http_client import HttpClient
from tocsin.delivery.pool import Pool
from tocsin.delivery.target import MalformedAddress, Target, parse_target
from tocsin.domain.attempt import Delivered, Failed, FailureKind, Outcome, Withheld
from tocsin.domain.clock import Clock
from tocsin.domain.delivery import Delivery
from tocsin.domain.handshake import (
    BadCertificate,
    HandshakePassed,
    HandshakeResult,
    HttpsRequired,
    InvalidResponse,
    NotReturned,
    RefusedAddress,
    Unreachable,
    WrongStatus,
)
from tocsin.domain.ids import AccountId, SubscriptionId
from tocsin.domain.subscription import Subscription

USER_AGENT = "RingCentral-Webhook/8.3"
HANDSHAKE_S = 3.0
HANDSHAKE_BYTES = 1_024
_ROUTES = 50_000
"""Subscriptions whose address is kept taken apart; the one kept longest is taken apart again."""

_HIDDEN = "[hidden]"
_SECRET_HEADERS = frozenset({"set-cookie", "cookie", "authorization", "verification-token"})

Done = Callable[[Outcome], None]


class _Route(NamedTuple):
    """Where a subscription's notifications go: its pool, and the request up to the value of Content-Length."""

    subscription: Subscription
    pool: Pool
    head: bytes
    clock: Clock


class _Sending(Exchange):
    """One notification on its way."""

    __slots__ = ("done", "route")

    def __init__(self, request: bytes, route: _Route, done: Done) -> None:
        self.request = request
        self.route = route
        self.done = done

    def answered(self, status: int, raw_head: bytes, body: bytes, ended: float) -> None:
        """See Exchange."""
        duration_ms = int((ended - self.started) * 1000)
        if 200 <= status < 300:
            self.done(_delivered(status, duration_ms))
        else:
            self._fail(Answer(status, raw_head, body), duration_ms)

    def broke_off(self, broken: Broken | Stopped, ended: float) -> None:
        """See Exchange."""
        self._fail(broken, int((ended - self.started) * 1000))

    def _fail(self, result: Result, duration_ms: int) -> None:
        token = self.route.subscription.verification_token
        self.done(_failed(result, duration_ms, token, self.route.clock))


class _Asking(Exchange):
    """One handshake on its way."""

    __slots__ = ("result",)
    bounds = Bounds(head=HANDSHAKE_BYTES, total=HANDSHAKE_BYTES)

    def __init__(self, request: bytes, result: asyncio.Future[tuple[Result, int]]) -> None:
        super().__init__(request)
        self.result = result

    def answered(self, status: int, raw_head: bytes, body: bytes, ended: float) -> None:
        """See Exchange."""
        self._tell(Answer(status, raw_head, body), ended)

    def broke_off(self, broken: Broken | Stopped, ended: float) -> None:
        """See Exchange."""
        self._tell(broken, ended)

    def _tell(self, result: Result, ended: float) -> None:
        if not self.result.done():  # whoever asked may have been cancelled
            self.result.set_result((result, int((ended - self.started) * 1000)))


class _Asked(NamedTuple):
    """How a handshake ended, and the token that should have come back."""

    result: Result
    duration_ms: int
    token: str


class WebhookTransport:
    """Sends to receivers through one client. `within_s` is what a receiver has for one notification, in all."""

    def __init__(self, client: HttpClient, egress: Egress, clock: Clock, *, within_s: float = 10.0) -> None:
        self._client = client
        self._egress = egress
        self._clock = clock
        self._within_s = within_s
        self._routes: dict[SubscriptionId, _Route] = {}
        self._loop = asyncio.get_running_loop()

    def send(self, delivery: Delivery, done: Done) -> None:
        """POST the envelope. `done` is called once, on the loop, after this returns and within the deadline."""
        subscription = delivery.subscription
        route = self._routes.get(subscription.subscription_id)
        if route is None or route.subscription is not subscription:
            try:
                route = self._make_route(subscription)
            except MalformedAddress as wrong:
                self._loop.call_soon(done, Failed(FailureKind.REFUSED_ADDRESS, str(wrong), 0))
                return
        body = delivery.envelope
        request = b"%b%d\r\n\r\n%b" % (route.head, len(body), body)
        self._client.start(route.pool, _Sending(request, route, done), self._within_s)

    async def handshake(self, address: str, verification_token: str | None, account_id: AccountId) -> HandshakeResult:
        """Ask a receiver to return a random token (RC: createSubscription): 3 s, status 200, 1,024 bytes at most."""
        target = self._target(address)
        if not isinstance(target, Target):
            return target
        try:
            return _judge(await self._ask(target, verification_token, account_id))
        except MalformedAddress as wrong:
            return RefusedAddress(str(wrong))

    async def probe(self, subscription: Subscription) -> Outcome:
        """Ask a blacklisted receiver, by a handshake, whether it is well again."""
        token = subscription.verification_token
        try:
            target = self._checked_target(subscription.address)
            asked = await self._ask(target, token, subscription.account_id)
        except MalformedAddress as wrong:
            return Failed(FailureKind.REFUSED_ADDRESS, str(wrong), 0)
        if isinstance(asked.result, Answer) and asked.result.status == 200:
            if isinstance(_judge(asked), HandshakePassed):
                return Delivered(200, asked.duration_ms)
            what = "the receiver does not return the Validation-Token header"
            return Failed(FailureKind.PROTOCOL, what, asked.duration_ms, 200)
        return _failed(asked.result, asked.duration_ms, token, self._clock)

    async def _ask(self, target: Target, verification_token: str | None, account_id: AccountId) -> _Asked:
        head = _request_head(target, "application/json", verification_token)
        token = secrets.token_hex(16)
        request = f"{head}Validation-Token: {token}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")
        answered: asyncio.Future[tuple[Result, int]] = self._loop.create_future()
        self._client.start(self._client.pool(target, account_id), _Asking(request, answered), HANDSHAKE_S)
        return _Asked(*await answered, token)

    async def close(self, grace_s: float) -> None:
        """Start nothing more; what is in flight has `grace_s` to end. What has not ended is Withheld: it stays due."""
        await self._client.close(grace_s)

    def _make_route(self, subscription: Subscription) -> _Route:
        """Take the address apart and keep the result. Raises MalformedAddress when nothing may be sent there."""
        target = self._checked_target(subscription.address)
        token = subscription.verification_token
        head = _request_head(target, "application/json; charset=UTF-8", token) + "Content-Length: "
        pool = self._client.pool(target, subscription.account_id)
        route = _Route(subscription, pool, head.encode("latin-1"), self._clock)
        self._routes[subscription.subscription_id] = route
        if len(self._routes) > _ROUTES:
            del self._routes[next(iter(self._routes))]
        return route

    def _checked_target(self, address: str | None) -> Target:
        target = self._target(address or "")
        match target:
            case Target():
                return target
            case HttpsRequired():
                raise MalformedAddress("HTTPS is required")
            case RefusedAddress():
                raise MalformedAddress(target.detail)
            case _:
                assert_never(target)

    def _target(self, address: str) -> Target | HttpsRequired | RefusedAddress:
        try:
            target = parse_target(address)
        except MalformedAddress as wrong:
            return RefusedAddress(str(wrong))
        return HttpsRequired() if self._egress.https_only and not target.secure else target


def _request_head(target: Target, content_type: str, token: str | None) -> str:
    """The documented headers, without those whose value differs each time. Raises MalformedAddress for a bad token."""
    if token is not None and not all(" " <= char <= "~" for char in token):
        raise MalformedAddress("the verification token can't be a header's value")
    return (
        f"POST {target.path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        "Accept: application/json\r\n"
        "Accept-Encoding: UTF-8\r\n"
        f"Content-Type: {content_type}\r\n"
        f"User-Agent: {USER_AGENT}\r\n"
    ) + (f"Verification-Token: {token}\r\n" if token else "")


@lru_cache(maxsize=4_096)
def _delivered(status: int, duration_ms: int) -> Delivered:
    return Delivered(status, duration_ms)


def _failed(result: Result, duration_ms: int, token: str | None, clock: Clock) -> Failed | Withheld:
    match result:
        case Stopped():
            return Withheld()
        case Broken():
            head, body = _kept(result.answer, token)
            status = (result.answer.status or None) if result.answer else None
            return Failed(result.kind, result.detail, duration_ms, status, None, head, body)
        case Answer():
            parsed = read_head(result.raw_head)
            head, body = _kept(result, token)
            detail = f"the receiver answered {result.status} {parsed.reason}".rstrip()
            wish = retry_after_s(parsed.first("retry-after"), clock.now_ms())
            return Failed(FailureKind.STATUS, detail, duration_ms, result.status, wish, head, body)
        case _:
            assert_never(result)


def _kept(answer: Answer | None, token: str | None) -> tuple[str, str]:
    """Head and body as they may be stored: cut, cookies masked, and our own token too, should the receiver echo it."""
    if answer is None:
        return "", ""
    parsed = read_head(answer.raw_head)
    lines = [f"{answer.status} {parsed.reason}".rstrip()]
    lines += [f"{name}: {_HIDDEN if name in _SECRET_HEADERS else value}" for name, value in parsed.headers]
    head, body = "\n".join(lines), answer.body.decode("utf-8", "replace").replace("\0", "\ufffd")
    if token:
        head, body = head.replace(token, _HIDDEN), body.replace(token, _HIDDEN)
    return head[:KEPT_BYTES], body[:KEPT_BYTES]


def _judge(asked: _Asked) -> HandshakeResult:
    result = asked.result
    match result:
        case Stopped():
            return Unreachable("the server is shutting down")
        case Broken(kind=FailureKind.REFUSED_ADDRESS):
            return RefusedAddress(result.detail)
        case Broken(kind=FailureKind.PROTOCOL | FailureKind.TOO_LARGE):
            return InvalidResponse(result.detail)
        case Broken():
            return BadCertificate(result.detail) if result.certificate else Unreachable(result.detail)
        case Answer():
            if result.status != 200:
                return WrongStatus(result.status)
            returned = read_head(result.raw_head).first("validation-token") or ""
            same = secrets.compare_digest(returned.encode("latin-1"), asked.token.encode())
            return HandshakePassed(asked.duration_ms) if same else NotReturned()
        case _:
            assert_never(result)
