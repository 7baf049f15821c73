"""Entries for tests that care about their seq alone."""

from tocsin.domain.entry import Entry, SubscriptionChange
from tocsin.domain.ids import AccountId, Seq, SubscriptionId


def changes(*seqs: int) -> list[Entry]:
    return [SubscriptionChange(AccountId(1), Seq(seq), 0, SubscriptionId("any")) for seq in seqs]
