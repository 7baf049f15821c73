"""Sending over HTTP: SMS, MMS and pager messages. Thin: rules are in messaging/, bodies are read in wire/sending.py.

Source: RC createSMSMessage, createMMS, createInternalTextMessage.
"""

from __future__ import annotations

from dataclasses import replace

from tocsin.api.call import Call, Handler, Reply, Route, json_reply
from tocsin.domain.directory import Permission, Scope
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.messaging.media import MediaFile
from tocsin.messaging.pager import Pager, PagerOrder, PagerParty
from tocsin.messaging.sending import OutboundSms, Sending
from tocsin.wire.messages import render_message
from tocsin.wire.sending import ExtensionParty, FilePart, PagerRequest, SmsRequest, parse_sending_body

EXTENSION = "/restapi/v1.0/account/{accountId}/extension/{extensionId}"
MAX_BODY = 10_000_000
"""RC: the largest request to send an SMS or MMS."""


class SentMessages:
    """Handlers of what sends. An admin can't send in another's name: RC answers CMN-419 even to a super admin."""

    def __init__(self, sending: Sending, pager: Pager) -> None:
        self._sending = sending
        self._pager = pager

    def routes(self) -> list[Route]:
        """Return the sending lines of the route table."""
        sms, pager = (Scope.SMS, Permission.OUTBOUND_SMS), (Scope.INTERNAL_MESSAGES, Permission.INTERNAL_SMS)
        return [
            _route("sms", "createSMSMessage", self.create_sms, sms),
            _route("mms", "createMMS", self.create_mms, sms),
            _route("company-pager", "createInternalTextMessage", self.create_pager, pager),
        ]

    async def create_sms(self, call: Call) -> Reply:
        """Send a text; with files or several recipients it is an MMS."""
        return await self._send(call, _sms(call))

    async def create_mms(self, call: Call) -> Reply:
        """Send files, with or without a text."""
        sms = _sms(call)
        if not sms.media:
            raise InvalidParameter("Parameter [attachments] value is invalid", parameter="attachments")
        return await self._send(call, sms)

    async def create_pager(self, call: Call) -> Reply:
        """Send a text to extensions of the own account."""
        request = call.decode(PagerRequest)
        order = PagerOrder(
            call.caller.account_id,
            call.caller.extension_id,
            request.text,
            None if request.from_ is None else _party(request.from_),
            tuple(map(_party, request.to)),
            request.reply_on,
        )
        return json_reply(render_message(await self._pager.send_pager(order), call.base_url))

    async def _send(self, call: Call, sms: OutboundSms) -> Reply:
        return json_reply(render_message(await self._sending.send_sms(sms), call.base_url))


def _route(name: str, operation: str, handler: Handler, rights: tuple[Scope, Permission]) -> Route:
    return Route(
        "POST",
        f"{EXTENSION}/{name}",
        operation,
        handler,
        scope=rights[0],
        permission=rights[1],
        group="medium",
        max_body=MAX_BODY,
        admin_may_act=False,
    )


def _sms(call: Call) -> OutboundSms:
    body = parse_sending_body(call.headers.get("content-type", ""), call.body)
    request = replace(call, body=body.document).decode(SmsRequest)
    if request.country is not None and request.country.id is not None and request.country.iso_code is not None:
        raise Refused("MSG-365", "Country is given both by id and by ISO code", parameter="country")
    return OutboundSms(
        call.caller.account_id,
        call.caller.extension_id,
        request.from_.phone_number,
        tuple(party.phone_number for party in request.to),
        request.text,
        tuple(map(_media, body.files)),
    )


def _media(part: FilePart) -> MediaFile:
    if not part.file_name:
        raise Refused("MSG-351", "Attachment has no file name", parameter="attachments")
    return MediaFile(part.content_type, part.file_name, part.data)


def _party(party: ExtensionParty) -> PagerParty:
    extension_id, number = party.extension_id, party.extension_number
    return PagerParty(None if extension_id is None else str(extension_id), None if number is None else str(number))
