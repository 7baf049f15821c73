import random

import phonenumbers
import pytest
from phonenumbers.geocoder import description_for_number

from tocsin.domain.location import location_of


def geocoder_says(number: str) -> str | None:
    try:
        return description_for_number(phonenumbers.parse(number), "en") or None
    except phonenumbers.NumberParseException:
        return None


@pytest.mark.parametrize(
    "number, place",
    [
        ("+12127361000", "New York, NY"),
        ("+16508974563", "California"),
        ("+442083661177", "London"),
        ("+33612345678", "France"),
        ("+18005550100", None),
        ("+15005550010", None),
        ("101", None),
    ],
)
def test_places(number: str, place: str | None) -> None:
    assert location_of(number) == place


def test_north_american_numbers_are_where_the_geocoder_puts_them() -> None:
    dice = random.Random(7)
    for _ in range(1500):
        number = f"+1{dice.randrange(200, 1000)}{dice.randrange(200, 1000)}{dice.randrange(10_000):04}"
        assert location_of(number) == geocoder_says(number), number


def test_numbers_of_every_country_are_where_the_geocoder_puts_them() -> None:
    dice = random.Random(8)
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    kinds = (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    tried = 0
    for region in regions:
        for kind in kinds:
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            # Once as it is, then with its last digits drawn anew: places often differ by the middle ones.
            for kept in (len(number), len(number) - 3, len(number) - 5):
                tail = "".join(dice.choice("0123456789") for _ in range(len(number) - kept))
                assert location_of(number[:kept] + tail) == geocoder_says(number[:kept] + tail), number[:kept] + tail
                tried += 1
    assert tried > 1000


def test_numbers_of_countries_with_many_places() -> None:
    dice = random.Random(9)
    for code, lengths in (
        ("86", (10, 11)),
        ("61", (9,)),
        ("33", (9,)),
        ("55", (10, 11)),
        ("91", (10,)),
        ("49", (9, 10)),
    ):
        for _ in range(200):
            length = dice.choice(lengths)
            number = f"+{code}{dice.randrange(1, 10)}" + "".join(dice.choice("0123456789") for _ in range(length - 1))
            assert location_of(number) == geocoder_says(number), number
