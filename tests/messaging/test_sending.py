from dataclasses import replace
from pathlib import Path

import pytest

from tests.correspondents import (
    ANN,
    ANN_NUMBER,
    BOB_NUMBER,
    EVE,
    EVE_NUMBER,
    ONE,
    OUTSIDE,
    PNG,
    open_correspondents,
)
from tocsin.domain.entry import Happened
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.message import AttachmentType, Direction, MessageStatus, ReadStatus
from tocsin.messaging.media import MediaFile
from tocsin.messaging.sending import MAX_SMS_UNITS, OutboundSms

pytestmark = pytest.mark.anyio
PICTURE = MediaFile("image/png", "cat.png", PNG)
SMS = OutboundSms(ONE, ANN, ANN_NUMBER, (OUTSIDE,), "Hi there")


async def test_a_text_is_stored_queued_together_with_its_work(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        message = await company.sending.send_sms(SMS)
        assert await company.message(message.message_id) == message
        assert (message.direction, message.message_status) == (Direction.OUTBOUND, MessageStatus.QUEUED)
        assert (message.read_status, message.sending_attempts) == (ReadStatus.READ, 1)
        assert (message.sender.name, message.sender.extension_number) == ("Ann Admin", "101")
        (entry,) = company.heard.messages()
        assert (entry.happened, entry.direction, entry.announcement) == (Happened.CREATED, Direction.OUTBOUND, None)
        assert company.work.next_due_ms() == company.clock.now_ms()


async def test_numbers_are_taken_without_a_plus_and_each_once(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        message = await company.sending.send_sms(
            replace(SMS, sender="16505550101", recipients=("4157809227", "+14157809227"))
        )
        assert [party.phone_number for party in message.recipients] == [OUTSIDE]
        assert message.sender.phone_number == ANN_NUMBER


async def test_files_and_several_recipients_make_an_mms(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        message = await company.sending.send_sms(replace(SMS, recipients=(OUTSIDE, BOB_NUMBER), media=(PICTURE,)))
        assert [part.type for part in message.attachments] == [AttachmentType.TEXT, AttachmentType.MMS_ATTACHMENT]
        assert await company.message(message.message_id) == message
        assert [party.name for party in message.recipients] == [None, "Bob User"]


async def test_the_longest_text(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        text = "👋" * (MAX_SMS_UNITS // 2)
        assert (await company.sending.send_sms(replace(SMS, text=text))).text == text


@pytest.mark.parametrize(
    "sms, code, parameter",
    [
        (replace(SMS, recipients=()), "CMN-101", "to"),
        (replace(SMS, recipients=("nobody",)), "CMN-101", "to.phoneNumber"),
        (replace(SMS, recipients=("",)), "CMN-101", "to.phoneNumber"),
        (replace(SMS, recipients=("101",)), "MSG-247", "to.phoneNumber"),
        (replace(SMS, recipients=tuple(f"+141578092{n:02}" for n in range(11))), "MSG-381", "to"),
        (replace(SMS, recipients=("+442083661177",)), "MSG-240", "to.phoneNumber"),
        (replace(SMS, recipients=("+442083661177",), media=(PICTURE,)), "MSG-383", "to.phoneNumber"),
        (replace(SMS, sender=""), "CMN-101", "from"),
        (replace(SMS, sender="nobody"), "CMN-101", "from.phoneNumber"),
        (replace(SMS, sender="101"), "MSG-246", "from.phoneNumber"),
        (replace(SMS, sender=OUTSIDE), "MSG-245", "from.phoneNumber"),
        (replace(SMS, sender=BOB_NUMBER), "MSG-304", "from.phoneNumber"),
        (replace(SMS, text=""), "CMN-101", "text"),
        (replace(SMS, text="x" * (MAX_SMS_UNITS + 1)), "CMN-101", "text"),
        (replace(SMS, text="👋" * (MAX_SMS_UNITS // 2) + "x"), "CMN-101", "text"),
        (replace(SMS, media=(replace(PICTURE, data=b""),)), "MSG-347", "attachments"),
        (replace(SMS, media=(replace(PICTURE, content_type="image/x-icon"),)), "MSG-348", "attachments"),
        (replace(SMS, media=(replace(PICTURE, data=PNG + bytes(1_500_000)),)), "MSG-337", "attachments"),
        (replace(SMS, media=(replace(PICTURE, data=PNG + bytes(800_000)),) * 2), "MSG-338", "attachments"),
        (replace(SMS, extension_id=EVE, sender=EVE_NUMBER, media=(PICTURE,)), "MSG-380", "from.phoneNumber"),
        (
            replace(SMS, extension_id=EVE, sender=EVE_NUMBER, recipients=(OUTSIDE, ANN_NUMBER)),
            "MSG-380",
            "from.phoneNumber",
        ),
    ],
)
async def test_what_is_refused_changes_nothing(tmp_path: Path, sms: OutboundSms, code: str, parameter: str) -> None:
    async with open_correspondents(tmp_path) as company:
        with pytest.raises((InvalidParameter, Refused)) as refused:
            await company.sending.send_sms(sms)
        assert getattr(refused.value, "code", "CMN-101") == code
        assert refused.value.parameter == parameter
        assert company.heard.all == {}
        assert company.work.next_due_ms() is None
