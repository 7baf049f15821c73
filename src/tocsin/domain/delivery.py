"""The duty to get one notification to one receiver, as the notifier hands it to a transport."""

from __future__ import annotations

from dataclasses import dataclass

from tocsin.domain.ids import ExtensionId
from tocsin.domain.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way. `envelope` is the whole JSON document; `number` counts attempts from 1."""

    subscription: Subscription
    event: str
    extension_id: ExtensionId
    uuid: str
    envelope: bytes
    first_seq: int
    last_seq: int
    number: int
