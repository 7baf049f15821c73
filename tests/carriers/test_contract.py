"""What every carrier must do; a new one is added to CARRIERS and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.correspondents import ANN_NUMBER, BOB_NUMBER, ONE, OUTSIDE, Correspondents, open_correspondents
from tocsin.carriers.contract import Carrier
from tocsin.carriers.loopback import FAILED_RECEIPT, LATE_RECEIPT, PERMANENT_FAILURE, Loopback
from tocsin.domain.message import MessageStatus
from tocsin.domain.submission import Accepted, Rejected, Submission

MakeCarrier = Callable[[Correspondents], Carrier]

CARRIERS: dict[str, MakeCarrier] = {
    "loopback": lambda people: Loopback(people.receiving, people.clock),
}
END = {MessageStatus.DELIVERED, MessageStatus.DELIVERY_FAILED, MessageStatus.SENDING_FAILED}
pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("make", CARRIERS.values(), ids=CARRIERS.keys())]


def submission(*recipients: str, submission_id: str = "42", attempt: int = 1) -> Submission:
    return Submission(submission_id, ONE, ANN_NUMBER, recipients, "Hi", (), attempt)


async def accepted(carrier: Carrier, one: Submission) -> Accepted:
    answer = await carrier.submit(one)
    assert isinstance(answer, Accepted)
    return answer


async def test_its_name_is_one_word(tmp_path: Path, make: MakeCarrier) -> None:
    async with open_correspondents(tmp_path) as people:
        assert make(people).name.isidentifier()


@pytest.mark.parametrize("recipient", [OUTSIDE, BOB_NUMBER, FAILED_RECEIPT, LATE_RECEIPT])
async def test_what_is_accepted_comes_to_an_end(tmp_path: Path, make: MakeCarrier, recipient: str) -> None:
    async with open_correspondents(tmp_path) as people:
        carrier, one = make(people), submission(recipient)
        answer = await accepted(carrier, one)
        wait_s, report = answer.ask_after_s, None
        for _ in range(10):
            assert wait_s is not None
            people.clock.advance(wait_s)
            report = await carrier.query(one, answer.reference)
            assert report is not None
            wait_s = report.ask_after_s
            if report.status in END:
                break
        assert report is not None
        assert report.status in END
        assert wait_s is None
        assert (report.error_code is None) == (report.status is MessageStatus.DELIVERED)


async def test_asked_early_it_says_when_to_ask_again(tmp_path: Path, make: MakeCarrier) -> None:
    async with open_correspondents(tmp_path) as people:
        carrier, one = make(people), submission(LATE_RECEIPT)
        answer = await accepted(carrier, one)
        report = await carrier.query(one, answer.reference)
        assert report is not None
        assert (report.status, report.ask_after_s) == (MessageStatus.SENT, answer.ask_after_s)


async def test_a_refusal_has_a_code(tmp_path: Path, make: MakeCarrier) -> None:
    async with open_correspondents(tmp_path) as people:
        answer = await make(people).submit(submission(PERMANENT_FAILURE))
        assert isinstance(answer, Rejected)
        assert not answer.temporary
        assert answer.code.startswith("SMS-")
        assert answer.reason


async def test_the_same_submission_twice_arrives_once(tmp_path: Path, make: MakeCarrier) -> None:
    async with open_correspondents(tmp_path) as people:
        carrier = make(people)
        assert carrier.idempotent
        for attempt in (1, 2):
            await accepted(carrier, submission(BOB_NUMBER, attempt=attempt))
        assert len(people.heard.messages()) == 1
        await accepted(carrier, submission(BOB_NUMBER, submission_id="43"))
        assert len(people.heard.messages()) == 2


async def test_what_it_can_not_know_it_does_not_tell(tmp_path: Path, make: MakeCarrier) -> None:
    async with open_correspondents(tmp_path) as people:
        assert await make(people).query(submission(OUTSIDE, submission_id="never seen"), None) is None
