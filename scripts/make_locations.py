"""Make src/tocsin/domain/locations.bin from the English geocoding data of the installed phonenumbers package.

Run `python -m scripts.make_locations` after phonenumbers has been raised; tests/domain/test_location.py then compares
the table with the package. Takes half a minute. The layout is LocationData in src/tocsin/domain/location.py.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import defaultdict
from itertools import pairwise

import msgspec
import phonenumbers as plans
from phonenumbers.geocoder import description_for_number
from phonenumbers.geodata import GEOCODE_DATA
from phonenumbers.geodata.locale import LOCALE_DATA

from tocsin.domain.location import DATA_FILE, LONGEST_PREFIX, LocationData, Prefixes

EXCHANGES = range(200, 1000, 7)
"""Middle parts of a number that are tried for each area code."""


def main() -> int:
    """Write the file and say how large it is."""
    places = {prefix: names["en"] for prefix, names in GEOCODE_DATA.items() if "en" in names}
    if max(map(len, places)) > LONGEST_PREFIX:
        raise SystemExit("the data has longer prefixes than the table takes: raise LONGEST_PREFIX")
    plain = [code for code in range(200, 1000) if _is_plain(code)]
    for code in plain:
        unplaced = _unplaced(code, places)
        if unplaced is not None:
            places[f"1{code}"] = description_for_number(plans.parse(unplaced), "en")
    data = LocationData(*_names(places), plain, _prefixes(places))
    packed = zlib.compress(msgspec.msgpack.encode(data), 9)
    DATA_FILE.write_bytes(packed)
    print(f"{len(places)} prefixes, {len(plain)} plain area codes, {len(packed)} bytes")
    return 0


def _is_plain(code: int) -> bool:
    """Whether every number of a North American area code is geographic and of one country."""
    samples = [plans.parse(f"+1{code}{exchange}0100") for exchange in EXCHANGES]
    return all(
        plans.number_type(one) == plans.PhoneNumberType.FIXED_LINE_OR_MOBILE
        and plans.region_code_for_number(one) in ("US", "CA")
        for one in samples
    )


def _unplaced(code: int, places: dict[str, str]) -> str | None:
    """A number of the area code that the data has no prefix for, so that the geocoder says its country; else None."""
    for block in range(2000, 10_000):
        digits = f"1{code}{block}"
        if not any(digits[:length] in places for length in range(1, len(digits) + 1)):
            return f"+{digits}100"
    return None


def _names(places: dict[str, str]) -> tuple[str, dict[str, str]]:
    regions = {}
    for code, names in LOCALE_DATA.items():
        name = names.get("en", "")
        regions[code] = names.get(name[1:], "") if name.startswith("*") else name
    return "\n".join(_numbered(places)), regions


def _numbered(places: dict[str, str]) -> dict[str, int]:
    """Each name and its index, in order of prefix: neighbours then share most of their digits and compress well."""
    names: dict[str, int] = {}
    for prefix in sorted(places):
        names.setdefault(places[prefix], len(names))
    return names


def _prefixes(places: dict[str, str]) -> list[Prefixes]:
    by_length: dict[int, list[str]] = defaultdict(list)
    for prefix in sorted(places):
        by_length[len(prefix)].append(prefix)
    names = _numbered(places)
    result = []
    for length, ordered in sorted(by_length.items()):
        steps = [
            int(ordered[0]),
            *(int(after) - int(before) for before, after in pairwise(ordered)),
        ]
        indices = [names[places[prefix]] for prefix in ordered]
        result.append(Prefixes(length, _planes("I", steps), _planes("H", indices)))
    return result


def _planes(code: str, numbers: list[int]) -> bytes:
    packed = array(code, numbers)
    if sys.byteorder == "big":
        packed.byteswap()
    raw, width = packed.tobytes(), packed.itemsize
    return b"".join(raw[place::width] for place in range(width))


if __name__ == "__main__":
    sys.exit(main())
