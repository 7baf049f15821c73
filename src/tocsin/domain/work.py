"""Work that waits for a time or for the outside world: a row written in the transaction that causes it."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.domain.ids import AccountId, WorkId


@dataclass(frozen=True, slots=True)
class WorkRow:
    """One piece of waiting work. `kind` picks its worker, `target` is the id it is about, `stage` where it stands.

    `epoch` is the version that a claim raises: a late answer of an earlier holder is void. `payload` is its worker's.
    """

    account_id: AccountId
    work_id: WorkId
    kind: str
    target: str
    stage: str
    due_ms: int
    attempts: int
    epoch: int
    payload: bytes
