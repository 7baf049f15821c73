"""Journeys of sent messages through the real store, work loop and loopback; carriers that break, where that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.correspondents import (
    ANN,
    ANN_NUMBER,
    BOB,
    BOB_NUMBER,
    ONE,
    OUTSIDE,
    PNG,
    TWO,
    ZOE_NUMBER,
    Correspondents,
    open_correspondents,
)
from tocsin.carriers.dispatcher import ASK_AGAIN_S, GIVE_UP_MS, MAX_SUBMITS, OUTCOME_UNKNOWN
from tocsin.carriers.loopback import FAILED_RECEIPT, LATE_RECEIPT, PERMANENT_FAILURE, TEMPORARY_FAILURE
from tocsin.domain.entry import Happened
from tocsin.domain.message import Direction, Message, MessageStatus
from tocsin.domain.submission import Accepted, CarrierReport, Rejected, Submission
from tocsin.messaging.changing import Changing
from tocsin.messaging.media import MediaFile
from tocsin.messaging.sending import OutboundSms

pytestmark = pytest.mark.anyio
SMS = OutboundSms(ONE, ANN, ANN_NUMBER, (OUTSIDE,), "Hi there")


class Scripted:
    """A carrier that answers by a script, and notes what it was given. An exception in the script is raised."""

    name = "scripted"

    def __init__(
        self,
        answers: Sequence[Accepted | Rejected | Exception],
        reports: Sequence[CarrierReport | None] = (),
        idempotent: bool = False,
    ) -> None:
        self.idempotent = idempotent
        self.answers = list(answers)
        self.reports = list(reports)
        self.submitted: list[Submission] = []
        self.asked: list[str | None] = []

    async def submit(self, submission: Submission) -> Accepted | Rejected:
        self.submitted.append(submission)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def query(self, submission: Submission, reference: str | None) -> CarrierReport | None:
        self.asked.append(reference)
        return self.reports.pop(0)


async def send(company: Correspondents, *recipients: str) -> Message:
    return await company.sending.send_sms(replace(SMS, recipients=recipients))


async def statuses(company: Correspondents, message: Message) -> list[tuple[int, MessageStatus]]:
    """Let everything happen; return what the message was at each of its changes, with the milliseconds passed."""
    start, seen = company.clock.now_ms(), [(0, message.message_status)]
    while True:
        await company.work.run_due()
        now = await company.message(message.message_id)
        if now.message_status is not seen[-1][1]:
            seen.append((company.clock.now_ms() - start, now.message_status))
        due_ms = company.work.next_due_ms()
        if due_ms is None:
            return seen
        company.clock.jump_to(due_ms)


async def test_to_the_outside_it_is_sent_at_once_and_delivered_a_second_later(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        message = await send(company, OUTSIDE)
        assert await statuses(company, message) == [
            (0, MessageStatus.QUEUED),
            (0, MessageStatus.SENT),
            (1000, MessageStatus.DELIVERED),
        ]
        end = await company.message(message.message_id)
        assert (end.sending_attempts, end.delivered_ms, end.delivery_error_code) == (1, company.clock.now_ms(), None)
        entries = company.heard.messages()
        assert [one.happened for one in entries] == [Happened.CREATED, Happened.UPDATED, Happened.UPDATED]
        assert end.modified_seq == entries[-1].seq == 3


async def test_to_a_number_of_this_system_the_recipient_gets_its_own_message(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        sent = await company.sending.send_sms(
            replace(SMS, recipients=(BOB_NUMBER, ZOE_NUMBER), media=(MediaFile("image/png", "cat.png", PNG),))
        )
        await company.settle()
        (inbound,) = [one for one in company.heard.messages(ONE) if one.direction is Direction.INBOUND]
        copy = await company.message(inbound.message_id)
        assert (copy.extension_id, copy.sender.name, copy.text) == (BOB, "Ann Admin", "Hi there")
        assert inbound.announcement is not None
        (other,) = company.heard.messages(TWO)
        zoe_s = await company.message(other.message_id, TWO)
        assert [part.file_name for part in zoe_s.attachments] == [None, "cat.png"]
        assert (await company.message(sent.message_id)).message_status is MessageStatus.DELIVERED


@pytest.mark.parametrize(
    "number, journey, attempts, code",
    [
        (
            TEMPORARY_FAILURE,
            [(0, MessageStatus.QUEUED), (3000, MessageStatus.SENT), (4000, MessageStatus.DELIVERED)],
            3,
            None,
        ),
        (PERMANENT_FAILURE, [(0, MessageStatus.QUEUED), (0, MessageStatus.SENDING_FAILED)], 1, "SMS-UP-410"),
        (
            FAILED_RECEIPT,
            [(0, MessageStatus.QUEUED), (0, MessageStatus.SENT), (1000, MessageStatus.DELIVERY_FAILED)],
            1,
            "SMS-CAR-431",
        ),
        (
            LATE_RECEIPT,
            [(0, MessageStatus.QUEUED), (0, MessageStatus.SENT), (60_000, MessageStatus.DELIVERED)],
            1,
            None,
        ),
    ],
)
async def test_magic_numbers(
    tmp_path: Path, number: str, journey: list[tuple[int, MessageStatus]], attempts: int, code: str | None
) -> None:
    async with open_correspondents(tmp_path) as company:
        message = await send(company, number)
        assert await statuses(company, message) == journey
        end = await company.message(message.message_id)
        assert (end.sending_attempts, end.delivery_error_code) == (attempts, code)


async def test_a_carrier_that_stays_busy_is_given_up(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        carrier = Scripted([Rejected(True, "SMS-RC-503", "busy")] * MAX_SUBMITS)
        company.use(carrier)
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)][-1] is MessageStatus.SENDING_FAILED
        assert [one.attempt for one in carrier.submitted] == list(range(1, MAX_SUBMITS + 1))
        assert {one.submission_id for one in carrier.submitted} == {str(message.message_id)}
        assert (await company.message(message.message_id)).sending_attempts == MAX_SUBMITS


async def test_an_answer_that_was_lost_is_never_submitted_again_where_that_could_double(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        carrier = Scripted([ConnectionError("line broke")], [None])
        company.use(carrier)
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)] == [
            MessageStatus.QUEUED,
            MessageStatus.SENDING_FAILED,
        ]
        assert (len(carrier.submitted), carrier.asked) == (1, [None])
        assert (await company.message(message.message_id)).delivery_error_code == OUTCOME_UNKNOWN


async def test_an_answer_that_was_lost_is_asked_for(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        reports = [CarrierReport(MessageStatus.SENT, ask_after_s=5.0), CarrierReport(MessageStatus.DELIVERED)]
        carrier = Scripted([ConnectionError("line broke")], reports)
        company.use(carrier)
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)] == [
            MessageStatus.QUEUED,
            MessageStatus.SENT,
            MessageStatus.DELIVERED,
        ]
        assert len(carrier.submitted) == 1


async def test_an_answer_that_was_lost_may_tell_the_end_at_once(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        reports = [CarrierReport(MessageStatus.DELIVERY_FAILED, "SMS-CAR-431")]
        company.use(Scripted([ConnectionError("line broke")], reports))
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)][-1] is MessageStatus.DELIVERY_FAILED


async def test_an_idempotent_carrier_is_given_it_again(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        carrier = Scripted([ConnectionError("line broke"), Accepted("r", None)], idempotent=True)
        company.use(carrier)
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)][-1] is MessageStatus.SENT
        assert [one.submission_id for one in carrier.submitted] == [str(message.message_id)] * 2


async def test_the_row_says_submitting_before_the_carrier_is_called(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        stages: list[str] = []

        class Looks(Scripted):
            async def submit(self, submission: Submission) -> Accepted | Rejected:
                from sqlalchemy import select

                from tocsin.storage.schema import work

                rows = await company.store.readers.run(lambda conn: conn.select(select(work.c.stage)))
                stages.extend(row[0] for row in rows)
                return await super().submit(submission)

        company.use(Looks([Accepted("r", None)]))
        await send(company, OUTSIDE)
        await company.settle()
        assert stages == ["submitting"]


async def test_a_carrier_that_never_tells_is_asked_for_three_days(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        times = round(GIVE_UP_MS / 1000 / ASK_AGAIN_S / 60)
        reports = [CarrierReport(MessageStatus.SENT, ask_after_s=ASK_AGAIN_S * 60)] * (times + 2)
        carrier = Scripted([Accepted("r", ASK_AGAIN_S)], [None, *reports])
        company.use(carrier)
        message = await send(company, OUTSIDE)
        assert [status for _, status in await statuses(company, message)][-1] is MessageStatus.SENT
        assert set(carrier.asked) == {"r"}
        assert company.work.next_due_ms() is None


async def test_a_purged_message_is_not_sent(tmp_path: Path) -> None:
    async with open_correspondents(tmp_path) as company:
        carrier = Scripted([])
        company.use(carrier)
        message = await send(company, OUTSIDE)
        changing = Changing(company.store.readers, company.store.writer, company.clock)
        await changing.delete(ONE, ANN, message.message_id, purge=True)
        await company.settle()
        assert carrier.submitted == []
        assert company.work.next_due_ms() is None
