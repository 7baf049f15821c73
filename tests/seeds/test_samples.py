"""The sample events of RingCentral's own pages, as they are: what is wrong in each, and that we emit all they show.

The files beside this one are test input. Two pages exist in two forms, the web page's and its Markdown source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.goldens import GOLDEN_DIR
from tocsin.domain.message import MessageType
from tocsin.wire.times import parse_time, render_time

SAMPLES = Path(__file__).parent

Repair = Callable[[str], str]


def drop_the_ellipsis(text: str) -> str:
    """An element `{...}` stands for more of the same."""
    return text.replace("{...}", "")


def separate_elements(text: str) -> str:
    """A comma is missing between two elements of a list."""
    return re.sub(r"\}(\s*)\{", r"},\1{", text)


def drop_trailing_commas(text: str) -> str:
    """A comma follows the last element."""
    return re.sub(r",(\s*[}\]])", r"\1", text)


def open_the_object(text: str) -> str:
    """The first brace is missing."""
    return "{\n" + text


def finish_what_is_cut_off(text: str) -> str:
    """The text ends as an element begins."""
    return text.rstrip().removesuffix("{") + "]}}"


REPAIRS: dict[str, list[Repair]] = {
    "message-event-web": [open_the_object, separate_elements, finish_what_is_cut_off, drop_trailing_commas],
    "message-event-markdown": [drop_the_ellipsis, separate_elements, drop_trailing_commas],
    "instant-message-event-web": [],
    "instant-message-event-markdown": [drop_trailing_commas],
}


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def repaired(name: str, *, without: Repair | None = None) -> dict[str, object]:
    text = sample(name)
    for repair in REPAIRS[name]:
        if repair is not without:
            text = repair(text)
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def fields(value: object, path: str = "") -> Iterator[str]:
    """Every field by its path and the type of its value; the elements of a list count as one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}{name}: {type(inner).__name__}"
            yield from fields(inner, f"{path}{name}.")
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, path)


def emitted(name: str) -> set[str]:
    return set(fields(json.loads((GOLDEN_DIR / "notification" / f"{name}.json").read_bytes())))


@pytest.mark.parametrize("name", [name for name, repairs in REPAIRS.items() if repairs])
def test_a_sample_is_no_json_until_every_fault_is_repaired(name: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(sample(name))
    for repair in REPAIRS[name]:
        with pytest.raises(json.JSONDecodeError):
            repaired(name, without=repair)
    assert repaired(name)["body"]


def test_the_web_page_of_the_instant_event_shows_a_voicemail() -> None:
    shown = repaired("instant-message-event-web")
    body = shown["body"]
    assert isinstance(body, dict)
    assert str(shown["event"]).endswith("/voicemail")
    assert body["type"] == MessageType.VOICEMAIL
    assert "/message-store/instant?type=SMS" not in sample("instant-message-event-web")


def test_the_message_event_s_times_end_in_an_offset_and_ours_in_z() -> None:
    for name in ("message-event-web", "message-event-markdown"):
        text = str(repaired(name)["timestamp"])
        assert text == "2014-04-29T14:29:27.408+0000"
        assert render_time(parse_time(text)) == "2014-04-29T14:29:27.408Z"


def test_the_instant_event_s_attachment_points_at_another_message() -> None:
    body = repaired("instant-message-event-markdown")["body"]
    assert isinstance(body, dict)
    assert f"/message-store/{body['id']}/" not in body["attachments"][0]["uri"]


@pytest.mark.parametrize("name", ["message-event-web", "message-event-markdown"])
def test_every_field_of_the_message_event_is_emitted_with_its_type(name: str) -> None:
    assert set(fields(repaired(name))) - emitted("message-event") == set()


def test_every_field_of_the_instant_event_is_emitted_with_its_type() -> None:
    assert set(fields(repaired("instant-message-event-markdown"))) - emitted("instant-sms") == set()
