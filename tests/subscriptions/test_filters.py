from __future__ import annotations

from dataclasses import replace

import pytest

from tests.subscribing import (
    ACCOUNT,
    ADMIN,
    ADMIN_STORE,
    ALL_SCOPES,
    FOREIGN_ACCOUNT,
    INSTANT,
    STORE,
    USER,
    USER_STORE,
    company,
    extension,
    identity,
)
from tocsin.domain.directory import ExtensionStatus, Permission, Role, Scope
from tocsin.domain.errors import InvalidParameter, MissingPermission, MissingScope, Refused
from tocsin.domain.event_filter import EventFilter
from tocsin.subscriptions.filters import (
    MAX_FILTERS,
    check_mailboxes,
    check_some_enabled,
    disabled_filters,
    enabled_owner,
    read_filters,
)

PEOPLE = company().extensions
POWERLESS = extension(USER, Role.USER)


def read(*texts: str) -> tuple[EventFilter, ...]:
    return read_filters(texts, identity())


def code_of(*texts: str, admin: bool = False) -> str:
    with pytest.raises(Refused) as refused:
        check_mailboxes(read(*texts), PEOPLE[ADMIN if admin else USER], company())
    return refused.value.code


def test_tilde_becomes_the_callers_ids() -> None:
    assert [one.text for one in read(STORE, INSTANT)] == [USER_STORE, f"{USER_STORE}/instant?type=SMS"]


def test_filters_that_are_equal_in_canonical_form_are_kept_once_in_their_first_words() -> None:
    first = f"{USER_STORE}?type=SMS&direction=Inbound"
    assert [one.text for one in read(first, f"{STORE}?DIRECTION=inbound&type=sms", first)] == [first]


def test_an_empty_list_is_an_invalid_parameter() -> None:
    with pytest.raises(InvalidParameter) as refused:
        read()
    assert refused.value.parameter == "eventFilters"


def test_every_unknown_filter_is_named() -> None:
    with pytest.raises(Refused) as refused:
        read("/nonsense", STORE, f"{STORE}?type=Email")
    assert refused.value.code == "SUB-508"
    assert str(refused.value).startswith(f"Invalid event filters: [/nonsense, {STORE}?type=Email] (")
    assert refused.value.parameter == "eventFilters"


def test_there_is_a_limit_to_their_number() -> None:
    texts = [f"/restapi/v1.0/account/~/extension/{number}/message-store" for number in range(MAX_FILTERS + 1)]
    assert len(read(*texts[:MAX_FILTERS])) == MAX_FILTERS
    with pytest.raises(Refused) as refused:
        read(*texts)
    assert refused.value.code == "SUB-508"


def test_a_user_may_watch_their_own_mailbox_and_no_other() -> None:
    check_mailboxes(read(STORE, INSTANT), PEOPLE[USER], company())
    assert code_of(STORE, ADMIN_STORE) == "SUB-405"


def test_an_admin_may_watch_every_mailbox_of_the_account() -> None:
    check_mailboxes(read(USER_STORE, ADMIN_STORE), PEOPLE[ADMIN], company())


@pytest.mark.parametrize("admin", [True, False])
def test_another_companys_mailbox_is_nobodys(admin: bool) -> None:
    assert code_of(f"/restapi/v1.0/account/{FOREIGN_ACCOUNT}/extension/~/message-store", admin=admin) == "SUB-406"


@pytest.mark.parametrize("admin", [True, False])
def test_an_unknown_extension_is_unknown_to_everyone(admin: bool) -> None:
    assert code_of(f"/restapi/v1.0/account/{ACCOUNT}/extension/7/message-store", admin=admin) == "SUB-408"


def test_nothing_is_disabled_for_who_may_read() -> None:
    assert disabled_filters(read(STORE, INSTANT), PEOPLE[USER], company(), ALL_SCOPES) == ()


def test_without_the_app_permission_everything_is_disabled() -> None:
    filters = read(STORE, INSTANT)
    disabled = disabled_filters(filters, PEOPLE[USER], company(), frozenset({Scope.SUBSCRIPTION_WEBHOOK}))
    assert [(one.filter, one.reason) for one in disabled] == [(one, "CMN-401") for one in filters]
    with pytest.raises(MissingScope) as refused:
        check_some_enabled(filters, disabled)
    assert refused.value.parameter == "ReadMessages"


def test_without_the_user_permission_everything_is_disabled() -> None:
    filters = read(STORE)
    disabled = disabled_filters(filters, POWERLESS, company(), ALL_SCOPES)
    assert [(one.reason, one.message) for one in disabled] == [
        ("SUB-412", "Extension permission [ReadMessages] is missing")
    ]
    with pytest.raises(MissingPermission) as refused:
        check_some_enabled(filters, disabled)
    assert refused.value.parameter == "ReadMessages"


def test_a_former_admin_keeps_what_any_user_has() -> None:
    filters = read(USER_STORE, ADMIN_STORE)
    demoted = replace(PEOPLE[ADMIN], role=Role.USER, permissions=frozenset({Permission.READ_MESSAGES}))
    disabled = disabled_filters(filters, demoted, company(), ALL_SCOPES)
    assert [(one.filter.text, one.reason) for one in disabled] == [(USER_STORE, "SUB-405")]
    check_some_enabled(filters, disabled)
    with pytest.raises(Refused) as refused:
        check_some_enabled(filters[:1], disabled)
    assert refused.value.code == "SUB-405"


def test_who_is_gone_or_not_enabled_subscribes_to_nothing() -> None:
    account = company()
    assert enabled_owner(account, identity()) == (account.extensions[USER], account)
    frozen = replace(PEOPLE[USER], status=ExtensionStatus.FROZEN)
    for known, code in [
        (None, "OAU-232"),
        (replace(account, extensions={}), "OAU-232"),
        (replace(account, extensions={USER: frozen}), "OAU-236"),
    ]:
        with pytest.raises(Refused) as refused:
            enabled_owner(known, identity())
        assert refused.value.code == code
