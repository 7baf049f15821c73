"""Whether a subscription's owner may be told about a mailbox now: asked before every send, answered without waiting.

It keeps what the notifier has loaded with each account; a directory change in an account's log stops the notifier until
this has looked again, so that what follows the change is judged by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tocsin.directory.cache import Directory
from tocsin.domain.directory import Account, App, ExtensionStatus, Permission, Scope, effective_scopes
from tocsin.domain.entry import DirectoryChange, DirectoryScope, Entry
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId, ExtensionId, SessionId, SubscriptionId
from tocsin.domain.subscription import Subscription, TransportType
from tocsin.notify.loading import StoredAccount, StoreLoads
from tocsin.storage.readers import Readers
from tocsin.subscriptions.sessions import SessionSubscriptions
from tocsin.telemetry.tasks import Tasks


class CurrentRights:
    """Answers notify's Rights. `entries` follows the log of account 0 for changes of apps."""

    def __init__(self, directory: Directory, tasks: Tasks) -> None:
        self._directory = directory
        self._tasks = tasks
        self._accounts: dict[AccountId, Account | None] = {}
        self._apps: dict[ClientId, App | None] = {}
        self._app_changes = 0

    def may_receive(self, subscription: Subscription, mailbox: ExtensionId) -> bool:
        """Whether owner and app may read messages of `mailbox`. RC: ReadMessages, of the app and of the user."""
        account = self._accounts.get(subscription.account_id)
        app = self._apps.get(subscription.client_id)
        return account is not None and app is not None and _allows(account, app, subscription.owner, mailbox)

    async def refresh(self, account_id: AccountId, clients: Iterable[ClientId]) -> None:
        """Look at the account again, and at apps that were not known."""
        self._accounts[account_id] = await self._directory.account(account_id)
        for client_id in set(clients) - self._apps.keys():
            await self._look_at(client_id)

    def entries(self, account_id: AccountId, entries: Sequence[Entry]) -> None:
        """Take note of changed apps."""
        if account_id != SYSTEM_ACCOUNT:
            return
        for entry in entries:
            if isinstance(entry, DirectoryChange) and entry.scope is DirectoryScope.APP:
                self._app_changes += 1
                self._tasks.start(self._look_again(ClientId(entry.subject)), "rights.app")

    async def _look_again(self, client_id: ClientId) -> None:
        if client_id in self._apps:
            await self._look_at(client_id)

    async def _look_at(self, client_id: ClientId) -> None:
        while True:
            seen = self._app_changes
            app = await self._directory.app(client_id)
            if seen == self._app_changes:  # what changed while it was read may have been read too early
                self._apps[client_id] = app
                return


class LoadsWithRights(StoreLoads):
    """What the notifier loads, and with it the rights that it will ask for."""

    def __init__(self, readers: Readers, transport: TransportType, rights: CurrentRights) -> None:
        super().__init__(readers, transport)
        self._rights = rights

    async def account(self, account_id: AccountId) -> StoredAccount:
        """See notify's Loads."""
        stored = await super().account(account_id)
        await self._rights.refresh(account_id, (one.client_id for one in stored.subscriptions))
        return stored

    async def subscriptions(
        self, account_id: AccountId, ids: Sequence[SubscriptionId]
    ) -> dict[SubscriptionId, Subscription]:
        """See notify's Loads; with no ids it looks at the rights alone."""
        found = await super().subscriptions(account_id, ids) if ids else {}
        await self._rights.refresh(account_id, (one.client_id for one in found.values()))
        return found


class SessionsWithRights:
    """Loads what a WebSocket session has subscribed to, and with it the rights that its feed will ask for."""

    def __init__(self, sessions: SessionSubscriptions, rights: CurrentRights) -> None:
        self._sessions = sessions
        self._rights = rights

    async def load(self, account_id: AccountId, session_id: SessionId) -> Subscription | None:
        """See notify's SessionSubscriptions."""
        found = await self._sessions.load(account_id, session_id)
        if found is not None:
            await self._rights.refresh(account_id, [found.client_id])
        return found


def _allows(account: Account, app: App, owner_id: ExtensionId, mailbox: ExtensionId) -> bool:
    owner = account.extensions.get(owner_id)
    return (
        account.enabled
        and app.enabled
        and Scope.READ_MESSAGES in effective_scopes(app.scopes)
        and owner is not None
        and owner.status is ExtensionStatus.ENABLED
        and owner.may(Permission.READ_MESSAGES)
        and mailbox in account.extensions
        and (owner.is_admin or mailbox == owner_id)
    )
