"""Who is who: accounts, extensions, their numbers, the apps that act for them, and what each may do.

Values only. The cache and the use cases are in directory/.
Source: RC getAccountInfo, listExtensions, listExtensionPhoneNumbers; reference table of app scopes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from tocsin.domain.ids import AccountId, ClientId, ExtensionId, PhoneNumberId, SessionId


class ExtensionStatus(StrEnum):
    """Whether an extension may log in and receive."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
    FROZEN = "Frozen"
    NOT_ACTIVATED = "NotActivated"
    UNASSIGNED = "Unassigned"


class Role(StrEnum):
    """An admin may act for, and subscribe to, every extension of the account."""

    ADMIN = "admin"
    USER = "user"


class Permission(StrEnum):
    """User permissions that Tocsin checks."""

    READ_MESSAGES = "ReadMessages"
    EDIT_MESSAGES = "EditMessages"
    READ_MESSAGE_CONTENT = "ReadMessageContent"
    OUTBOUND_SMS = "OutboundSMS"
    INTERNAL_SMS = "InternalSMS"
    OUTBOUND_FAXES = "OutboundFaxes"
    ACCOUNT_ADMINISTRATION = "AccountAdministration"


class Scope(StrEnum):
    """App permissions that Tocsin checks."""

    READ_MESSAGES = "ReadMessages"
    EDIT_MESSAGES = "EditMessages"
    SMS = "SMS"
    FAXES = "Faxes"
    INTERNAL_MESSAGES = "InternalMessages"
    READ_ACCOUNTS = "ReadAccounts"
    EDIT_ACCOUNTS = "EditAccounts"
    EDIT_EXTENSIONS = "EditExtensions"
    SUBSCRIPTION_WEBHOOK = "SubscriptionWebhook"
    WEBSOCKET = "WebSocketsSubscription"
    A2P_SMS = "A2PSMS"
    VOICEMAIL = "Voicemail"


IMPLIED_SCOPES: dict[Scope, frozenset[Scope]] = {
    Scope.EDIT_MESSAGES: frozenset({Scope.READ_MESSAGES}),
    Scope.SMS: frozenset({Scope.READ_MESSAGES}),
    Scope.FAXES: frozenset({Scope.READ_MESSAGES}),
    Scope.INTERNAL_MESSAGES: frozenset({Scope.READ_MESSAGES}),
    Scope.EDIT_ACCOUNTS: frozenset({Scope.READ_ACCOUNTS, Scope.EDIT_EXTENSIONS}),
}
"""A scope that is granted brings these with it."""

SCOPE_SPELLINGS: dict[str, Scope] = {
    spelling: Scope.WEBSOCKET
    for spelling in ("WebSocketsSubscriptions", "WebSocketSubscription", "WebSocket", "SubscriptionWebSocket")
} | {scope.value: scope for scope in Scope}
"""Every spelling that sources use, to the scope it means."""


@lru_cache(maxsize=1_024)  # asked before each send; apps hold few different sets
def effective_scopes(granted: frozenset[Scope]) -> frozenset[Scope]:
    """Return `granted` and all that it implies."""
    return granted.union(*(IMPLIED_SCOPES.get(scope, frozenset()) for scope in granted))


class NumberFeature(StrEnum):
    """What a phone number can do for its extension."""

    CALLER_ID = "CallerId"
    SMS_SENDER = "SmsSender"
    A2P_SMS_SENDER = "A2PSmsSender"
    MMS_SENDER = "MmsSender"
    INTERNATIONAL_SMS_SENDER = "InternationalSmsSender"
    DELEGATED = "Delegated"


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number of an account; `extension_id` None is a company number without a mailbox. `number` is E.164 with `+`."""

    account_id: AccountId
    phone_number_id: PhoneNumberId
    number: str
    extension_id: ExtensionId | None
    usage_type: str
    features: frozenset[NumberFeature]
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension and its mailbox. `permissions` are the user's own; an admin has every one."""

    account_id: AccountId
    extension_id: ExtensionId
    number: str
    name: str
    email: str | None
    role: Role
    status: ExtensionStatus
    permissions: frozenset[Permission]
    numbers: tuple[PhoneNumber, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether it may act for the whole account."""
        return self.role is Role.ADMIN

    def may(self, permission: Permission) -> bool:
        """Whether the user holds `permission`."""
        return self.is_admin or permission in self.permissions


@dataclass(frozen=True, slots=True)
class AccountProfile:
    """What a company says of itself beside its name: `time_zone` as applications know it, `language` as `en-US`."""

    brand: str = "RingCentral"
    service_plan: str = "Tocsin"
    time_zone: str = "US/Pacific"
    language: str = "en-US"


DEFAULT_PROFILE = AccountProfile()


@dataclass(frozen=True, slots=True)
class Account:
    """A company: its main number and everyone in it, found by id and by extension number."""

    account_id: AccountId
    name: str
    main_number: str
    enabled: bool
    created_ms: int
    extensions: dict[ExtensionId, Extension] = field(default_factory=dict)
    company_numbers: tuple[PhoneNumber, ...] = ()
    profile: AccountProfile = DEFAULT_PROFILE

    @property
    def operator(self) -> Extension | None:
        """Who answers the company's own numbers: the first admin. Our choice; RC lets the company choose."""
        return next((one for one in self.extensions.values() if one.is_admin), None)

    def by_number(self, extension_number: str) -> Extension | None:
        """The extension that is dialled as `extension_number`, if any."""
        return next((one for one in self.extensions.values() if one.number == extension_number), None)


@dataclass(frozen=True, slots=True)
class App:
    """A client application. `secret_hash` is None for a public app."""

    client_id: ClientId
    name: str
    secret_hash: str | None
    scopes: frozenset[Scope]
    redirect_uris: tuple[str, ...]
    enabled: bool = True

    @property
    def public(self) -> bool:
        """Whether it has no secret to keep (PKCE apps)."""
        return self.secret_hash is None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request: the result of checking an access token. `scopes` are the effective ones."""

    account_id: AccountId
    extension_id: ExtensionId
    client_id: ClientId
    session_id: SessionId
    scopes: frozenset[Scope]
    expires_ms: int
