from dataclasses import replace
from pathlib import Path

import pytest

from tests.correspondents import ANN, BOB, DAN, EVE, ONE, ZOE, Correspondents, open_correspondents
from tocsin.domain.errors import InvalidParameter, Refused
from tocsin.domain.ids import ExtensionId
from tocsin.domain.message import Direction, Message, MessageStatus, MessageType, ReadStatus
from tocsin.messaging.pager import MAX_PAGER_UNITS, PagerOrder, PagerParty

pytestmark = pytest.mark.anyio
TO_BOB = PagerOrder(ONE, ANN, "Lunch?", recipients=(PagerParty(extension_number="102"),))


async def stored(company: Correspondents) -> dict[tuple[ExtensionId, Direction], Message]:
    messages = [await company.message(one.message_id) for one in company.heard.messages()]
    return {(one.extension_id, one.direction): one for one in messages}


async def test_a_pager_is_sent_and_received_in_one_unit(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sent = await company.pager.send_pager(TO_BOB)
        found = await stored(company)
        assert found.keys() == {(ANN, Direction.OUTBOUND), (BOB, Direction.INBOUND)}
        assert found[ANN, Direction.OUTBOUND] == sent
        assert (sent.type, sent.message_status, sent.read_status) == (
            MessageType.PAGER,
            MessageStatus.SENT,
            ReadStatus.READ,
        )
        copy = found[BOB, Direction.INBOUND]
        assert (copy.message_status, copy.read_status) == (MessageStatus.RECEIVED, ReadStatus.UNREAD)
        assert copy.text == sent.text == "Lunch?"
        assert (copy.sender.extension_number, copy.recipients[0].extension_id) == ("101", BOB)
        assert [entry.seq for entry in company.heard.messages()] == [sent.modified_seq, copy.modified_seq]
        assert all(entry.announcement is None for entry in company.heard.messages())


async def test_who_writes_to_itself_has_both_copies(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        order = replace(TO_BOB, recipients=(PagerParty(str(BOB)), PagerParty(str(ANN)), PagerParty(str(BOB), "102")))
        await company.pager.send_pager(order)
        assert (await stored(company)).keys() == {
            (ANN, Direction.OUTBOUND),
            (BOB, Direction.INBOUND),
            (ANN, Direction.INBOUND),
        }


async def test_a_reply_goes_to_the_others_of_the_thread(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        await company.pager.send_pager(replace(TO_BOB, recipients=(PagerParty(str(BOB)), PagerParty(str(EVE)))))
        before = await stored(company)
        bob_s = before[BOB, Direction.INBOUND]
        reply = await company.pager.send_pager(PagerOrder(ONE, BOB, "Yes", reply_on=bob_s.message_id))
        assert {party.extension_id for party in reply.recipients} == {ANN, EVE}
        assert reply.conversation_id == bob_s.conversation_id


async def test_only_who_takes_part_may_reply(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sent = await company.pager.send_pager(TO_BOB)
        with pytest.raises(Refused) as refused:
            await company.pager.send_pager(PagerOrder(ONE, EVE, "Me too", reply_on=sent.message_id))
        assert refused.value.code == "MSG-326"


@pytest.mark.parametrize(
    "order, code",
    [
        (replace(TO_BOB, text=""), "CMN-101"),
        (replace(TO_BOB, text="x" * (MAX_PAGER_UNITS + 1)), "CMN-101"),
        (replace(TO_BOB, recipients=()), "CMN-101"),
        (replace(TO_BOB, recipients=(PagerParty(),)), "CMN-101"),
        (replace(TO_BOB, recipients=(PagerParty(extension_number="999"),)), "CMN-102"),
        (replace(TO_BOB, recipients=(PagerParty(str(ZOE)),)), "CMN-102"),
        (replace(TO_BOB, recipients=(PagerParty("x"),)), "CMN-102"),
        (replace(TO_BOB, recipients=(PagerParty(str(BOB), "104"),)), "MSG-335"),
        (replace(TO_BOB, recipients=(PagerParty(str(BOB)), PagerParty(str(DAN)))), "MSG-324"),
        (replace(TO_BOB, sender=PagerParty(str(BOB))), "MSG-332"),
        (replace(TO_BOB, sender=PagerParty(extension_number="102")), "MSG-331"),
        (replace(TO_BOB, reply_on=1), "MSG-326"),
    ],
)
async def test_what_is_refused_changes_nothing(tmp_path: Path, order: PagerOrder, code: str) -> None:
    async with open_correspondents(tmp_path) as company:
        with pytest.raises((InvalidParameter, Refused)) as refused:
            await company.pager.send_pager(order)
        assert getattr(refused.value, "code", "CMN-101") == code
        assert company.heard.all == {}


async def test_the_sender_may_name_itself(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sent = await company.pager.send_pager(replace(TO_BOB, sender=PagerParty(str(ANN), "101")))
        assert sent.sender.extension_id == ANN
