"""Puts the rooms together: who is given what. Makes objects and follows the tail; starts and ends nothing.

Where a room owns a Protocol, the answer to it is chosen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from tocsin.api.app import AsgiApp, make_app
from tocsin.api.attempts import Attempts
from tocsin.api.call import Route
from tocsin.api.dispatch import Dispatcher
from tocsin.api.frame_requests import FrameRequests
from tocsin.api.inbound import Inbound
from tocsin.api.messages import Messages
from tocsin.api.oauth import OAuthApi
from tocsin.api.operations import Operations
from tocsin.api.platform import PlatformApi
from tocsin.api.request import BaseUrl
from tocsin.api.sending import SentMessages
from tocsin.api.subscriptions import SubscriptionRoutes
from tocsin.carriers.dispatcher import Dispatcher as CarrierDispatcher
from tocsin.carriers.loopback import Loopback
from tocsin.delivery.attempts import AttemptLog
from tocsin.delivery.egress import LOOPBACK, Egress
from tocsin.delivery.gateway import Gateway, GatewayParts
from tocsin.delivery.http_client import HttpClient
from tocsin.delivery.webhook import WebhookTransport
from tocsin.delivery.wheel import TimerWheel
from tocsin.directory.assertions import Assertions
from tocsin.directory.cache import Directory
from tocsin.directory.clients import Clients
from tocsin.directory.grants import Grants
from tocsin.directory.passwords import Passwords
from tocsin.directory.seeding import Seeding
from tocsin.directory.sessions import Sessions
from tocsin.directory.tokens import TokenMaker
from tocsin.domain.clock import SystemClock
from tocsin.domain.subscription import TransportType
from tocsin.log.tail import LocalTail
from tocsin.log.work import WorkLoop
from tocsin.messaging.changing import Changing
from tocsin.messaging.pager import Pager
from tocsin.messaging.reading import Reading
from tocsin.messaging.receipts import Receipts
from tocsin.messaging.receiving import Receiving
from tocsin.messaging.sending import SUBMIT, Sending
from tocsin.notify.envelopes import Renderer
from tocsin.notify.notifier import Notifier, NotifierSettings
from tocsin.notify.outside import Outside
from tocsin.notify.session_feed import FeedParts, SessionFeeds
from tocsin.server.counting import EntryCounter
from tocsin.server.housekeeping import Ages, Housekeeping
from tocsin.server.http_server import MakeProtocol
from tocsin.server.rights import CurrentRights, LoadsWithRights, SessionsWithRights
from tocsin.server.settings import Settings
from tocsin.storage.store import Store
from tocsin.subscriptions.blacklisting import Blacklisting
from tocsin.subscriptions.expiry import Expiry
from tocsin.subscriptions.manage import SubscriptionParts, SubscriptionRules, Subscriptions
from tocsin.subscriptions.sessions import SessionSubscriptions
from tocsin.telemetry.health import Health
from tocsin.telemetry.metrics import Metrics
from tocsin.telemetry.tasks import Tasks

OWNER = "local"
"""Names this process in claimed rows; there is one process per folder."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there before the rooms: settings, the clock, the open store, and what it tells of commits."""

    settings: Settings
    sandbox: bool
    clock: SystemClock
    store: Store
    tail: LocalTail
    metrics: Metrics
    base_url: Callable[[], str]
    admin_token: str
    clock_moved: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Secrets:
    """The store's own keys."""

    uuid: bytes
    tokens: bytes
    assertions: bytes
    seeding: bytes
    sessions: bytes


@dataclass(frozen=True, slots=True)
class People:
    """The directory and those who log in."""

    directory: Directory
    sessions: Sessions
    grants: Grants
    clients: Clients
    seeding: Seeding


@dataclass(frozen=True, slots=True)
class Notifying:
    """Everything between a subscription and its receiver."""

    subscriptions: Subscriptions
    expiry: Expiry
    notifier: Notifier
    transport: WebhookTransport
    wheel: TimerWheel
    attempts: AttemptLog
    feeds: SessionFeeds
    session_subscriptions: SessionSubscriptions


@dataclass(frozen=True, slots=True)
class Rooms:
    """A whole server, put together and not yet started."""

    people: People
    notifying: Notifying
    reading: Reading
    receiving: Receiving
    work: WorkLoop
    housekeeping: Housekeeping
    tasks: Tasks
    health: Health
    routes: Sequence[Route]


async def read_secrets(store: Store) -> Secrets:
    """The store's keys, made at its first start."""
    return Secrets(
        uuid=await store.secret("notification-uuid"),
        tokens=await store.secret("tokens"),
        assertions=await store.secret("assertions"),
        seeding=await store.secret("seeding"),
        sessions=await store.secret("websocket-sessions"),
    )


def wire(around: Surroundings, secrets: Secrets) -> Rooms:
    """Put the rooms together."""
    store, clock, tail = around.store, around.clock, around.tail
    tasks, health = Tasks(), Health()
    tail.follow(EntryCounter(around.metrics))
    people = _people(around, secrets)
    tail.follow(people.directory)
    tail.follow(people.sessions)
    receiving = Receiving(store, people.directory, clock, around.base_url)
    reading = Reading(store.readers, store.blobs, clock)
    receipts = Receipts(store.readers, store.writer, clock, OWNER)
    dispatcher = CarrierDispatcher(receipts, Loopback(receiving, clock), clock)
    work = WorkLoop(store.readers, store.writer, clock, {SUBMIT: dispatcher}, OWNER)
    tail.follow(work)
    notifying = _notifying(around, secrets, people, tasks)
    ages = Ages(around.settings.log_days, around.settings.attempt_days)
    housekeeping = Housekeeping(store, clock, notifying.notifier, ages, around.metrics)
    routes = [
        *OAuthApi(clients=people.clients, grants=people.grants, sessions=people.sessions).routes(),
        *PlatformApi(find_account=people.directory.account, is_limited=lambda: False).routes(),
        *Messages(reading, Changing(store.readers, store.writer, clock)).routes(),
        *SentMessages(Sending(store, people.directory, clock), Pager(store, people.directory, clock)).routes(),
        *SubscriptionRoutes(notifying.subscriptions, clock).routes(),
        *Inbound(receiving).routes(),
        *Attempts(notifying.attempts).routes(),
        *Operations(health, around.metrics).routes(),
    ]
    return Rooms(people, notifying, reading, receiving, work, housekeeping, tasks, health, routes)


def _people(around: Surroundings, secrets: Secrets) -> People:
    store, clock = around.store, around.clock
    directory = Directory(store.readers, clock)
    tokens = TokenMaker(secrets.tokens)
    assertions, passwords = Assertions(secrets.assertions), Passwords()
    sessions = Sessions(writer=store.writer, readers=store.readers, directory=directory, tokens=tokens, clock=clock)
    grants = Grants(
        directory=directory,
        sessions=sessions,
        assertions=assertions,
        passwords=passwords,
        readers=store.readers,
        clock=clock,
    )
    seeding = Seeding(
        writer=store.writer,
        readers=store.readers,
        ids=store.ids,
        assertions=assertions,
        passwords=passwords,
        key=secrets.seeding,
        clock=clock,
    )
    return People(directory, sessions, grants, Clients(directory), seeding)


def _notifying(around: Surroundings, secrets: Secrets, people: People, tasks: Tasks) -> Notifying:
    store, clock, settings = around.store, around.clock, around.settings
    wheel = TimerWheel(asyncio.get_running_loop())
    egress = Egress(allowed=_allowed(settings, sandbox=around.sandbox), https_only=not around.sandbox)
    transport = WebhookTransport(HttpClient(egress, wheel), egress, clock, within_s=settings.delivery_timeout_s)
    attempts = AttemptLog(store, keep_all=around.sandbox, metrics=around.metrics)
    rights = CurrentRights(people.directory, tasks)
    around.tail.follow(rights)
    renderer = Renderer(secrets.uuid, clock)
    notifier = Notifier(
        LoadsWithRights(store.readers, TransportType.WEBHOOK, rights),
        store.writer,
        Outside(transport, rights, attempts, Blacklisting(store.writer, store.readers, clock)),
        renderer,
        clock,
        asyncio.get_running_loop().call_later,
        NotifierSettings(),
    )
    around.tail.follow(notifier)
    expiry = Expiry(store.writer, store.readers, clock)
    session_subscriptions = SessionSubscriptions(store.writer, store.readers)
    feeds = SessionFeeds(
        FeedParts(
            store.readers,
            SessionsWithRights(session_subscriptions, rights),
            rights,
            renderer.of_stored,
            renderer.of_notice,
            tasks,
        )
    )
    around.tail.follow(feeds)
    subscriptions = Subscriptions(
        SubscriptionParts(
            store.writer,
            store.readers,
            clock,
            people.directory,
            transport,
            expiry,
            SubscriptionRules(https_only=not around.sandbox),
        )
    )
    return Notifying(subscriptions, expiry, notifier, transport, wheel, attempts, feeds, session_subscriptions)


def make_gateway(around: Surroundings, rooms: Rooms, dispatcher: Dispatcher, key: bytes) -> Gateway:
    """The WebSocket gateway, whose requests enter `dispatcher`."""
    parts = GatewayParts(
        around.store.writer,
        around.store.readers,
        around.clock,
        rooms.people.sessions,
        rooms.notifying.feeds,
        rooms.notifying.session_subscriptions,
        key,
        tasks=rooms.tasks,
    )
    return Gateway(parts, FrameRequests(dispatcher, around.base_url))


def make_dispatcher(around: Surroundings, rooms: Rooms, more: Sequence[Route]) -> Dispatcher:
    """The API, its table of routes completed by `more`."""
    return Dispatcher(
        [*rooms.routes, *more],
        authenticate=rooms.people.sessions.authenticate,
        find_account=rooms.people.directory.account,
        admin_token=around.admin_token,
    )


def make_http(
    around: Surroundings, dispatcher: Dispatcher, gateway: Gateway, tasks: Tasks
) -> tuple[AsgiApp, MakeProtocol]:
    """The ASGI application, and what makes the protocol of each WebSocket upgrade."""

    @cache
    def protocol() -> MakeProtocol:
        # picows brings proxies and a TLS of its own: a twentieth of a start, for what comes with the first socket.
        from tocsin.api.websocket import socket_protocol

        return socket_protocol(gateway, tasks)

    base_url = BaseUrl(around.settings.public_url, around.settings.proxies())
    return make_app(dispatcher, base_url), lambda **given: protocol()(**given)


def _allowed(settings: Settings, *, sandbox: bool) -> tuple[IPv4Network | IPv6Network, ...]:
    chosen = tuple(ip_network(text) for text in settings.allow_networks)
    return (*LOOPBACK, *chosen) if sandbox else chosen
