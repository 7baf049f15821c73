"""Secrets that the store makes once and keeps: keys of hashes and signatures. Never logged, never shown."""

from __future__ import annotations

import secrets

from sqlalchemy import bindparam, select

from tocsin.domain.errors import Stale
from tocsin.domain.ids import SYSTEM_ACCOUNT
from tocsin.storage.readers import ReadConnection, Readers
from tocsin.storage.schema import store_value
from tocsin.storage.statement import Statement, insert_into
from tocsin.storage.unit import ABSENT, Applies, Expect, Unit

INSERT_VALUE = insert_into(store_value)
FETCH_VALUE = Statement(
    "fetch_value",
    select(store_value.c.value).where(
        store_value.c.account_id == bindparam("of_account"), store_value.c.name == bindparam("of_name")
    ),
    ("of_account", "of_name"),
)


async def fetch_or_make_secret(writer: Applies, readers: Readers, name: str, size: int) -> bytes:
    """Return the secret `name`, made of `size` random bytes when it is first asked for."""
    while (value := await readers.run(_fetch_value, name)) is None:
        unit = Unit(SYSTEM_ACCOUNT, expects=[Expect("store_value", (name,), ABSENT)])
        unit.add(INSERT_VALUE, (SYSTEM_ACCOUNT, name, secrets.token_bytes(size)))
        try:
            await writer.apply(unit)
        except Stale:
            continue  # another made it at the same time
    return value


def _fetch_value(conn: ReadConnection, name: str) -> bytes | None:
    row = conn.one(FETCH_VALUE, (SYSTEM_ACCOUNT, name))
    return None if row is None else bytes(row[0])
