"""Accounts, extensions, numbers, apps and JWT credentials as rows, and the way back to values.

A number's owner and an app's id are claims of account 0: unique over all accounts. Nothing here is cached or judged.
"""

from __future__ import annotations

from sqlalchemy import ColumnClause, bindparam, literal_column, select

from tocsin.domain.directory import (
    SCOPE_SPELLINGS,
    Account,
    AccountProfile,
    App,
    Extension,
    ExtensionStatus,
    NumberFeature,
    Permission,
    PhoneNumber,
    Role,
)
from tocsin.domain.ids import SYSTEM_ACCOUNT, AccountId, ClientId, ExtensionId, PhoneNumberId
from tocsin.storage.readers import ReadConnection
from tocsin.storage.schema import account as account_table
from tocsin.storage.schema import app as app_table
from tocsin.storage.schema import claim as claim_table
from tocsin.storage.schema import extension as extension_table
from tocsin.storage.schema import jwt_credential as credential_table
from tocsin.storage.schema import phone_number as number_table
from tocsin.storage.statement import Row, Statement, insert_into

NUMBER_CLAIM = "number"
"""Kind of the claim, in account 0, of an E.164 number; its value is the owning account."""
CLIENT_CLAIM = "client"
"""Kind of the claim, in account 0, of a client id."""
EXTENSION_NUMBER_CLAIM = "extension-number"
"""Kind of the claim, in an account, of an extension number; its value is the extension's id."""

INSERT_ACCOUNT = insert_into(account_table, order=10)
INSERT_EXTENSION = insert_into(extension_table, order=20)
INSERT_NUMBER = insert_into(number_table, order=30)
INSERT_APP = insert_into(app_table, order=10)
INSERT_CREDENTIAL = insert_into(credential_table, order=30)

# Constants are written out: a bound one would be a parameter that no caller gives.
_SYSTEM: ColumnClause[int] = literal_column(str(SYSTEM_ACCOUNT))

_FETCH_ACCOUNT = Statement(
    "fetch_account", select(account_table).where(account_table.c.account_id == bindparam("k_account")), ("k_account",)
)
_FETCH_ACCOUNT_IDS = Statement(
    "fetch_account_ids", select(account_table.c.account_id).order_by(account_table.c.account_id), ()
)
_FETCH_EXTENSIONS = Statement(
    "fetch_extensions",
    select(extension_table)
    .where(extension_table.c.account_id == bindparam("k_account"))
    .order_by(extension_table.c.extension_id),
    ("k_account",),
)
_FETCH_NUMBERS = Statement(
    "fetch_phone_numbers",
    select(number_table)
    .where(number_table.c.account_id == bindparam("k_account"))
    .order_by(number_table.c.phone_number_id),
    ("k_account",),
)
_FETCH_OWNED = Statement(
    "fetch_owned_phone_number",
    select(number_table).where(
        number_table.c.account_id == claim_table.c.value,
        number_table.c.number == claim_table.c.key,
        claim_table.c.account_id == _SYSTEM,
        claim_table.c.kind == literal_column(f"'{NUMBER_CLAIM}'"),
        claim_table.c.key == bindparam("k_number"),
    ),
    ("k_number",),
)
_FETCH_APP = Statement(
    "fetch_app",
    select(app_table).where(app_table.c.account_id == _SYSTEM, app_table.c.client_id == bindparam("k_client")),
    ("k_client",),
)
_FETCH_APPS = Statement("fetch_apps", select(app_table).where(app_table.c.account_id == _SYSTEM), ())
_FETCH_PASSWORD = Statement(
    "fetch_password_hash",
    select(extension_table.c.password_hash).where(
        extension_table.c.account_id == bindparam("k_account"),
        extension_table.c.extension_id == bindparam("k_extension"),
    ),
    ("k_account", "k_extension"),
)
_FETCH_CREDENTIAL = Statement(
    "fetch_jwt_credential",
    select(credential_table.c.extension_id, credential_table.c.client_id).where(
        credential_table.c.account_id == bindparam("k_account"),
        credential_table.c.assertion_hash == bindparam("k_hash"),
    ),
    ("k_account", "k_hash"),
)
_FETCH_CLAIM = Statement(
    "fetch_system_claim",
    select(claim_table.c.value).where(
        claim_table.c.account_id == _SYSTEM,
        claim_table.c.kind == bindparam("k_kind"),
        claim_table.c.key == bindparam("k_key"),
    ),
    ("k_kind", "k_key"),
)


def account_row(account: Account) -> Row:
    """Return the row for INSERT_ACCOUNT."""
    profile = account.profile
    said = (profile.brand, profile.service_plan, profile.time_zone, profile.language)
    return (account.account_id, account.name, account.main_number, int(account.enabled), account.created_ms, *said)


def extension_row(extension: Extension, password_hash: str | None) -> Row:
    """Return the row for INSERT_EXTENSION; its numbers have rows of their own."""
    return (
        extension.account_id,
        extension.extension_id,
        extension.number,
        extension.name,
        extension.email,
        extension.role.value,
        extension.status.value,
        " ".join(sorted(extension.permissions)),
        password_hash,
    )


def number_row(number: PhoneNumber) -> Row:
    """Return the row for INSERT_NUMBER."""
    return (
        number.account_id,
        number.phone_number_id,
        number.number,
        number.extension_id,
        number.usage_type,
        " ".join(sorted(number.features)),
        int(number.primary),
    )


def app_row(app: App) -> Row:
    """Return the row for INSERT_APP."""
    return (
        SYSTEM_ACCOUNT,
        app.client_id,
        app.name,
        app.secret_hash,
        " ".join(sorted(app.scopes)),
        "\n".join(app.redirect_uris),
        int(app.enabled),
    )


def credential_row(
    account_id: AccountId,
    assertion_hash: str,
    extension_id: ExtensionId,
    client_id: ClientId | None,
    created_ms: int,
) -> Row:
    """Return the row for INSERT_CREDENTIAL; `client_id` None lets any app use it."""
    return (account_id, assertion_hash, extension_id, client_id, created_ms)


def fetch_account(conn: ReadConnection, account_id: AccountId) -> Account | None:
    """Return the account with all its extensions and numbers, or None."""
    row = conn.one(_FETCH_ACCOUNT, (account_id,))
    if row is None:
        return None
    numbers = [number_from_row(one) for one in conn.all(_FETCH_NUMBERS, (account_id,))]
    of: dict[ExtensionId | None, list[PhoneNumber]] = {}
    for number in numbers:
        of.setdefault(number.extension_id, []).append(number)
    extensions = [extension_from_row(one, of) for one in conn.all(_FETCH_EXTENSIONS, (account_id,))]
    return Account(
        account_id=account_id,
        name=row[1],
        main_number=row[2],
        enabled=bool(row[3]),
        created_ms=row[4],
        extensions={one.extension_id: one for one in extensions},
        company_numbers=tuple(of.get(None, ())),
        profile=AccountProfile(*row[5:9]),
    )


def fetch_account_ids(conn: ReadConnection) -> list[AccountId]:
    """Return the ids of all accounts, ascending."""
    return [AccountId(row[0]) for row in conn.all(_FETCH_ACCOUNT_IDS)]


def fetch_owned_number(conn: ReadConnection, number: str) -> PhoneNumber | None:
    """Return the number (E.164) with the account and extension it belongs to, or None when it is nobody's here."""
    row = conn.one(_FETCH_OWNED, (number,))
    return None if row is None else number_from_row(row)


def fetch_system_claim(conn: ReadConnection, kind: str, key: str) -> int | None:
    """Return the value of a claim of account 0, or None when nobody has made it."""
    row = conn.one(_FETCH_CLAIM, (kind, key))
    return None if row is None else int(row[0])


def fetch_app(conn: ReadConnection, client_id: ClientId) -> App | None:
    """Return the app, or None."""
    row = conn.one(_FETCH_APP, (client_id,))
    return None if row is None else app_from_row(row)


def fetch_apps(conn: ReadConnection) -> list[App]:
    """Return all apps, in no particular order."""
    return [app_from_row(row) for row in conn.all(_FETCH_APPS)]


def fetch_password_hash(conn: ReadConnection, account_id: AccountId, extension_id: ExtensionId) -> str | None:
    """Return the hash of the extension's password, or None when it has none."""
    row = conn.one(_FETCH_PASSWORD, (account_id, extension_id))
    return None if row is None else row[0]


def fetch_credential(
    conn: ReadConnection, account_id: AccountId, assertion_hash: str
) -> tuple[ExtensionId, ClientId | None] | None:
    """Return whose the registered assertion is, and the one app that may use it (None: any)."""
    row = conn.one(_FETCH_CREDENTIAL, (account_id, assertion_hash))
    return None if row is None else (ExtensionId(row[0]), None if row[1] is None else ClientId(row[1]))


def number_from_row(row: Row) -> PhoneNumber:
    """Return the number of a row of its table."""
    return PhoneNumber(
        account_id=AccountId(row[0]),
        phone_number_id=PhoneNumberId(row[1]),
        number=row[2],
        extension_id=None if row[3] is None else ExtensionId(row[3]),
        usage_type=row[4],
        features=frozenset(NumberFeature(one) for one in row[5].split()),
        primary=bool(row[6]),
    )


def extension_from_row(row: Row, numbers: dict[ExtensionId | None, list[PhoneNumber]]) -> Extension:
    """Return the extension of a row of its table, with those of `numbers` that are its own."""
    extension_id = ExtensionId(row[1])
    return Extension(
        account_id=AccountId(row[0]),
        extension_id=extension_id,
        number=row[2],
        name=row[3],
        email=row[4],
        role=Role(row[5]),
        status=ExtensionStatus(row[6]),
        permissions=frozenset(Permission(one) for one in row[7].split()),
        numbers=tuple(numbers.get(extension_id, ())),
    )


def app_from_row(row: Row) -> App:
    """Return the app of a row of its table."""
    return App(
        client_id=ClientId(row[1]),
        name=row[2],
        secret_hash=row[3],
        scopes=frozenset(SCOPE_SPELLINGS[one] for one in row[4].split()),
        redirect_uris=tuple(row[5].splitlines()),
        enabled=bool(row[6]),
    )
