"""Hand queued messages to the carrier and follow them to their end: the worker of "submit" work rows.

Before the carrier is called the row is durably `submitting`; what is found in that stage later broke off in between. It
is then submitted again where that is harmless, else asked after, else given up as SendingFailed: nobody gets the same
text twice by our doing. Never touches the store but through its Outbox.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import msgspec

from tocsin.carriers.contract import Carrier
from tocsin.domain.clock import Clock
from tocsin.domain.message import MessageStatus
from tocsin.domain.retry import RetrySchedule, next_wait_ms
from tocsin.domain.submission import Accepted, CarrierReport, Rejected, Submission
from tocsin.domain.work import WorkRow
from tocsin.telemetry.logs import get_logger

log = get_logger(__name__)

MAX_SUBMITS = 6
"""How often a message is handed over that the carrier refuses for the time being; about half a minute in all."""
GIVE_UP_MS = 72 * 3_600_000
"""How long a carrier is asked for a receipt; carriers keep trying for three days at most."""
ASK_AGAIN_S = 60.0
OUTCOME_UNKNOWN = "SMS-RC-504"
"""deliveryErrorCode of a message that may or may not have gone out."""

QUEUED = "queued"
SUBMITTING = "submitting"
SENT = "sent"

_RETRY = RetrySchedule(jitter=0.0)
_NO_ROLL = 0.5


class Progress(msgspec.Struct):
    """A row's payload: how often it was handed over, when it was taken, and the carrier's name for it."""

    submits: int = 0
    submitted_ms: int = 0
    reference: str | None = None


class Outbox(Protocol):
    """The store as the dispatcher needs it. Every method checks that the row is still this holder's."""

    async def submission(self, row: WorkRow) -> Submission | None:
        """What the row is to hand over; None when there is nothing to do any more."""
        ...

    async def hold(self, row: WorkRow) -> None:
        """Make the row's stage and payload durable, and keep it."""
        ...

    async def postpone(self, row: WorkRow) -> None:
        """Give the row back until its `due_ms`."""
        ...

    async def finish(self, row: WorkRow) -> None:
        """End the row."""
        ...

    async def move(
        self, row: WorkRow, status: MessageStatus, code: str | None, sent: int, following: WorkRow | None
    ) -> None:
        """Move the message's status, and the row on to `following` or to its end, in one unit."""
        ...


class Dispatcher:
    """A log.work.WorkHandler over one carrier."""

    def __init__(self, outbox: Outbox, carrier: Carrier, clock: Clock) -> None:
        self._outbox = outbox
        self._carrier = carrier
        self._clock = clock

    async def run(self, row: WorkRow) -> None:
        """Do the next step of a message's journey. May raise: then the row comes again as it was last stored."""
        submission = await self._outbox.submission(row)
        if submission is None:
            await self._outbox.finish(row)
            return
        progress = msgspec.json.decode(row.payload or b"{}", type=Progress)
        if row.stage == SENT:
            await self._ask(row, submission, progress)
        elif row.stage == SUBMITTING and not self._carrier.idempotent:
            await self._settle(row, submission, progress)
        else:
            await self._submit(row, submission, progress)

    async def _submit(self, row: WorkRow, submission: Submission, progress: Progress) -> None:
        progress = Progress(progress.submits + 1)
        row = _stored(row, SUBMITTING, progress)
        await self._outbox.hold(row)
        answer = await self._carrier.submit(replace(submission, attempt=progress.submits))
        now_ms = self._clock.now_ms()
        log.info("message.submitted", message_id=row.target, carrier=self._carrier.name, answer=type(answer).__name__)
        match answer:
            case Accepted(reference, ask_after_s):
                progress = Progress(progress.submits, now_ms, reference)
                await self._sent(row, progress, ask_after_s)
            case Rejected(temporary=True) if progress.submits < MAX_SUBMITS:
                wait_ms = next_wait_ms(_RETRY, progress.submits, _NO_ROLL)
                await self._outbox.postpone(replace(_stored(row, QUEUED, progress), due_ms=now_ms + wait_ms))
            case Rejected(code=code):
                await self._outbox.move(row, MessageStatus.SENDING_FAILED, code, progress.submits, None)

    async def _settle(self, row: WorkRow, submission: Submission, progress: Progress) -> None:
        """Find out what became of a submission whose answer was lost."""
        report = await self._carrier.query(submission, None)
        if report is None:
            log.warning("message.outcome_unknown", message_id=row.target, carrier=self._carrier.name)
            await self._outbox.move(row, MessageStatus.SENDING_FAILED, OUTCOME_UNKNOWN, progress.submits, None)
        elif report.status is MessageStatus.SENT:
            await self._sent(row, Progress(progress.submits, self._clock.now_ms()), report.ask_after_s)
        else:
            await self._outbox.move(row, report.status, report.error_code, progress.submits, None)

    async def _ask(self, row: WorkRow, submission: Submission, progress: Progress) -> None:
        report = await self._carrier.query(submission, progress.reference)
        if report is not None and report.status is not MessageStatus.SENT:
            await self._outbox.move(row, report.status, report.error_code, progress.submits, None)
        elif self._clock.now_ms() - progress.submitted_ms > GIVE_UP_MS:
            await self._outbox.finish(row)
        else:
            await self._outbox.postpone(replace(row, due_ms=self._clock.now_ms() + _wait_ms(report)))

    async def _sent(self, row: WorkRow, progress: Progress, ask_after_s: float | None) -> None:
        following = None
        if ask_after_s is not None:
            due_ms = self._clock.now_ms() + round(ask_after_s * 1000)
            following = replace(_stored(row, SENT, progress), due_ms=due_ms)
        await self._outbox.move(row, MessageStatus.SENT, None, progress.submits, following)


def _stored(row: WorkRow, stage: str, progress: Progress) -> WorkRow:
    return replace(row, stage=stage, payload=msgspec.json.encode(progress))


def _wait_ms(report: CarrierReport | None) -> int:
    asked = report.ask_after_s if report is not None else None
    return round((ASK_AGAIN_S if asked is None else asked) * 1000)
