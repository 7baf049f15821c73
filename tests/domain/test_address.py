import pytest

from tocsin.domain.address import NumberInfo, is_nanp, normalise_number, number_info


@pytest.mark.parametrize(
    "text",
    [
        "+16505550100",
        "16505550100",
        "6505550100",
        "650-555-0100",
        "(650) 555-0100",
        "+1 (650) 555-0100",
        "1.650.555.0100",
        " +1-650-555-0100 ",
    ],
)
def test_every_way_to_write_a_north_american_number_gives_one_number(text: str) -> None:
    assert normalise_number(text) == "+16505550100"


@pytest.mark.parametrize(
    "text, number",
    [("+44 20 8366 1177", "+442083661177"), ("442083661177", "+442083661177"), ("+49-30-123456", "+4930123456")],
)
def test_other_numbers_begin_with_their_country_code(text: str, number: str) -> None:
    assert normalise_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "101", "abc", "+1650555010", "+165055501000", "+1650555O100", "+0441234567", "+99912345678"),
        *("1" * 60, "+٦٥٠٥٥٥٠١٠٠٠", "+1 650 555 0100 ext 5", "++16505550100", "+16505550100,+16505550101"),
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the class alone is the contract
        normalise_number(text)


def test_form_of_the_north_american_plan() -> None:
    assert is_nanp("+16505550100")
    assert not is_nanp("16505550100")
    assert not is_nanp("+442083661177")


@pytest.mark.parametrize(
    "number, info",
    [
        ("+16505550100", NumberInfo("1", "650", "5550100")),
        ("+442083661177", NumberInfo("44", "20", "83661177")),
        ("+4930123456", NumberInfo("49", "30", "123456")),
        ("101", None),
        ("Front desk", None),
        ("+999123456789", None),
    ],
)
def test_parts_of_a_number(number: str, info: NumberInfo | None) -> None:
    assert number_info(number) == info
