"""The company that a sandbox starts with: the default one, or what a TOML file says.

Pure. A mistake in the file is told with the path of the key ("account[0].extension[1].role"); a key that is not known
is a mistake. Which ids things get, and that they are stored, is seeding.py's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tocsin.domain.address import normalise_number
from tocsin.domain.directory import (
    DEFAULT_PROFILE,
    SCOPE_SPELLINGS,
    AccountProfile,
    ExtensionStatus,
    NumberFeature,
    Permission,
    Role,
    Scope,
)

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

SENDER_FEATURES = frozenset({NumberFeature.CALLER_ID, NumberFeature.SMS_SENDER, NumberFeature.MMS_SENDER})
USER_PERMISSIONS = frozenset(set(Permission) - {Permission.ACCOUNT_ADMINISTRATION})
_MAX_EXTENSION_DIGITS = 8


class SeedError(Exception):
    """The seed file is wrong; the message begins with the path of the key."""


@dataclass(frozen=True, slots=True)
class PlannedNumber:
    """A number of an extension, E.164."""

    number: str
    features: frozenset[NumberFeature]


@dataclass(frozen=True, slots=True)
class PlannedExtension:
    """An extension to make. Its first number is its primary one."""

    number: str
    name: str
    role: Role
    permissions: frozenset[Permission]
    numbers: tuple[PlannedNumber, ...]
    password: str | None = None
    email: str | None = None
    status: ExtensionStatus = ExtensionStatus.ENABLED


@dataclass(frozen=True, slots=True)
class PlannedAccount:
    """A company to make; its main number belongs to no mailbox."""

    name: str
    main_number: str
    extensions: tuple[PlannedExtension, ...]
    profile: AccountProfile = DEFAULT_PROFILE


@dataclass(frozen=True, slots=True)
class PlannedApp:
    """An app to make; a public one gets no secret."""

    name: str
    scopes: frozenset[Scope]
    redirect_uris: tuple[str, ...] = ()
    public: bool = False


@dataclass(frozen=True, slots=True)
class SeedPlan:
    """All that a store begins with."""

    apps: tuple[PlannedApp, ...]
    accounts: tuple[PlannedAccount, ...]


def default_plan() -> SeedPlan:
    """One company, an admin at 101 and a user at 102, each with a US number, and an app that may do everything.

    Our choice: numbers of the range that is kept for fiction.
    """
    return SeedPlan(
        (PlannedApp("Sandbox app", frozenset(Scope)),),
        (
            PlannedAccount(
                "Tocsin Sandbox",
                "+16505550100",
                (
                    _default_extension("101", "Ada Admin", Role.ADMIN, "+16505550101"),
                    _default_extension("102", "Uma User", Role.USER, "+16505550102"),
                ),
            ),
        ),
    )


def _default_extension(number: str, name: str, role: Role, phone: str) -> PlannedExtension:
    email = f"{name.split()[0].lower()}@example.com"
    permissions = frozenset(Permission) if role is Role.ADMIN else USER_PERMISSIONS
    return PlannedExtension(number, name, role, permissions, (PlannedNumber(phone, SENDER_FEATURES),), email=email)


def parse_seed(text: str) -> SeedPlan:
    """Read a seed file. Raises SeedError."""
    try:
        top = _Table("", tomllib.loads(text))
    except tomllib.TOMLDecodeError as wrong:
        raise SeedError(f"not TOML: {wrong}") from wrong
    top.known("app", "account")
    taken = _Taken()
    apps = tuple(_app(table) for table in top.tables("app"))
    accounts = tuple(_account(table, place, taken) for place, table in enumerate(top.tables("account"), 1))
    if not accounts:
        raise SeedError("account: at least one [[account]] is needed")
    return SeedPlan(apps or default_plan().apps, accounts)


class _Table:
    """A TOML table and the path at which it stands."""

    def __init__(self, path: str, values: Mapping[str, object]) -> None:
        self._path = path
        self._values = values

    def at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def known(self, *keys: str) -> None:
        for key in self._values:
            if key not in keys:
                raise SeedError(f"{self.at(key)}: unknown key; known here: {', '.join(keys)}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self._values.get(key, default)
        if value is None:
            raise SeedError(f"{self.at(key)}: is missing")
        if not isinstance(value, str) or not value.strip():
            raise SeedError(f"{self.at(key)}: must be a text that is not empty")
        return value

    def optional(self, key: str) -> str | None:
        return self.text(key) if key in self._values else None

    def flag(self, key: str) -> bool:
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            raise SeedError(f"{self.at(key)}: must be true or false")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        values = self._values.get(key, list(default))
        if not isinstance(values, list) or not all(isinstance(one, str) and one for one in values):
            raise SeedError(f"{self.at(key)}: must be a list of texts")
        return tuple(values)

    def tables(self, key: str) -> list[_Table]:
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
            raise SeedError(f"{self.at(key)}: must be a list of tables, [[{self.at(key)}]]")
        return [_Table(f"{self.at(key)}[{place}]", one) for place, one in enumerate(values)]

    def member(self, key: str, of: type[E], default: E) -> E:
        return _parsed(self.at(key), self.text(key, default.value), of, _names(of))

    def members(self, key: str, of: Callable[[str], T], names: str, default: frozenset[T]) -> frozenset[T]:
        if key not in self._values:
            return default
        return frozenset(_parsed(self.at(key), one, of, names) for one in self.texts(key))

    def phone(self, key: str) -> str:
        text = self.text(key)
        try:
            return normalise_number(text)
        except ValueError as wrong:
            raise SeedError(f"{self.at(key)}: {text!r} is no phone number: {wrong}") from wrong


class _Taken:
    """Phone numbers seen so far, to name the second use of one."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def take(self, number: str, path: str) -> None:
        earlier = self._paths.setdefault(number, path)
        if earlier != path:
            raise SeedError(f"{path}: {number} is already used at {earlier}")


def _parsed(path: str, text: str, of: Callable[[str], T], names: str) -> T:
    try:
        return of(text)
    except (ValueError, KeyError) as wrong:
        raise SeedError(f"{path}: {text!r} is not one of {names}") from wrong


def _names(of: type[StrEnum]) -> str:
    return ", ".join(one.value for one in of)


def _app(table: _Table) -> PlannedApp:
    table.known("name", "scopes", "redirect_uris", "public")
    return PlannedApp(
        table.text("name"),
        table.members("scopes", SCOPE_SPELLINGS.__getitem__, _names(Scope), frozenset(Scope)),
        table.texts("redirect_uris"),
        table.flag("public"),
    )


def _account(table: _Table, place: int, taken: _Taken) -> PlannedAccount:
    table.known("name", "main_number", "brand", "service_plan", "time_zone", "language", "extension")
    main_number = table.phone("main_number")
    taken.take(main_number, table.at("main_number"))
    numbers: dict[str, str] = {}
    extensions = []
    for one in table.tables("extension"):
        extension = _extension(one, taken)
        earlier = numbers.setdefault(extension.number, one.at("number"))
        if earlier != one.at("number"):
            raise SeedError(f"{one.at('number')}: {extension.number} is already used at {earlier}")
        extensions.append(extension)
    if not extensions:
        raise SeedError(f"{table.at('extension')}: at least one [[account.extension]] is needed")
    known = DEFAULT_PROFILE
    profile = AccountProfile(
        table.text("brand", known.brand),
        table.text("service_plan", known.service_plan),
        table.text("time_zone", known.time_zone),
        table.text("language", known.language),
    )
    return PlannedAccount(table.text("name", f"Company {place}"), main_number, tuple(extensions), profile)


def _extension(table: _Table, taken: _Taken) -> PlannedExtension:
    table.known("number", "name", "role", "permissions", "password", "email", "status", "phone_numbers")
    number = table.text("number")
    if not (number.isascii() and number.isdecimal()) or len(number) > _MAX_EXTENSION_DIGITS:
        raise SeedError(f"{table.at('number')}: {number!r} is not 1 to {_MAX_EXTENSION_DIGITS} digits")
    role = table.member("role", Role, Role.USER)
    everything = frozenset(Permission) if role is Role.ADMIN else USER_PERMISSIONS
    return PlannedExtension(
        number,
        table.text("name", f"Extension {number}"),
        role,
        table.members("permissions", Permission, _names(Permission), everything),
        tuple(_number(one, taken) for one in table.tables("phone_numbers")),
        table.optional("password"),
        table.optional("email"),
        table.member("status", ExtensionStatus, ExtensionStatus.ENABLED),
    )


def _number(table: _Table, taken: _Taken) -> PlannedNumber:
    table.known("number", "features")
    number = table.phone("number")
    taken.take(number, table.at("number"))
    return PlannedNumber(number, table.members("features", NumberFeature, _names(NumberFeature), SENDER_FEATURES))
