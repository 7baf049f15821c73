"""Phone numbers: reading what people write into E.164, and taking an E.164 number apart.

North American numbers, by far the most, are read by one pattern; others by libphonenumber's numbering plans, imported
when the first one comes. Never decides who may be written to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_NANP_E164 = re.compile(r"\+1[2-9]\d{2}[2-9]\d{6}")
_FORMATTING = re.compile(r"[\s().\-‐-–]+")
_E164 = re.compile(r"\+[1-9]\d{5,14}")
_DIGITS = re.compile(r"[1-9]\d{5,14}")
_LONGEST_TEXT = 40


@dataclass(frozen=True, slots=True)
class NumberInfo:
    """An E.164 number in parts, digits only; `national_destination_code` (area code) is "" where it has none."""

    country_code: str
    national_destination_code: str
    subscriber_number: str


def is_nanp(number: str) -> bool:
    """Whether an E.164 number has the form of the North American plan: +1, area code, seven digits."""
    return _NANP_E164.fullmatch(number) is not None


def normalise_number(text: str) -> str:
    """Return `text` as E.164 with `+`: "16505550100", "+1 (650) 555-0100" and "650-555-0100" all name one number.

    Ten digits of North American form get +1; all others must begin with their country code. Raises ValueError for what
    no numbering plan can hold.
    """
    if _NANP_E164.fullmatch(text):
        return text
    return _normalise(text)


@lru_cache(maxsize=4096)
def _normalise(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        raise ValueError("too long for a phone number")
    compact = _FORMATTING.sub("", text)
    digits = compact.removeprefix("+")
    for candidate in (f"+{digits}", f"+1{digits}" if compact == digits else ""):
        if _NANP_E164.fullmatch(candidate):
            return candidate
    if not _DIGITS.fullmatch(digits) or not digits.isascii():
        raise ValueError("not a phone number in E.164 form")
    return _by_numbering_plan(f"+{digits}")


def _by_numbering_plan(number: str) -> str:
    import phonenumbers as plans

    try:
        parsed = plans.parse(number)
    except plans.NumberParseException as wrong:
        raise ValueError("no country has this number") from wrong
    if not plans.is_possible_number(parsed):
        raise ValueError("no number of its country has this length")
    return plans.format_number(parsed, plans.PhoneNumberFormat.E164)


@lru_cache(maxsize=65_536)
def number_info(number: str) -> NumberInfo | None:
    """Take an E.164 number with `+` apart; None for what is none (a short code, a name)."""
    if is_nanp(number):
        return NumberInfo("1", number[2:5], number[5:])
    if not _E164.fullmatch(number):
        return None
    import phonenumbers as plans

    try:
        parsed = plans.parse(number)
    except plans.NumberParseException:
        return None
    national = plans.national_significant_number(parsed)
    length = plans.length_of_national_destination_code(parsed)
    return NumberInfo(str(parsed.country_code), national[:length], national[length:])
