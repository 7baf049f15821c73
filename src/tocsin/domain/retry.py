"""Decide when a failed delivery is tried again, and when a receiver has been failing for too long.

Pure: takes counts, times and a roll of the dice. Never sleeps, never stores.
Source: RC documents no schedule; staff speak of ten minutes to blacklisting and a probe every fifteen. Else our choice.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """Waits between attempts: doubling from `first_ms` to `longest_ms`, with `jitter` (a fraction, 0 to 1) either way.

    `blacklist_after_ms` of unbroken failure ends in Blacklisted, `set_aside_after_ms` makes one batch a gap,
    `probe_every_ms` is the wait between handshakes of a blacklisted receiver.
    """

    first_ms: int = 1_000
    longest_ms: int = 60_000
    jitter: float = 0.2
    blacklist_after_ms: int = 600_000
    set_aside_after_ms: int = 600_000
    probe_every_ms: int = 900_000


def next_wait_ms(schedule: RetrySchedule, failures: int, roll: float, retry_after_s: float | None = None) -> int:
    """Return the wait in milliseconds after `failures` (>= 1) failures in a row; `roll` is random in [0, 1).

    A receiver's Retry-After moves it later, never past the longest wait: a hostile header must not park a delivery.
    """
    doubled = min(schedule.longest_ms, schedule.first_ms * (1 << min(failures - 1, 30)))
    wait = doubled * (1 + schedule.jitter * (2 * roll - 1))
    if retry_after_s is not None:
        wait = max(wait, min(retry_after_s * 1000, schedule.longest_ms))
    return max(1, round(wait))
