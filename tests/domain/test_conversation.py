from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tocsin.domain.conversation import conversation_id
from tocsin.domain.ids import AccountId, ExtensionId

NUMBERS = st.lists(st.from_regex(r"\+[0-9]{5,12}", fullmatch=True), min_size=1, max_size=6)
ACCOUNT, MAILBOX = AccountId(1001), ExtensionId(2001)


def test_a_known_conversation_keeps_its_id_for_ever() -> None:
    # Stored messages carry it: a change of the hash would tear every thread in two.
    assert conversation_id(ACCOUNT, MAILBOX, ["+16505550100", "+14155550101"]) == 2_684_341_528_476_969_887


@given(NUMBERS, st.randoms())
def test_neither_order_nor_repeats_matter(numbers: list[str], chance: random.Random) -> None:
    shuffled = numbers + numbers[:2]
    chance.shuffle(shuffled)
    assert conversation_id(ACCOUNT, MAILBOX, shuffled) == conversation_id(ACCOUNT, MAILBOX, numbers)


@given(NUMBERS, NUMBERS)
def test_other_participants_are_another_conversation(one: list[str], other: list[str]) -> None:
    same = set(one) == set(other)
    assert (conversation_id(ACCOUNT, MAILBOX, one) == conversation_id(ACCOUNT, MAILBOX, other)) is same


@given(NUMBERS)
def test_every_mailbox_has_its_own(numbers: list[str]) -> None:
    ids = {
        conversation_id(AccountId(account), ExtensionId(extension), numbers)
        for account, extension in [(1, 23), (12, 3), (1, 2), (2, 1)]
    }
    assert len(ids) == 4


@given(NUMBERS)
def test_ids_fit_a_signed_64_bit_integer(numbers: list[str]) -> None:
    assert 0 <= conversation_id(ACCOUNT, MAILBOX, numbers) < 2**63
