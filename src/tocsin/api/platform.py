"""Versions, service status, and who is in the company: what applications read before they touch a message.

Source: RC readAPIVersions, readAccountInfo, readExtension, listExtensions, listExtensionPhoneNumbers,
listAccountPhoneNumbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, TypeVar

from tocsin import __version__
from tocsin.api.call import Access, Call, Query, Reply, Route, json_reply
from tocsin.domain.directory import Account, Extension, ExtensionStatus, PhoneNumber, Scope
from tocsin.domain.errors import InvalidParameter, NotFound, Refused
from tocsin.domain.ids import AccountId
from tocsin.wire.directory import (
    account_uri,
    extension_uri,
    payment_type,
    render_account,
    render_company_number,
    render_extension,
    render_listed_extension,
    render_own_number,
)
from tocsin.wire.paging import page_uri, parse_paging, render_paging

T = TypeVar("T")

FindAccount = Callable[[AccountId], Awaitable[Account | None]]
IsLimited = Callable[[], bool]
"""Whether the system can't serve fully now."""

_ACCOUNT = "/restapi/v1.0/account/{accountId}"
_EXTENSION = f"{_ACCOUNT}/extension/{{extensionId}}"
_RELEASED = "2026-11-22T00:00:00.000Z"
_EXTENSION_STATUSES = frozenset(one.value for one in ExtensionStatus)
_EXTENSION_TYPES = frozenset(
    "User Department Announcement Voicemail DigitalUser VirtualUser FaxUser PagingOnly SharedLinesGroup "
    "DelegatedLinesGroup GroupCallPickup IvrMenu ApplicationExtension ProxyAdmin RoomConnector ParkLocation Limited "
    "Bot Site Room FlexibleUser TieLine Unknown".split()
)
_NUMBER_STATUSES = frozenset({"Normal", "Pending", "PortedIn", "Temporary", "Unknown"})
_PAYMENT_TYPES = frozenset(
    "External TollFree Local BusinessMobileNumberProvider ExternalNumberProvider ExternalNumberProviderTollFree "
    "Mobile".split()
)
_USAGE_TYPES = frozenset(
    "MainCompanyNumber AdditionalCompanyNumber CompanyNumber DirectNumber CompanyFaxNumber FmcBusinessMobileNumber "
    "InventoryFmcBusinessMobileNumber ForwardedNumber ForwardedCompanyNumber ContactCenterNumber ConferencingNumber "
    "MeetingsNumber NumberPool BusinessMobileNumber ELIN PartnerBusinessMobileNumber "
    "NumberPoolPartnerBusinessMobileNumber NumberStorage IntegrationNumber InventoryMobileNumber".split()
)


class PlatformApi:
    """Handlers that only read the directory."""

    def __init__(self, *, find_account: FindAccount, is_limited: IsLimited) -> None:
        self._find_account = find_account
        self._is_limited = is_limited

    def routes(self) -> list[Route]:
        """The routes of these handlers."""
        read = Scope.READ_ACCOUNTS
        return [
            Route("GET", "/restapi", "readAPIVersions", self.list_versions, Access.PUBLIC),
            Route("GET", "/restapi/v1.0", "readAPIVersion", self.get_version, Access.PUBLIC),
            Route("GET", "/restapi/v1.0/status", "readAPIStatus", self.get_status, Access.PUBLIC),
            Route("GET", _ACCOUNT, "readAccountInfo", self.get_account, scope=read),
            Route("GET", _EXTENSION, "readExtension", self.get_extension, scope=read, any_may_read=True),
            Route("GET", f"{_ACCOUNT}/extension", "listExtensions", self.list_extensions, scope=read, group="medium"),
            Route(
                "GET",
                f"{_EXTENSION}/phone-number",
                "listExtensionPhoneNumbers",
                self.list_extension_numbers,
                scope=read,
            ),
            Route(
                "GET",
                f"{_ACCOUNT}/phone-number",
                "listAccountPhoneNumbers",
                self.list_account_numbers,
                scope=read,
                group="heavy",
            ),
        ]

    async def list_versions(self, call: Call) -> Reply:
        """RC: readAPIVersions."""
        return json_reply({"uri": f"{call.base_url}/restapi", **_server(call.base_url)})

    async def get_version(self, call: Call) -> Reply:
        """RC: readAPIVersion. Our choice: the guide's sample shows the list's fields here too, so both are given."""
        return json_reply({**_version(call.base_url), **_server(call.base_url)})

    async def get_status(self, _: Call) -> Reply:
        """200 when the service is up. SDK bridges parse every answer as JSON, hence a body."""
        if self._is_limited():
            raise Refused("CMN-211", "The service is in limited mode")
        return json_reply({})

    async def get_account(self, call: Call) -> Reply:
        """RC: readAccountInfo."""
        return json_reply(render_account(await self._account(call), call.base_url))

    async def get_extension(self, call: Call) -> Reply:
        """RC: readExtension."""
        account = await self._account(call)
        return json_reply(render_extension(_extension(call, account), account, call.base_url))

    async def list_extensions(self, call: Call) -> Reply:
        """RC: listExtensions, by id."""
        account, query = await self._account(call), call.query
        numbers, emails = query.every("extensionNumber"), [one.lower() for one in query.every("email")]
        statuses = _chosen(query, "status", _EXTENSION_STATUSES)
        types = _chosen(query, "type", _EXTENSION_TYPES)
        found = [
            one
            for one in sorted(account.extensions.values(), key=lambda one: one.extension_id)
            if (not numbers or one.number in numbers)
            and (not emails or (one.email or "").lower() in emails)
            and one.status.value in statuses
            and "User" in types
        ]
        return _list(
            call,
            f"{account_uri('', account.account_id)}/extension",
            found,
            lambda one: render_listed_extension(one, account, call.base_url),
        )

    async def list_extension_numbers(self, call: Call) -> Reply:
        """RC: listExtensionPhoneNumbers: the extension's own numbers, then those of the company."""
        account = await self._account(call)
        extension = _extension(call, account)
        found = _numbers((*extension.numbers, *account.company_numbers), call.query)
        return _list(
            call,
            f"{extension_uri('', account.account_id, extension.extension_id)}/phone-number",
            found,
            lambda one: render_own_number(one, extension, call.base_url),
        )

    async def list_account_numbers(self, call: Call) -> Reply:
        """RC: listAccountPhoneNumbers: every number of the company, its own first."""
        account, query = await self._account(call), call.query
        statuses = _chosen(query, "extensionStatus", _EXTENSION_STATUSES)
        payments = _chosen(query, "paymentType", _PAYMENT_TYPES)
        of_extensions = [
            number
            for extension in account.extensions.values()
            if extension.status.value in statuses
            for number in extension.numbers
        ]
        company = () if query.first("extensionStatus") else account.company_numbers
        found = [one for one in _numbers((*company, *of_extensions), query) if payment_type(one) in payments]
        return _list(
            call,
            f"{account_uri('', account.account_id)}/phone-number",
            found,
            lambda one: render_company_number(one, account, call.base_url),
        )

    async def _account(self, call: Call) -> Account:
        account = await self._find_account(call.caller.account_id)
        if account is None:
            raise NotFound("Resource for parameter [accountId] is not found", parameter="accountId")
        return account


def _extension(call: Call, account: Account) -> Extension:
    extension = None if call.extension_id is None else account.extensions.get(call.extension_id)
    if extension is None:
        raise NotFound("Resource for parameter [extensionId] is not found", parameter="extensionId")
    return extension


def _numbers(numbers: Sequence[PhoneNumber], query: Query) -> list[PhoneNumber]:
    """Those that the query's `usageType` and `status` let through; every number here has status Normal."""
    usages = _chosen(query, "usageType", _USAGE_TYPES)
    if "Normal" not in _chosen(query, "status", _NUMBER_STATUSES):
        return []
    return [one for one in numbers if one.usage_type in usages]


def _chosen(query: Query, name: str, known: Collection[str]) -> Collection[str]:
    """The values given for `name`, all of `known` where none is."""
    given = query.every(name)
    for value in given:
        if value not in known:
            raise InvalidParameter(f"Parameter [{name}] value is invalid", parameter=name, value=value)
    return given or known


def _list(call: Call, path: str, found: Sequence[T], render: Callable[[T], dict[str, Any]]) -> Reply:
    pairs = call.query.pairs
    page, per_page = parse_paging(pairs)
    start = (page - 1) * per_page
    paging, navigation = render_paging(call.base_url, path, pairs, page, per_page, len(found))
    return json_reply(
        {
            "uri": page_uri(call.base_url, path, pairs, page, per_page),
            "records": [render(one) for one in found[start : start + per_page]],
            "paging": paging,
            "navigation": navigation,
        }
    )


def _version(base_url: str) -> dict[str, str]:
    return {
        "uri": f"{base_url}/restapi/v1.0",
        "versionString": "1.0.59",
        "releaseDate": _RELEASED,
        "uriString": "v1.0",
    }


def _server(base_url: str) -> dict[str, Any]:
    return {"apiVersions": [_version(base_url)], "serverVersion": __version__, "serverRevision": "tocsin"}
