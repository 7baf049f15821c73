"""The tables. Every primary key begins with account_id, so that accounts are the unit of placement.

Only types that both databases store alike: BigInteger, Text, LargeBinary. Times are milliseconds since the epoch, UTC;
flags are 0 or 1; closed sets are their wire spelling. Drivers get and give plain ints, str and bytes: statements run on
the driver's own cursor, past SQLAlchemy's type processing. No business rules here.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, Table, Text

metadata = MetaData()


def _int(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False)


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _bytes(name: str, *, key: bool = False, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, primary_key=key, nullable=null)


# --- the log -------------------------------------------------------------------------------------------------------

counter = Table(
    "counter",
    metadata,
    _int("account_id", key=True),
    _int("seq"),  # the last one given
    _int("touched_ms"),  # commit time of that unit, by the database's writer: what the sweep reads
    Index("counter_touched", "touched_ms"),
)

log_entry = Table(
    "log_entry",
    metadata,
    _int("account_id", key=True),
    _int("seq", key=True),
    _int("at_ms"),
    _int("kind"),  # domain.entry.EntryKind
    _int("extension_id"),  # the mailbox; 0 where there is none
    _int("message_id"),  # 0 where there is none
    _int("happened"),  # domain.entry.Happened, or DirectoryScope for a directory change; 0 else
    _text("type"),  # message type; "" else
    _text("direction"),  # "" where there is none
    _text("subject"),  # subscription id; a directory change's subject; "" else
    _text("event"),  # a notice's event text; "" else
    _bytes("body", null=True),  # announcement of a message change, frozen body of a notice
    Index("log_entry_mailbox", "account_id", "extension_id", "seq"),
)

watermark = Table(
    "watermark",
    metadata,
    _int("account_id", key=True),
    _int("seq"),  # up to here every webhook subscription of the account is done or has rows of its own
    _int("epoch"),
)

# --- messages --------------------------------------------------------------------------------------------------------

message = Table(
    "message",
    metadata,
    _int("account_id", key=True),
    _int("message_id", key=True),
    _int("extension_id"),
    _text("type"),
    _text("direction"),
    _text("availability"),
    _text("read_status"),
    _text("message_status"),
    _text("priority"),
    _int("created_ms"),
    _int("modified_ms"),
    _int("modified_seq"),
    _text("sender"),  # JSON of domain.message.Party
    _text("recipients"),  # JSON list of Party
    _text("numbers"),  # "|+16505550100|+14155550101|": both parties' numbers, for the phoneNumber filter
    _text("text", null=True),
    _int("attachment_count"),  # rows in attachment; a Text part has no row (its content is `text`)
    _int("conversation_id", null=True),
    _text("delivery_error_code", null=True),
    _int("sending_attempts", null=True),
    _int("delivered_ms", null=True),
    Index("message_mailbox_created", "account_id", "extension_id", "created_ms", "message_id"),
    Index("message_mailbox_modified", "account_id", "extension_id", "modified_seq"),
    Index("message_conversation", "account_id", "extension_id", "conversation_id", "created_ms"),
)

attachment = Table(
    "attachment",
    metadata,
    _int("account_id", key=True),
    _int("message_id", key=True),
    _int("attachment_id", key=True),
    _text("type"),
    _text("content_type"),
    _int("size"),
    _text("file_name", null=True),
    _text("blob_key"),
    Index("attachment_blob", "account_id", "blob_key"),  # whether anything still refers to a blob
)

blob = Table(
    "blob",
    metadata,
    _int("account_id", key=True),
    _text("blob_key", key=True),  # content hash and generation
    _int("size"),
    _int("created_ms"),
    _int("doomed"),  # 1: the collector is deleting the bytes; a unit may not refer to it any more
)

claim = Table(
    "claim",
    metadata,
    _int("account_id", key=True),
    _text("kind", key=True),  # what is claimed: "carrier", "number", "client", "extension-number" …
    _text("key", key=True),
    _int("value"),  # id of what claimed it: the earlier result that a second unit is answered with
)

work = Table(
    "work",
    metadata,
    _int("account_id", key=True),
    _int("work_id", key=True),
    _text("kind"),
    _text("target"),
    _text("stage"),
    _int("due_ms"),
    _int("attempts"),
    _text("owner"),  # process that holds it; "" when free
    _int("epoch"),
    _bytes("payload"),
    Index("work_due", "due_ms"),
)

# --- subscriptions ---------------------------------------------------------------------------------------------------

subscription = Table(
    "subscription",
    metadata,
    _int("account_id", key=True),
    _text("subscription_id", key=True),
    _int("owner"),
    _text("client_id"),
    _text("transport"),
    _text("status"),
    _int("created_ms"),
    _int("expires_ms"),
    _int("lifetime_s"),
    _int("modified_seq"),
    _text("address", null=True),
    _text("verification_token", null=True),
    _text("session_id", null=True),
    _int("paused"),
    _int("ended_seq", null=True),
    _int("blacklisted_ms", null=True),
    _text("blacklist_reason", null=True),
    Index("subscription_owner", "account_id", "owner", "client_id"),
    Index("subscription_session", "account_id", "session_id"),
    # Looking for the next expiry never walks over the ended ones: they are not NULL here.
    Index("subscription_expires", "ended_seq", "expires_ms"),
)

subscription_filter = Table(
    "subscription_filter",
    metadata,
    _int("account_id", key=True),
    _text("subscription_id", key=True),
    _int("filter_id", key=True),
    _text("text"),  # ids for "~", query verbatim: parse_event_filter reads it back
    _int("from_seq"),
    _int("until_seq", null=True),
)

subscription_position = Table(
    "subscription_position",
    metadata,
    _int("account_id", key=True),
    _text("subscription_id", key=True),
    _int("seq"),  # everything up to here is done, lanes with rows of their own excepted
    _int("epoch"),
    _int("failing_since_ms", null=True),
    _int("attempts"),
    _int("next_probe_ms", null=True),
    _text("last_error", null=True),
)

lane_position = Table(
    "lane_position",
    metadata,
    _int("account_id", key=True),
    _text("subscription_id", key=True),
    _int("filter_id", key=True),
    _int("extension_id", key=True),
    _int("seq"),  # done up to here
    _int("epoch"),
    _int("first_seq", null=True),  # bounds of the batch that failed: they never change once stored
    _int("last_seq", null=True),
    _int("attempts"),
    _int("failing_since_ms", null=True),
    _int("next_attempt_ms", null=True),
)

gap = Table(
    "gap",
    metadata,
    _int("account_id", key=True),
    _text("subscription_id", key=True),
    _int("gap_id", key=True),
    _int("first_seq"),
    _int("last_seq"),
    _text("reason"),
    _int("at_ms"),
)

attempt = Table(
    "attempt",
    metadata,
    _int("account_id", key=True),
    _int("attempt_id", key=True),
    _text("subscription_id"),
    _text("notification_uuid"),
    _text("event"),
    _int("extension_id"),
    _int("first_seq"),
    _int("last_seq"),
    _int("number"),
    _int("started_ms"),
    _int("duration_ms"),
    _text("outcome"),  # "delivered" or the FailureKind's name
    _int("http_status", null=True),
    _text("error", null=True),
    _int("next_attempt_ms", null=True),
    _text("response_head"),
    _text("response_body"),
    Index("attempt_subscription", "account_id", "subscription_id", "attempt_id"),
    Index("attempt_started", "account_id", "started_ms"),
)

websocket_session = Table(
    "websocket_session",
    metadata,
    _int("account_id", key=True),
    _text("session_id", key=True),  # WebSocket session, not the OAuth one
    _text("oauth_session_id"),
    _int("extension_id"),
    _text("client_id"),
    _text("gateway"),
    _int("epoch"),
    _int("created_ms"),
    _int("seq"),  # position at which its subscription was last known done; recovery starts at the wsc's
    _int("disconnected_ms", null=True),
)

# --- directory -------------------------------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    _int("account_id", key=True),
    _text("name"),
    _text("main_number"),
    _int("enabled"),
    _int("created_ms"),
    _text("brand"),
    _text("service_plan"),
    _text("time_zone"),
    _text("language"),
)

extension = Table(
    "extension",
    metadata,
    _int("account_id", key=True),
    _int("extension_id", key=True),
    _text("number"),
    _text("name"),
    _text("email", null=True),
    _text("role"),
    _text("status"),
    _text("permissions"),  # space-separated
    _text("password_hash", null=True),
)

phone_number = Table(
    "phone_number",
    metadata,
    _int("account_id", key=True),
    _int("phone_number_id", key=True),
    _text("number"),
    _int("extension_id", null=True),
    _text("usage_type"),
    _text("features"),  # space-separated
    _int("is_primary"),
    Index("phone_number_number", "number"),  # ownership is unique by a claim in account 0
)

app = Table(
    "app",
    metadata,
    _int("account_id", key=True),  # always 0
    _text("client_id", key=True),
    _text("name"),
    _text("secret_hash", null=True),
    _text("scopes"),  # space-separated
    _text("redirect_uris"),  # one a line
    _int("enabled"),
)

jwt_credential = Table(
    "jwt_credential",
    metadata,
    _int("account_id", key=True),
    _text("assertion_hash", key=True),
    _int("extension_id"),
    _text("client_id", null=True),  # None: any app
    _int("created_ms"),
)

oauth_session = Table(
    "oauth_session",
    metadata,
    _int("account_id", key=True),
    _text("session_id", key=True),
    _int("extension_id"),
    _text("client_id"),
    _text("scopes"),
    _text("endpoint_id"),
    _int("created_ms"),
    _int("ended"),
    Index("oauth_session_owner", "account_id", "extension_id", "client_id"),
)

token = Table(
    "token",
    metadata,
    _int("account_id", key=True),
    _text("token_hash", key=True),
    _text("kind"),  # "access" | "refresh" | "websocket"
    _text("session_id"),
    _int("expires_ms"),
    _int("ended"),
    _text("successor", null=True),  # hash of the pair that replaced a refresh token
    Index("token_session", "account_id", "session_id"),
    Index("token_expires", "expires_ms"),
)

# --- the store's own -------------------------------------------------------------------------------------------------

id_block = Table(
    "id_block",
    metadata,
    _int("account_id", key=True),  # always 0
    _text("kind", key=True),
    _int("next_id"),
)

store_value = Table(
    "store_value",
    metadata,
    _int("account_id", key=True),  # always 0
    _text("name", key=True),
    _bytes("value"),
)
