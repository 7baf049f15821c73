"""Who may subscribe to what: reads the texts of a request as filters, and judges them by their owner's rights.

What can never be allowed (an unknown path, another company's mailbox) refuses the whole request. What the owner lacks a
permission for is only disabled, unless that is everything: permissions come and go, and are asked again at each send.
Source: RC createSubscription, error codes SUB-405 to SUB-412 and SUB-508; partial failure from `disabledFilters`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tocsin.domain.directory import Account, Extension, ExtensionStatus, Identity, Permission, Scope
from tocsin.domain.errors import InvalidParameter, MissingPermission, MissingScope, Refused
from tocsin.domain.event_filter import EventFilter, UnknownFilter, parse_event_filter
from tocsin.domain.subscription import DisabledFilter

MAX_FILTERS = 240
"""Filters of one subscription. RC names no maximum. Ours: replacing all of them still fits one unit of 500 rows."""

PERMISSION_MISSING = "SUB-412"
SCOPE_MISSING = "CMN-401"


def read_filters(texts: Sequence[str], identity: Identity) -> tuple[EventFilter, ...]:
    """Parse the filters that `identity` sent, in order; of those equal in canonical form the first is kept.

    Raises InvalidParameter for an empty list, SUB-508 naming each text that is no filter.
    """
    if not texts:
        raise InvalidParameter("Parameter [eventFilters] value is invalid", parameter="eventFilters")
    parsed: dict[str, EventFilter] = {}
    wrong: dict[str, str] = {}
    for text in texts:
        try:
            one = parse_event_filter(text, identity.account_id, identity.extension_id)
        except UnknownFilter as why:
            wrong[text] = str(why)
        else:
            parsed.setdefault(one.canonical, one)
    if wrong:
        reasons = "; ".join(dict.fromkeys(wrong.values()))
        raise Refused("SUB-508", f"Invalid event filters: [{', '.join(wrong)}] ({reasons})", parameter="eventFilters")
    if len(parsed) > MAX_FILTERS:
        raise Refused(
            "SUB-508",
            f"Invalid event filters: [{len(parsed)} of them; a subscription takes at most {MAX_FILTERS}]",
            parameter="eventFilters",
        )
    return tuple(parsed.values())


def enabled_owner(account: Account | None, identity: Identity) -> tuple[Extension, Account]:
    """Return the extension that subscribes, and its account. Raises OAU-232 if it is gone, OAU-236 if not enabled."""
    owner = None if account is None else account.extensions.get(identity.extension_id)
    if owner is None or account is None:
        raise Refused("OAU-232", "Extension not found")
    if owner.status is not ExtensionStatus.ENABLED:
        raise Refused("OAU-236", "Extension is disabled or frozen")
    return owner, account


def check_mailboxes(filters: Iterable[EventFilter], owner: Extension, account: Account) -> None:
    """Raise SUB-406 for another account's mailbox, SUB-408 for an unknown one, SUB-405 for one that is not theirs."""
    for one in filters:
        if one.account_id != owner.account_id:
            code, message = "SUB-406", "Not allowed subscribe for events to extensions of other account"
        else:
            code, message = _mailbox_refusal(one, owner, account)
        if code:
            raise Refused(code, message, parameter="eventFilters", value=one.text)


def disabled_filters(
    filters: Iterable[EventFilter], owner: Extension, account: Account, scopes: frozenset[Scope]
) -> tuple[DisabledFilter, ...]:
    """Return those of `filters` that `owner`, through an app with `scopes`, has no right to at present."""
    found = []
    for one in filters:
        reason, message = _refusal(one, owner, account, scopes)
        if reason:
            found.append(DisabledFilter(one, reason, message))
    return tuple(found)


def check_some_enabled(filters: Sequence[EventFilter], disabled: Sequence[DisabledFilter]) -> None:
    """Raise for filters of which every one is disabled: MissingScope, MissingPermission or the code of the first."""
    if len(disabled) < len(filters):
        return
    first = disabled[0]
    if first.reason == SCOPE_MISSING:
        raise MissingScope(first.message, parameter=Scope.READ_MESSAGES.value)
    if first.reason == PERMISSION_MISSING:
        raise MissingPermission(
            f"In order to call this API endpoint, user needs to have [{Permission.READ_MESSAGES}] permission"
            " for requested resource",
            parameter=Permission.READ_MESSAGES.value,
        )
    raise Refused(first.reason, first.message, parameter="eventFilters", value=first.filter.text)


def _refusal(one: EventFilter, owner: Extension, account: Account, scopes: frozenset[Scope]) -> tuple[str, str]:
    if Scope.READ_MESSAGES not in scopes:
        return SCOPE_MISSING, (
            f"In order to call this API endpoint, application needs to have [{Scope.READ_MESSAGES}] permission"
        )
    if not owner.may(Permission.READ_MESSAGES):
        return PERMISSION_MISSING, f"Extension permission [{Permission.READ_MESSAGES}] is missing"
    return _mailbox_refusal(one, owner, account)


def _mailbox_refusal(one: EventFilter, owner: Extension, account: Account) -> tuple[str, str]:
    if one.extension_id not in account.extensions:
        return "SUB-408", "Not allowed subscribe for unknown user"
    if one.extension_id != owner.extension_id and not owner.is_admin:
        return "SUB-405", "Not allowed subscribe for messages to other extensions"
    return "", ""
