"""What every carrier answers to. tests/carriers/test_contract.py holds each one to it.

A carrier keeps nothing of ours: what it must remember between calls is in the reference that it gives.
"""

from __future__ import annotations

from typing import Protocol

from tocsin.domain.submission import Accepted, CarrierReport, Rejected, Submission


class Carrier(Protocol):
    """An outside network. May raise when it can't be reached: the outcome is then unknown, not a refusal."""

    @property
    def name(self) -> str:
        """One word; with a carrier's message id it names a message for good."""
        ...

    @property
    def idempotent(self) -> bool:
        """Whether handing over the same submission id again sends nothing twice."""
        ...

    async def submit(self, submission: Submission) -> Accepted | Rejected:
        """Hand over a message."""
        ...

    async def query(self, submission: Submission, reference: str | None) -> CarrierReport | None:
        """Say what became of a submission; None when the carrier can't tell.

        `reference` is what `submit` gave; None after a crash before it was kept: the submission id alone must do.
        """
        ...
