"""Exchanging a grant for tokens: a JWT assertion, a password, or a refresh token.

Takes the form's fields as text, answers with `Granted` or refuses with the OAuth endpoint's codes. Never reads HTTP.
Source: RC getToken; the password grant, which that no longer lists, as the SDKs send it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.directory.assertions import Assertions, assertion_hash
from tocsin.directory.cache import Directory
from tocsin.directory.passwords import Passwords
from tocsin.directory.sessions import Granted, Sessions, Wish
from tocsin.domain.address import normalise_number
from tocsin.domain.clock import Clock
from tocsin.domain.directory import SCOPE_SPELLINGS, Account, App, Extension, ExtensionStatus, Scope
from tocsin.domain.errors import GrantRefused
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.storage.directory import fetch_credential, fetch_password_hash
from tocsin.storage.readers import Readers

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TTL_S = 3600
MIN_ACCESS_TTL_S = 600
REFRESH_TTL_S = 604_800
MAX_REFRESH_TTL_S = 2_592_000

Form = Mapping[str, str]


class Grants:
    """The token endpoint's rules."""

    def __init__(
        self,
        *,
        directory: Directory,
        sessions: Sessions,
        assertions: Assertions,
        passwords: Passwords,
        readers: Readers,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._sessions = sessions
        self._assertions = assertions
        self._passwords = passwords
        self._readers = readers
        self._clock = clock

    async def exchange(self, form: Form, app: App) -> Granted:
        """Tokens for the grant in `form`, asked for by `app`. Raises GrantRefused."""
        kind, wish = _required(form, "grant_type"), _wish(form)
        if kind == "refresh_token":
            return await self._sessions.refresh(_required(form, "refresh_token"), app, wish)
        if kind == JWT_BEARER:
            extension = await self._by_assertion(_required(form, "assertion"), app)
        elif kind == "password":
            extension = await self._by_password(form)
        else:
            raise GrantRefused("OAU-112", "Unsupported grant type")
        return await self._sessions.start(extension, app, wish)

    async def _by_assertion(self, text: str, app: App) -> Extension:
        read = self._assertions.read(text)
        if read is None:
            raise GrantRefused("OAU-140", "Invalid assertion")
        credential = await self._readers.run(fetch_credential, read.account_id, assertion_hash(text))
        if credential is None:
            raise GrantRefused("OAU-140", "Invalid assertion: the credential does not exist")
        if read.expires_s is not None and read.expires_s * 1000 <= self._clock.now_ms():
            raise GrantRefused("OAU-140", "Invalid assertion: the credential is expired")
        extension_id, client_id = credential
        if client_id is not None and client_id != app.client_id:
            raise GrantRefused("OAU-125", "The credential is not for this application")
        return await self._active(read.account_id, extension_id)

    async def _by_password(self, form: Form) -> Extension:
        username, _, suffix = _required(form, "username").partition("*")
        password = _required(form, "password")
        found = await self._named(username, form.get("extension") or suffix)
        stored = None
        if found is not None:
            stored = await self._readers.run(fetch_password_hash, found.account_id, found.extension_id)
        if not await self._passwords.matches(password, stored) or found is None:
            raise GrantRefused("OAU-140", "Invalid resource owner credentials")
        return await self._active(found.account_id, found.extension_id)

    async def _named(self, username: str, extension_number: str) -> Extension | None:
        """Whose login name it is: an extension's own number, or a number of the company and an extension."""
        try:
            owner = await self._directory.owner_of(normalise_number(username))
        except ValueError:
            return None
        account = None if owner is None else await self._directory.account(owner.account_id)
        if owner is None or account is None:
            return None
        if extension_number:
            return account.by_number(extension_number)
        if owner.extension_id is not None:
            return account.extensions.get(owner.extension_id)
        return _operator(account)

    async def _active(self, account_id: AccountId, extension_id: ExtensionId) -> Extension:
        account = await self._directory.account(account_id)
        extension = None if account is None else account.extensions.get(extension_id)
        if account is None or extension is None:
            raise GrantRefused("OAU-232", "Extension not found")
        if not account.enabled:
            raise GrantRefused("OAU-142", "The account is not active")
        if extension.status is not ExtensionStatus.ENABLED:
            raise GrantRefused("OAU-236", "Extension is disabled or frozen")
        return extension


def _operator(account: Account) -> Extension | None:
    """Who the company number without an extension means: the first admin."""
    return next((one for one in account.extensions.values() if one.is_admin), None)


def _required(form: Form, name: str) -> str:
    value = form.get(name)
    if not value:
        raise GrantRefused("CMN-101", f"Parameter [{name}] value is invalid")
    return value


def _wish(form: Form) -> Wish:
    return Wish(
        access_ttl_s=_ttl(form, "access_token_ttl", ACCESS_TTL_S, MIN_ACCESS_TTL_S, ACCESS_TTL_S),
        refresh_ttl_s=_ttl(form, "refresh_token_ttl", REFRESH_TTL_S, 1, MAX_REFRESH_TTL_S),
        scopes=_scopes(form.get("scope", "")),
        endpoint_id=form.get("endpoint_id"),
    )


def _ttl(form: Form, name: str, default: int, least: int, most: int) -> int:
    """A time to live, clamped. What is no number is ignored: the JavaScript SDK can send "NaN"."""
    try:
        wanted = int(float(form.get(name, default)))
    except (ValueError, OverflowError):
        return default
    return max(least, min(wanted, most))


def _scopes(text: str) -> frozenset[Scope] | None:
    names = text.replace(",", " ").split()
    if not names:
        return None
    unknown = [name for name in names if name not in SCOPE_SPELLINGS]
    if unknown:
        raise GrantRefused("OAU-117", f"Unknown scope [{unknown[0]}]")
    return frozenset(SCOPE_SPELLINGS[name] for name in names)
