"""Rights as the notifier asks for them: never older than what the log has said."""

from __future__ import annotations

import asyncio

import pytest

from tests.subscribing import ACCOUNT, USER, company
from tocsin.directory.cache import Directory
from tocsin.domain.directory import Account, App, Scope
from tocsin.domain.entry import DirectoryChange, DirectoryScope
from tocsin.domain.event_filter import parse_event_filter
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId, ExtensionId, Seq, SubscriptionId
from tocsin.domain.subscription import StoredFilter, Subscription, SubscriptionStatus, TransportType
from tocsin.server.rights import CurrentRights
from tocsin.telemetry.tasks import Tasks

pytestmark = pytest.mark.anyio

CLIENT = ClientId("app")
APP_CHANGED = DirectoryChange(SYSTEM_ACCOUNT, Seq(1), 0, DirectoryScope.APP, ExtensionId(0), CLIENT)
ENABLED = App(CLIENT, "App", None, frozenset({Scope.READ_MESSAGES}), ())
DISABLED = App(CLIENT, "App", None, frozenset({Scope.READ_MESSAGES}), (), enabled=False)


class SlowDirectory(Directory):
    """One account and one app; a look-up of the app shows it as it was when it was asked for, once let go."""

    def __init__(self) -> None:
        self.present = ENABLED
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def account(self, account_id: AccountId) -> Account | None:
        return company()

    async def app(self, client_id: ClientId) -> App | None:
        found = self.present
        self.asked.set()
        await self.go_on.wait()
        return found


def subscription() -> Subscription:
    text = "/restapi/v1.0/account/~/extension/~/message-store"
    return Subscription(
        ACCOUNT,
        SubscriptionId("sub"),
        USER,
        CLIENT,
        TransportType.WEBHOOK,
        SubscriptionStatus.ACTIVE,
        0,
        2**50,
        60,
        Seq(1),
        (StoredFilter(1, parse_event_filter(text, ACCOUNT, USER), Seq(0), None),),
    )


async def test_regression_an_app_disabled_while_it_is_looked_up_is_not_believed_to_be_enabled() -> None:
    directory, tasks = SlowDirectory(), Tasks()
    rights = CurrentRights(directory, tasks)
    loading = asyncio.create_task(rights.refresh(ACCOUNT, [CLIENT]))
    await directory.asked.wait()
    directory.present = DISABLED
    rights.entries(SYSTEM_ACCOUNT, [APP_CHANGED])
    directory.go_on.set()
    await loading
    assert await tasks.settle(within_s=10)
    assert not rights.may_receive(subscription(), USER)
