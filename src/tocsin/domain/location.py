"""Where a phone number is from, in English: "Moss Beach, CA" or "France", as libphonenumber's geocoder says.

The geocoder itself takes a quarter of a second and 98 MiB to import; its English data is kept here as a table of
prefixes (`locations.bin`, made by `python -m scripts.make_locations`), read when the first number is asked for.
Never says who owns a number, and never asks the network.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from pathlib import Path

import msgspec

from tocsin.domain.address import is_nanp

DATA_FILE = Path(__file__).with_name("locations.bin")
LONGEST_PREFIX = 9
"""Digits of the longest prefix in the data; prefixes of nine digits fit 32 bits."""


class Prefixes(msgspec.Struct, array_like=True):
    """All prefixes of one length, ascending.

    `steps`: differences from one to the next (the first from 0), 32 bits each; `names`: index of the name, 16 bits.
    Both are held with all their lowest bytes first, then the next: so they compress to half.
    """

    length: int
    steps: bytes
    names: bytes


class LocationData(msgspec.Struct, array_like=True):
    """What the data file holds, as msgpack under zlib.

    `names` one a line; `regions` code to name; `plain_codes` the North American area codes whose every number is
    geographic, which need no look at numbering plans.
    """

    names: str
    regions: dict[str, str]
    plain_codes: list[int]
    prefixes: list[Prefixes]


@dataclass(frozen=True, slots=True)
class _Table:
    names: list[str]
    regions: dict[str, str]
    plain_codes: frozenset[str]
    by_length: dict[int, tuple[array[int], array[int]]]

    def longest(self, digits: str) -> str | None:
        """The name at the longest prefix of `digits` that has one."""
        for length in range(min(LONGEST_PREFIX, len(digits)), 0, -1):
            if length not in self.by_length:
                continue
            prefixes, names = self.by_length[length]
            wanted = int(digits[:length])
            at = bisect_left(prefixes, wanted)
            if at < len(prefixes) and prefixes[at] == wanted:
                return self.names[names[at]]
        return None


@lru_cache(maxsize=65_536)
def location_of(number: str) -> str | None:
    """Return the place of an E.164 number with `+`, or None where there is none (toll-free, unassigned, not a number).

    Our choice, as the wire shows "City, ST": what libphonenumber's description_for_number gives in English.
    """
    table = _table()
    if is_nanp(number) and number[2:5] in table.plain_codes:
        return table.longest(number[1:])
    return _planned(table, number)


@cache
def _table() -> _Table:
    data = msgspec.msgpack.decode(zlib.decompress(DATA_FILE.read_bytes()), type=LocationData)
    return _Table(
        data.names.split("\n"),
        data.regions,
        frozenset(map(str, data.plain_codes)),
        {
            one.length: (array("I", accumulate(_joined("I", one.steps))), _joined("H", one.names))
            for one in data.prefixes
        },
    )


def _joined(code: str, planes: bytes) -> array[int]:
    """Undo the split into planes of bytes."""
    numbers = array(code)
    width = numbers.itemsize
    count = len(planes) // width
    mixed = bytearray(len(planes))
    for place in range(width):
        mixed[place::width] = planes[place * count : (place + 1) * count]
    numbers.frombytes(bytes(mixed))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _planned(table: _Table, number: str) -> str | None:
    """Ask libphonenumber's numbering plans what kind of number it is, then the table for its name."""
    import phonenumbers as plans
    from phonenumbers.phonenumberutil import is_number_type_geographical, region_codes_for_country_code

    try:
        parsed = plans.parse(number)
    except plans.NumberParseException:
        return None
    kind, country = plans.number_type(parsed), parsed.country_code
    if kind == plans.PhoneNumberType.UNKNOWN or country is None:
        return None
    if is_number_type_geographical(kind, country):
        national = plans.national_significant_number(parsed)
        # Argentina and others put a mobile digit before the area code: the places are kept without it.
        mobile = plans.country_mobile_token(country)
        if mobile and national.startswith(mobile):
            national = _without_mobile(national[len(mobile) :], country)
        place = table.longest(f"{country}{national}")
        if place is not None:
            return place
    regions = region_codes_for_country_code(country)
    if len(regions) > 1:
        regions = tuple(code for code in regions if plans.is_valid_number_for_region(parsed, code))
    return table.regions.get(regions[0]) if len(regions) == 1 else None


def _without_mobile(national: str, country_code: int) -> str:
    """The national number that `national` is in its country; where it is none, the mobile digit stays off anyway."""
    import phonenumbers as plans

    try:
        return plans.national_significant_number(
            plans.parse(national, plans.region_code_for_country_code(country_code))
        )
    except plans.NumberParseException:
        return national
