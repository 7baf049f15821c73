"""What a handler is given and what it gives back, the same for HTTP and for REST over a WebSocket.

Handlers are methods of small classes that server/ makes with the use cases they call; each class has `routes()`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from tocsin.domain.directory import Identity, Permission, Scope
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.ids import AccountId, ExtensionId

T = TypeVar("T")


class Access(StrEnum):
    """Who may call a route."""

    PUBLIC = "public"
    """Anyone: discovery, token endpoint (it authenticates the app itself)."""
    TOKEN = "token"  # noqa: S105  # the kind of access, not a secret
    """A user with an access token."""
    ADMIN = "admin"
    """Tocsin's own control API, with the admin token."""


@dataclass(frozen=True, slots=True)
class Query:
    """Query parameters in order, repeats kept."""

    pairs: tuple[tuple[str, str], ...] = ()

    def first(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        return next((value for key, value in self.pairs if key == name), None)

    def every(self, name: str) -> list[str]:
        """All values of `name`; comma-separated ones are taken apart."""
        return [part for key, value in self.pairs if key == name for part in value.split(",") if part]


@dataclass(slots=True)
class Call:
    """One authenticated request.

    `account_id` and `extension_id` are the path's, with `~` resolved and checked to exist; `params` its other parts.
    `base_url` has no trailing slash and is what absolute uris begin with. `websocket_session` is the WebSocket session
    that carries the request, None over HTTP.
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: Query
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    identity: Identity | None = None
    account_id: AccountId | None = None
    extension_id: ExtensionId | None = None
    websocket_session: str | None = None

    @property
    def caller(self) -> Identity:
        """The identity; only for routes with Access.TOKEN."""
        if self.identity is None:
            raise RuntimeError(f"{self.path} is open to callers without a token")
        return self.identity

    def decode(self, shape: type[T]) -> T:
        """The JSON body as `shape`, a msgspec Struct; raises CMN-103 for what is no JSON, CMN-101 for a wrong field."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=shape)
        except msgspec.ValidationError as wrong:
            message, _, path = str(wrong).partition(" - at `$")
            parameter = path.rstrip("`").lstrip(".") or _named(message) or "body"
            raise InvalidParameter(f"Parameter [{parameter}] value is invalid", parameter=parameter) from wrong
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise Refused("CMN-103", "JSON can't be parsed") from wrong


def _named(message: str) -> str:
    """The field that is missing, which msgspec names in back quotes; other messages quote types there."""
    _, missing, field = message.partition("missing required field `")
    return field.rstrip("`") if missing else ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. `body` is whole, or `stream` yields it in pieces (then `length` is its size where known)."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json;charset=UTF-8"
    headers: Sequence[tuple[str, str]] = ()
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the route table.

    `path` has `{name}` parts; `{accountId}` and `{extensionId}` are resolved for the handler. `operation` is the
    operationId of RingCentral's API, or our own for /tocsin/v1. `admin_may_act`: an admin may name another extension of
    the account; anyone else gets CMN-419 with `permission`. `any_may_read`: every user of the account may name any of
    its extensions, as in the company's directory.
    """

    method: str
    path: str
    operation: str
    handler: Handler
    access: Access = Access.TOKEN
    scope: Scope | None = None
    permission: Permission | None = None
    group: str = "light"
    max_body: int = 1_000_000
    admin_may_act: bool = True
    any_may_read: bool = False


def json_reply(value: Any, status: int = 200) -> Reply:
    """A reply whose body is `value` as JSON."""
    return Reply(status, msgspec.json.encode(value))
