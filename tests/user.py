"""An extension of a running sandbox as its own application sees it: logged in, with the calls that journeys make.

async with logged_in(sandbox) as ada:
    await ada.subscribe(receiver.url, ada.store)
    sent = await ada.send_sms([uma.number], "Hello")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.sandbox import Sandbox

SUBSCRIPTIONS = "/restapi/v1.0/subscription"


@dataclass
class User:
    """One extension and an HTTP client with its access token; ids are texts of digits."""

    http: httpx2.AsyncClient
    account_id: str
    extension_id: str
    number: str

    @property
    def path(self) -> str:
        """The path of the extension, ids resolved."""
        return f"/restapi/v1.0/account/{self.account_id}/extension/{self.extension_id}"

    @property
    def store(self) -> str:
        """The path of its message store, which is also the filter for every change in it."""
        return f"{self.path}/message-store"

    @property
    def instant(self) -> str:
        """The filter for each SMS as it arrives."""
        return f"{self.store}/instant?type=SMS"

    async def subscribe(self, address: str, *filters: str, **more: Any) -> dict[str, Any]:
        """Have `address` told of `filters`; `more` are other members of the request."""
        delivery = {"transportType": "WebHook", "address": address}
        wish = {"eventFilters": list(filters), "deliveryMode": delivery, **more}
        made: dict[str, Any] = await self.ask("POST", SUBSCRIPTIONS, json=wish)
        return made

    async def send_sms(self, to: Sequence[str], text: str) -> dict[str, Any]:
        """Send from the extension's own number; return the message as it was answered."""
        body = {
            "from": {"phoneNumber": self.number},
            "to": [{"phoneNumber": number} for number in to],
            "text": text,
        }
        sent: dict[str, Any] = await self.ask("POST", f"{self.path}/sms", json=body)
        return sent

    async def message(self, message_id: object) -> dict[str, Any]:
        """One message of the own mailbox."""
        kept: dict[str, Any] = await self.ask("GET", f"{self.store}/{message_id}")
        return kept

    async def messages(self, **query: Any) -> list[dict[str, Any]]:
        """The newest messages of the own mailbox."""
        records: list[dict[str, Any]] = (await self.ask("GET", self.store, params=query))["records"]
        return records

    async def subscriptions(self) -> list[dict[str, Any]]:
        """The own subscriptions."""
        records: list[dict[str, Any]] = (await self.ask("GET", SUBSCRIPTIONS))["records"]
        return records

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        """What a request that must succeed answers; None where there is no body."""
        answer = await self.http.request(method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


@asynccontextmanager
async def logged_in(sandbox: Sandbox, **by: str) -> AsyncIterator[User]:
    """Extension 101, or whoever `by` says, as `Sandbox.login` takes it; its subscriptions are cancelled at the end."""
    user = await log_in(sandbox, **by)
    try:
        yield user
    finally:
        await user.http.aclose()
        if sandbox.process.returncode is None:
            await _leave(sandbox, **by)


async def log_in(sandbox: Sandbox, **by: str) -> User:
    """Extension 101, or whoever `by` says, as `Sandbox.login` takes it. Its `http` is the caller's to close."""
    http = await sandbox.login(**by)
    me = (await http.get("/restapi/v1.0/account/~/extension/~")).json()
    numbers = (await http.get("/restapi/v1.0/account/~/extension/~/phone-number")).json()["records"]
    [number, *_] = [one["phoneNumber"] for one in numbers if one["usageType"] == "DirectNumber"]
    return User(http, me["account"]["id"], str(me["id"]), number)


async def _leave(sandbox: Sandbox, **by: str) -> None:
    """Cancel what is subscribed, by a new login: the clock may have ended the first."""
    http = await sandbox.login(**by)
    for one in (await http.get(SUBSCRIPTIONS)).json()["records"]:
        # Over HTTP a WebSocket's subscription can't be changed, but it can be ended.
        assert (await http.delete(f"{SUBSCRIPTIONS}/{one['id']}")).status_code in (204, 404)
    await http.aclose()
