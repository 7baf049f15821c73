import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.correspondents import (
    ANN,
    ANN_NUMBER,
    BOB,
    BOB_NUMBER,
    BOB_SECOND,
    DAN_NUMBER,
    MAIN,
    ONE,
    OUTSIDE,
    PNG,
    TWO,
    ZOE,
    ZOE_NUMBER,
    Correspondents,
    open_correspondents,
)
from tests.goldens import Golden
from tocsin.domain.entry import Happened
from tocsin.domain.errors import InvalidParameter, NotFound, Refused, Stale
from tocsin.domain.ids import AccountId
from tocsin.domain.message import AttachmentType, Direction, MessageStatus, ReadStatus
from tocsin.messaging.media import MediaFile
from tocsin.messaging.receiving import MAX_RECIPIENTS, InboundSms
from tocsin.storage.unit import AlreadyClaimed, Applied, Claim, Unit

pytestmark = pytest.mark.anyio
PICTURE = MediaFile("image/png", "cat.png", PNG)


def announced(company: Correspondents, account_id: AccountId = ONE) -> list[dict[str, Any]]:
    return [json.loads(one.announcement or b"null") for one in company.heard.messages(account_id)]


async def test_an_sms_is_stored_and_announced(tmp_path: Path, golden: Golden) -> None:
    async with open_correspondents(tmp_path) as company:
        received = await company.receive("16505550101")
        assert [(one.account_id, one.extension_id) for one in received] == [(ONE, ANN)]
        message = await company.message(received[0].message_id)
        assert (message.direction, message.read_status) == (Direction.INBOUND, ReadStatus.UNREAD)
        assert message.message_status is MessageStatus.RECEIVED
        assert message.created_ms == message.modified_ms == company.clock.now_ms()
        (entry,) = company.heard.messages()
        assert (entry.happened, entry.message_id, entry.seq) == (Happened.CREATED, message.message_id, 1)
        assert message.modified_seq == entry.seq
        golden("notification/instant-sms", announced(company)[0])


async def test_the_caller_s_own_name_and_place_are_told(tmp_path: Path, golden: Golden) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (BOB_NUMBER,), "Grüße 👋", sender_name="John Smith", sender_location="Moss Beach, CA")
        await company.receiving.receive_sms(sms)
        golden("notification/instant-sms-caller-name", announced(company)[0])


async def test_the_directory_s_name_comes_before_the_caller_s(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        await company.receiving.receive_sms(InboundSms(BOB_NUMBER, (ANN_NUMBER,), "Hi", sender_name="Somebody"))
        sender = announced(company)[0]["from"]
        assert (sender["name"], sender["extensionNumber"]) == ("Bob User", "102")


async def test_nobody_is_named_from_another_account(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        await company.receive(ANN_NUMBER, sender=ZOE_NUMBER)
        sender = announced(company)[0]["from"]
        assert sender["phoneNumber"] == ZOE_NUMBER
        assert {"name", "extensionNumber"}.isdisjoint(sender)


async def test_a_group_mms_lists_everyone_and_marks_each_mailbox_s_own_entry(tmp_path: Path, golden: Golden) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (ANN_NUMBER, BOB_NUMBER, "+14155550188"), "Look", (PICTURE,))
        received = await company.receiving.receive_sms(sms)
        assert [one.extension_id for one in received] == [ANN, BOB]
        first, second = announced(company)
        golden("notification/instant-mms-group", first)
        assert [party.get("target") for party in first["to"]] == [True, None, None]
        assert [party.get("target") for party in second["to"]] == [None, True, None]
        assert first["conversationId"] != second["conversationId"]
        for one in received:
            message = await company.message(one.message_id)
            text, picture = message.attachments
            assert (text.type, int(text.attachment_id)) == (AttachmentType.TEXT, one.message_id)
            assert (picture.content_type, picture.size, picture.file_name) == ("image/png", len(PNG), "cat.png")
            assert picture.blob_key is not None
            stored = company.store.blobs.open(ONE, picture.blob_key)
            assert b"".join([chunk async for chunk in stored]) == PNG


async def test_an_extension_with_two_numbers_gets_one_message_with_two_targets(tmp_path: Path, golden: Golden) -> None:
    async with open_correspondents(tmp_path) as company:
        received = await company.receive(BOB_NUMBER, OUTSIDE, BOB_SECOND, sender="+14155550199")
        assert [one.extension_id for one in received] == [BOB]
        golden("notification/instant-two-numbers", announced(company)[0])


async def test_a_picture_alone_has_no_text_part(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        (one,) = await company.receiving.receive_sms(InboundSms(OUTSIDE, (ANN_NUMBER,), "", (PICTURE,)))
        message = await company.message(one.message_id)
        assert [part.type for part in message.attachments] == [AttachmentType.MMS_ATTACHMENT]
        assert announced(company)[0]["subject"] == ""


async def test_the_same_carrier_message_is_the_same_message(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (ANN_NUMBER, BOB_NUMBER), "Hi", carrier="control", carrier_message_id="c-1")
        first = await company.receiving.receive_sms(sms)
        assert await company.receiving.receive_sms(sms) == first
        assert await company.receiving.receive_sms(replace(sms, carrier="other")) != first
        assert await company.receiving.receive_sms(replace(sms, carrier_message_id=None)) != first
        assert len(company.heard.messages()) == 6


async def test_a_retry_with_one_recipient_more_stores_only_that_one(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", carrier="control", carrier_message_id="c-1")
        (ann,) = await company.receiving.receive_sms(sms)
        again = await company.receiving.receive_sms(replace(sms, recipients=(BOB_NUMBER, ANN_NUMBER)))
        assert [one.extension_id for one in again] == [BOB, ANN]
        assert again[1] == ann
        assert len(company.heard.messages()) == 2


class BreaksAtSecond:
    """A writer whose second unit finds the store gone."""

    def __init__(self, company: Correspondents) -> None:
        self.writer = company.store.writer
        self.units = 0

    async def apply(self, unit: Unit) -> Applied:
        self.units += 1
        if self.units == 2:
            raise ConnectionError("the store went away")
        return await self.writer.apply(unit)


async def test_a_retry_completes_what_reached_one_account_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (ANN_NUMBER, ZOE_NUMBER), "Hi", carrier="control", carrier_message_id="c-1")
        with monkeypatch.context() as patch:
            patch.setattr(company.receiving, "_writer", BreaksAtSecond(company))
            with pytest.raises(ConnectionError):
                await company.receiving.receive_sms(sms)
        (ann,) = company.heard.messages(ONE)
        received = await company.receiving.receive_sms(sms)
        assert [(one.account_id, one.extension_id) for one in received] == [(ONE, ANN), (TWO, ZOE)]
        assert received[0].message_id == ann.message_id
        assert (len(company.heard.messages(ONE)), len(company.heard.messages(TWO))) == (1, 1)


class StaleOnce:
    """A writer that says once that a blob went away."""

    def __init__(self, company: Correspondents) -> None:
        self.writer = company.store.writer
        self.refused = 0

    async def apply(self, unit: Unit) -> Applied:
        if not self.refused:
            self.refused += 1
            assert unit.blobs
            raise Stale
        return await self.writer.apply(unit)


async def test_a_file_that_was_collected_meanwhile_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_correspondents(tmp_path) as company:
        writer = StaleOnce(company)
        monkeypatch.setattr(company.receiving, "_writer", writer)
        received = await company.receiving.receive_sms(InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", (PICTURE,)))
        assert (len(received), writer.refused, len(company.heard.messages())) == (1, 1, 1)


async def test_none_of_ours_is_not_found_and_nothing_is_stored(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        with pytest.raises(NotFound) as refused:
            await company.receive(OUTSIDE, "+14155550188")
        assert refused.value.parameter == "to"
        assert company.heard.messages() == []


async def test_who_is_disabled_gets_nothing(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        assert await company.receive(DAN_NUMBER) == []
        assert [one.extension_id for one in await company.receive(DAN_NUMBER, ANN_NUMBER)] == [ANN]
        assert len(company.heard.messages()) == 1


async def test_regression_the_company_s_number_is_the_operator_s(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        assert [one.extension_id for one in await company.receive(MAIN)] == [ANN]
        [to] = announced(company)[0]["to"]
        assert (to["phoneNumber"], to["target"], to["extensionNumber"]) == (MAIN, True, "101")
        assert [one.extension_id for one in await company.receive(MAIN, ANN_NUMBER)] == [ANN]


@pytest.mark.parametrize(
    "sms, parameter",
    [
        (InboundSms("abc", (ANN_NUMBER,), "Hi"), "from"),
        (InboundSms("", (ANN_NUMBER,), "Hi"), "from"),
        (InboundSms(OUTSIDE, (), "Hi"), "to"),
        (InboundSms(OUTSIDE, (ANN_NUMBER, "12"), "Hi"), "to"),
        (InboundSms(OUTSIDE, (ANN_NUMBER,) * (MAX_RECIPIENTS + 1), "Hi"), "to"),
        (InboundSms(OUTSIDE, (ANN_NUMBER,), ""), "text"),
        (InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", (MediaFile("image/png", "a.png", b"no picture"),)), "media"),
        (InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", (MediaFile("image/png", "a.png", b""),)), "media"),
        (InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", (PICTURE,) * 11), "media"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_stored(tmp_path: Path, sms: InboundSms, parameter: str) -> None:
    async with open_correspondents(tmp_path) as company:
        with pytest.raises((InvalidParameter, Refused)) as refused:
            await company.receiving.receive_sms(sms)
        assert refused.value.parameter == parameter
        assert company.heard.all == {}


async def test_claims_say_where_the_message_is(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sms = InboundSms(OUTSIDE, (ANN_NUMBER,), "Hi", carrier="control", carrier_message_id="c-1")
        (one,) = await company.receiving.receive_sms(sms)
        unit = Unit(ONE)
        unit.claims.append(Claim("carrier", f"control/c-1/{ANN}", 1))
        with pytest.raises(AlreadyClaimed) as taken:
            await company.store.writer.apply(unit)
        assert taken.value.earlier == {("carrier", f"control/c-1/{ANN}"): one.message_id}
