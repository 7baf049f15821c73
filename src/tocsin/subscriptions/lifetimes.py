"""How long a subscription lives: defaults and greatest lifetimes by transport.

Source: RC createSubscription, `expiresIn`; a wish beyond the greatest is cut to it (our choice: no source says).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tocsin.domain.errors import InvalidParameter
from tocsin.domain.subscription import TransportType


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds. Where `asked_for` is False the client's wish is ignored: its session decides."""

    default_s: int
    greatest_s: int
    asked_for: bool = True


LIFETIMES: Final[dict[TransportType, Lifetime]] = {
    TransportType.WEBHOOK: Lifetime(604_800, 315_360_000),
    TransportType.WEBSOCKET: Lifetime(86_400, 86_400, asked_for=False),
}


def lifetime_s(transport: TransportType, asked_s: int | None) -> int:
    """Return the lifetime for a wish of `asked_s` seconds; None is the default. Raises InvalidParameter below 1."""
    limits = LIFETIMES[transport]
    if asked_s is not None and asked_s < 1:
        raise InvalidParameter("Parameter [expiresIn] value is invalid", parameter="expiresIn", value=str(asked_s))
    if asked_s is None or not limits.asked_for:
        return limits.default_s
    return min(asked_s, limits.greatest_s)
