"""Keep phone numbers, message texts and secrets out of log lines.

Pure: takes values that are about to be logged and returns what may be. It errs towards hiding: an object that it does
not know is named by its type, since its repr may hold a text. Never decides what is logged, nor where.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Literal
from uuid import UUID

HIDDEN = "[hidden]"

# Compared with a key in lower case without - and _, so one spelling serves access_token, accessToken, Access-Token.
_SECRET_PARTS = ("token", "secret", "password", "passwd", "authorization", "assertion", "cookie", "credential", "jwt")
_SECRET_KEYS = frozenset({"apikey", "privatekey", "signature", "pin", "wsc", "codeverifier"})
_TEXT_KEYS = frozenset(
    {"text", "subject", "body", "content", "payload", "data", "transcription", "fromname", "toname", "location"}
    | {"fromlocation", "announcement", "frame", "params", "parameters", "form", "query"}
)
_NUMBER_KEYS = frozenset(
    {"from", "to", "number", "phonenumber", "phonenumbers", "sender", "recipient", "recipients", "caller", "callee"}
    | {"mainnumber", "fromnumber", "tonumber", "fromphonenumber", "tophonenumber", "username"}
)

# ITU-T E.164: +1 and +7 are one digit, these are two, every other country code is three.
_TWO_DIGIT_CODES = frozenset(
    str(code)
    for codes in ((20, 27, 36, 39, 86, 98), range(30, 35), (40, 41), range(43, 50), range(51, 59), range(60, 67))
    for code in codes
) | {"81", "82", "84", *(str(code) for code in range(90, 96))}
_PLUS_NUMBER = re.compile(r"(?:\+|%2[bB])[1-9](?:[ .()-]{0,2}\d){6,14}")
_BARE_NUMBER = re.compile(r"\d(?:[ .()-]{0,2}\d){6,14}")
_SECRET_IN_TEXT = (
    re.compile(r"(?i)(?P<kept>\b(?:bearer|basic)\s+)[\w.~+/=-]{4,}"),
    re.compile(r"""(?i)(?P<kept>(?:token|secret|password|assertion|wsc|[?&]code)["']?\s*[=:]\s*["']?)[^&\s"',}]+"""),
    re.compile(r"(?P<kept>)\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"),
)
# Whatever the patterns here find has one of these; most texts have none and are done after one look.
_WORTH_A_LOOK = re.compile(r"(?i)[+=:]|%2b|eyj|bearer|basic")
# A database driver's error may quote the row that it could not write.
_SQL_PARAMETERS = re.compile(r"(?m)^\[parameters: .*$")
_DEEPEST = 6


def mask_number(number: str) -> str:
    """Return a phone number with its country code and last two digits kept, the rest as asterisks.

    Without a leading + the country is not known, so only the last two digits stay.
    """
    digits = re.sub(r"\D", "", number.replace("%2B", "+").replace("%2b", "+"))
    international = number.startswith(("+", "%2B", "%2b"))
    code = _country_code(digits) if international else ""
    shown = digits[-2:] if len(digits) > len(code) + 2 else ""
    return f"{'+' if international else ''}{code}{'*' * (len(digits) - len(code) - len(shown))}{shown}"


def mask_text(text: str) -> str:
    """Return free text (a log event, a traceback, a URL) with international numbers and secrets masked.

    Digits without a + stay: they are ids far more often than numbers.
    """
    if not _WORTH_A_LOOK.search(text):
        return text
    for pattern in _SECRET_IN_TEXT:
        text = pattern.sub(lambda found: found["kept"] + HIDDEN, text)
    text = _SQL_PARAMETERS.sub(f"[parameters: {HIDDEN}]", text)
    return _PLUS_NUMBER.sub(lambda found: mask_number(found[0]), text)


def mask_field(key: str, value: object) -> object:
    """Return what may be logged under `key`: the value, a masked one, or HIDDEN."""
    return _masked(key, value, _DEEPEST)


def _country_code(digits: str) -> str:
    if digits[:1] in ("1", "7"):
        return digits[:1]
    return digits[:2] if digits[:2] in _TWO_DIGIT_CODES else digits[:3]


@lru_cache(maxsize=1024)
def _kind(key: str) -> Literal["hidden", "number", "plain"]:
    plain = key.lower().replace("_", "").replace("-", "")
    if plain in _SECRET_KEYS or plain in _TEXT_KEYS or any(part in plain for part in _SECRET_PARTS):
        return "hidden"
    return "number" if plain in _NUMBER_KEYS else "plain"


def _masked(key: str, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    kind = _kind(key)
    if kind == "hidden":
        return HIDDEN
    if kind == "number" and isinstance(value, str | int):
        return _BARE_NUMBER.sub(lambda found: mask_number(found[0]), mask_text(str(value)))
    if isinstance(value, Mapping):
        return {str(inner): _masked(str(inner), item, depth - 1) for inner, item in value.items()} if depth else HIDDEN
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, item, depth - 1) for item in value] if depth else HIDDEN
    return _masked_scalar(value)


def _masked_scalar(value: object) -> object:
    match value:
        case Enum():
            return _masked_scalar(value.value)
        case int() | float():
            return value
        case str():
            return mask_text(value)
        case date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case BaseException():
            return mask_text(f"{type(value).__name__}: {value}")
        case UUID() | PurePath():
            return mask_text(str(value))
        case _:
            return f"<{type(value).__name__}>"
