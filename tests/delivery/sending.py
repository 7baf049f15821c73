"""What the tests of delivery share: a transport that may reach loopback, and deliveries to send with it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.clocks import ManualClock
from tocsin.delivery.egress import LOOPBACK, Egress, Lookup, Network, look_up
from tocsin.delivery.http_client import ClientLimits, HttpClient
from tocsin.delivery.webhook import WebhookTransport
from tocsin.delivery.wheel import TimerWheel
from tocsin.domain.attempt import Delivered, Failed, Outcome
from tocsin.domain.delivery import Delivery
from tocsin.domain.ids import AccountId, ClientId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import Subscription, SubscriptionStatus, TransportType


@asynccontextmanager
async def webhook_transport(
    *,
    tls: ssl.SSLContext | None = None,
    within_s: float = 10.0,
    limits: ClientLimits | None = None,
    allowed: Sequence[Network] = LOOPBACK,
    https_only: bool = False,
    lookup: Lookup = look_up,
) -> AsyncIterator[WebhookTransport]:
    """A transport on real sockets, closed at the end."""
    egress = Egress(allowed=allowed, https_only=https_only, lookup=lookup)
    wheel = TimerWheel(asyncio.get_running_loop(), slot_s=0.005)
    client = HttpClient(egress, wheel, tls=tls, limits=limits)
    transport = WebhookTransport(client, egress, ManualClock(), within_s=within_s)
    try:
        yield transport
    finally:
        await transport.close(0)
        wheel.close()


def subscription_to(
    address: str, *, token: str | None = None, account: int = 400_000_001, name: str = "s-1"
) -> Subscription:
    """A webhook subscription of extension 400000101."""
    return Subscription(
        account_id=AccountId(account),
        subscription_id=SubscriptionId(name),
        owner=ExtensionId(400_000_101),
        client_id=ClientId("app"),
        transport=TransportType.WEBHOOK,
        status=SubscriptionStatus.ACTIVE,
        created_ms=0,
        expires_ms=0,
        lifetime_s=0,
        modified_seq=Seq(1),
        filters=(),
        address=address,
        verification_token=token,
    )


def delivery_of(subscription: Subscription, envelope: bytes = b'{"uuid":"u-1"}') -> Delivery:
    """A first attempt."""
    return Delivery(
        subscription=subscription,
        event="/restapi/v1.0/account/400000001/extension/400000101/message-store",
        extension_id=ExtensionId(400_000_101),
        uuid="u-1",
        envelope=envelope,
        first_seq=1,
        last_seq=1,
        number=1,
    )


def begin(transport: WebhookTransport, subscription: Subscription, envelope: bytes = b"{}") -> asyncio.Future[Outcome]:
    """Send, and return what will hold the outcome."""
    outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    transport.send(delivery_of(subscription, envelope), outcome.set_result)
    return outcome


async def sent(transport: WebhookTransport, subscription: Subscription, envelope: bytes = b"{}") -> Outcome:
    """Send and wait for the outcome."""
    async with asyncio.timeout(10):
        return await begin(transport, subscription, envelope)


async def failed(transport: WebhookTransport, subscription: Subscription) -> Failed:
    """Send what must fail, and return how it did."""
    outcome = await sent(transport, subscription)
    assert isinstance(outcome, Failed), outcome
    return outcome


async def delivered(transport: WebhookTransport, subscription: Subscription) -> Delivered:
    """Send what must succeed."""
    outcome = await sent(transport, subscription)
    assert isinstance(outcome, Delivered), outcome
    return outcome
