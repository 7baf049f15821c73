"""The message store over HTTP: list, read, mark, delete, and the content of attachments.

Thin: parameters are read in message_parameters.py, rules are in messaging/. Several messages
may be read at once; changing several at once is refused with CMN-202.
Source: RC listMessages, readMessage, updateMessage, deleteMessage, readMessageContent.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from tocsin.api.attachment_content import content_reply
from tocsin.api.call import Call, Handler, Reply, Route, json_reply
from tocsin.api.message_parameters import (
    known_message_id,
    parse_attachment_id,
    parse_deleted_types,
    parse_flag,
    parse_list_query,
    parse_message_id,
    parse_message_ids,
)
from tocsin.domain.directory import Permission, Scope
from tocsin.domain.ids import AccountId, ExtensionId
from tocsin.domain.message import Message, ReadStatus
from tocsin.messaging.changing import Changing
from tocsin.messaging.reading import Reading, unknown_message
from tocsin.wire.batch import BatchPart, render_batch
from tocsin.wire.errors import render_error
from tocsin.wire.messages import render_message, render_message_page, store_path

STORE = "/restapi/v1.0/account/{accountId}/extension/{extensionId}/message-store"


class UpdateMessageRequest(msgspec.Struct, rename="camel"):
    """Body of updateMessage."""

    read_status: ReadStatus


class Messages:
    """Handlers of a mailbox's message store."""

    def __init__(self, reading: Reading, changing: Changing) -> None:
        self._reading = reading
        self._changing = changing

    def routes(self) -> list[Route]:
        """Return the store's lines of the route table."""
        read, edit = (Scope.READ_MESSAGES, Permission.READ_MESSAGES), (Scope.EDIT_MESSAGES, Permission.EDIT_MESSAGES)
        one, content = f"{STORE}/{{messageId}}", f"{STORE}/{{messageId}}/content/{{attachmentId}}"
        return [
            _route("GET", STORE, "listMessages", self.list_messages, read, "light"),
            _route("GET", one, "readMessage", self.get_message, read, "light"),
            _route("PUT", one, "updateMessage", self.update_message, edit, "medium"),
            _route("DELETE", one, "deleteMessage", self.delete_message, edit, "medium"),
            _route("GET", content, "readMessageContent", self.get_content, read, "medium"),
        ]

    async def list_messages(self, call: Call) -> Reply:
        """One page of the mailbox, newest first."""
        account_id, extension_id = _mailbox(call)
        page = await self._reading.list_messages(account_id, extension_id, parse_list_query(call.query))
        return json_reply(render_message_page(page, account_id, extension_id, call.base_url))

    async def get_message(self, call: Call) -> Reply:
        """One message, or the several that the path names."""
        if "," in call.params["messageId"]:
            return await self._get_several(call)
        message = await self._reading.get_message(*_mailbox(call), parse_message_id(call.params))
        return json_reply(render_message(message, call.base_url))

    async def update_message(self, call: Call) -> Reply:
        """Mark one message read or unread."""
        wanted = call.decode(UpdateMessageRequest).read_status
        message = await self._changing.update_read_status(*_mailbox(call), parse_message_id(call.params), wanted)
        return json_reply(render_message(message, call.base_url))

    async def delete_message(self, call: Call) -> Reply:
        """Delete one message, or purge it. A body, which some SDKs send, says nothing here."""
        await self._changing.delete(
            *_mailbox(call),
            parse_message_id(call.params),
            purge=parse_flag(call.query, "purge"),
            types=parse_deleted_types(call.query),
        )
        return Reply(204)

    async def get_content(self, call: Call) -> Reply:
        """The bytes of one attachment."""
        message_id, attachment_id = parse_message_id(call.params), parse_attachment_id(call.params)
        opened = await self._reading.open_attachment(*_mailbox(call), message_id, attachment_id)
        return content_reply(call, opened)

    async def _get_several(self, call: Call) -> Reply:
        texts = parse_message_ids(call.params)
        ids = {text: message_id for text in texts if (message_id := known_message_id(text)) is not None}
        messages = await self._reading.get_messages(*_mailbox(call), list(ids.values()))
        found = dict(zip(ids, messages, strict=True))
        content_type, body = render_batch(
            [_part(call, text, found.get(text)) for text in texts], call.headers.get("accept", "")
        )
        return Reply(207, body, content_type)


def _part(call: Call, text: str, message: Message | None) -> BatchPart:
    """What a batch says of the message that was asked for as `text`."""
    href = f"{call.base_url}{store_path(*_mailbox(call))}/{quote(text)}"
    if message is None:
        refusal = render_error(unknown_message())
        return BatchPart(text, href, refusal.status, refusal.body)
    return BatchPart(text, href, 200, msgspec.json.encode(render_message(message, call.base_url)))


def _route(
    method: str, path: str, operation: str, handler: Handler, needed: tuple[Scope, Permission], group: str
) -> Route:
    scope, permission = needed
    return Route(method, path, operation, handler, scope=scope, permission=permission, group=group)


def _mailbox(call: Call) -> tuple[AccountId, ExtensionId]:
    if call.account_id is None or call.extension_id is None:
        raise RuntimeError(f"{call.path} was routed without a mailbox")
    return call.account_id, call.extension_id
