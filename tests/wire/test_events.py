import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.goldens import Golden
from tocsin.domain.ids import AccountId, ExtensionId, MessageId, SubscriptionId
from tocsin.domain.message import MessageType
from tocsin.domain.notification import ChangeSummary
from tocsin.wire.events import Envelope, render_message_store_body

COMMIT_MS, SENT_MS = 1_800_000_000_123, 1_800_000_000_456
EVENT = "/restapi/v1.0/account/400100001/extension/400200101/message-store"


def test_message_store_notification(golden: Golden) -> None:
    body = render_message_store_body(
        AccountId(400_100_001),
        ExtensionId(400_200_101),
        COMMIT_MS,
        [
            ChangeSummary(MessageType.SMS, (MessageId(31), MessageId(33)), 1),
            ChangeSummary(MessageType.VOICEMAIL, (), 2),
        ],
    )
    envelope = Envelope(EVENT, SubscriptionId("sub-1"), ExtensionId(400_200_101))
    golden("notification/message-store", envelope.around(body, "uuid-1", SENT_MS))


@given(st.text(), st.text(max_size=20))
def test_event_and_subscription_id_are_escaped(event: str, subscription_id: str) -> None:
    envelope = Envelope(event, SubscriptionId(subscription_id), ExtensionId(5))
    read = msgspec.json.decode(envelope.around(b'{"a":1}', "u", SENT_MS))
    assert list(read) == ["uuid", "event", "timestamp", "subscriptionId", "ownerId", "body"]
    assert (read["event"], read["subscriptionId"], read["ownerId"]) == (event, subscription_id, "5")
    assert read["body"] == {"a": 1}
