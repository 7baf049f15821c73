"""What is committed is counted, by type and direction."""

from __future__ import annotations

from tocsin.domain.entry import Happened, MessageChange, SubscriptionChange
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, Seq, SubscriptionId
from tocsin.domain.message import Direction, MessageType
from tocsin.server.counting import EntryCounter
from tocsin.telemetry.metrics import Metrics

ACCOUNT = AccountId(1)


def change(seq: int, happened: Happened, kind: MessageType) -> MessageChange:
    return MessageChange(ACCOUNT, Seq(seq), 0, ExtensionId(2), MessageId(3), happened, kind, Direction.INBOUND, None)


def test_entries_and_created_messages_are_counted() -> None:
    metrics = Metrics()
    EntryCounter(metrics).entries(
        ACCOUNT,
        [
            change(1, Happened.CREATED, MessageType.SMS),
            change(2, Happened.UPDATED, MessageType.SMS),
            SubscriptionChange(ACCOUNT, Seq(3), 0, SubscriptionId("s")),
            change(4, Happened.CREATED, MessageType.PAGER),
        ],
    )
    shown = metrics.render().decode()
    assert "tocsin_entries_total 4.0" in shown
    assert 'tocsin_messages_total{direction="Inbound",type="SMS"} 1.0' in shown
    assert 'tocsin_messages_total{direction="Inbound",type="Pager"} 1.0' in shown
