"""What a webhook was told of one mailbox, added up: tests ask for a state, however the events were cut."""

from __future__ import annotations

from typing import Any

from tests.receiver import Receiver
from tests.user import User


async def heard_of(receiver: Receiver, message_id: object) -> dict[str, Any]:
    """The change that announces a new message by its id; earlier events are passed over."""
    while True:
        for change in (await receiver.next()).json()["body"]["changes"]:
            if int(str(message_id)) in change.get("newMessageIds", []):
                found: dict[str, Any] = change
                return found


async def message_with(receiver: Receiver, user: User, message_id: object, status: str) -> dict[str, Any]:
    """The message once it has `status`, looked at again after each event."""
    while (message := await user.message(message_id))["messageStatus"] != status:
        await receiver.next()
    return message
