"""Tocsin's own control API: let an SMS or MMS come in, as if a carrier had brought it. Our choice throughout."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tocsin.api.call import Access, Call, Reply, Route, json_reply
from tocsin.messaging.media import MediaFile
from tocsin.messaging.receiving import InboundSms, Receiving

CARRIER = "control"
"""The carrier's name in claims: its message ids are the caller's own and mix with no real carrier's."""
MAX_BODY = 10_000_000

_Text = Annotated[str, msgspec.Meta(max_length=100_000)]
_Label = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class InboundMedia(msgspec.Struct, rename="camel"):
    """A file, its bytes in base64."""

    content_type: _Label
    data: bytes
    file_name: _Label | None = None


class InboundSmsRequest(msgspec.Struct, rename="camel"):
    """Body of `POST /tocsin/v1/inbound/sms`."""

    from_: str = msgspec.field(name="from")
    to: list[str]
    text: _Text = ""
    from_name: _Label | None = None
    from_location: _Label | None = None
    media: list[InboundMedia] = msgspec.field(default_factory=list)
    carrier_message_id: _Label | None = None


class Inbound:
    """Handler of inbound traffic."""

    def __init__(self, receiving: Receiving) -> None:
        self._receiving = receiving

    def routes(self) -> list[Route]:
        """Return its line of the route table."""
        return [
            Route(
                "POST",
                "/tocsin/v1/inbound/sms",
                "receiveSms",
                self.receive_sms,
                Access.ADMIN,
                max_body=MAX_BODY,
            )
        ]

    async def receive_sms(self, call: Call) -> Reply:
        """Store the message in each mailbox that it is for; 202 once that is durable."""
        request = call.decode(InboundSmsRequest)
        received = await self._receiving.receive_sms(
            InboundSms(
                request.from_,
                tuple(request.to),
                request.text,
                tuple(MediaFile(one.content_type, one.file_name, one.data) for one in request.media),
                request.from_name,
                request.from_location,
                CARRIER,
                request.carrier_message_id,
            )
        )
        messages = [
            {"accountId": str(one.account_id), "extensionId": str(one.extension_id), "id": str(one.message_id)}
            for one in received
        ]
        return json_reply({"messages": messages}, 202)
