"""Validate again and repeat, when what was read has changed before it was written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tocsin.domain.errors import Stale

T = TypeVar("T")

MAX_STALE = 20
"""Times that a use case validates again; then the caller is told to try later. Each time somebody else got on."""


async def until_fresh(attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what `attempt` does, which reads, validates and writes; again while it raises Stale."""
    for _ in range(MAX_STALE):
        try:
            return await attempt()
        except Stale:
            continue
    return await attempt()
