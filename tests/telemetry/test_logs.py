import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from tocsin.telemetry.logs import configure_logs, get_logger

TEXT = "see you at nine"
NUMBER = "+16505551234"
TOKEN = "U0pDMTJQMDFQQVMwMHxBQUNfeHl6"


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def log_everything() -> None:
    log = get_logger("tocsin.test")
    log.info("message.received", message_id=17, subject=TEXT, to=[NUMBER], access_token=TOKEN, nested={"text": TEXT})
    logging.getLogger("library.access").info("GET /restapi?access_token=%s for %s", TOKEN, NUMBER)
    text = TEXT  # a local variable, which a generous traceback would print
    try:
        raise ValueError(f"no route to {NUMBER} with token={TOKEN}")
    except ValueError:
        log.exception("submission.broke", size=len(text))


def test_elsewhere_each_line_is_a_json_object() -> None:
    stream = io.StringIO()
    configure_logs(stream)
    log_everything()
    received, access, broke = (json.loads(line) for line in stream.getvalue().splitlines())
    assert received["event"] == "message.received"
    assert received["level"] == "info"
    assert received["logger"] == "tocsin.test"
    assert received["timestamp"].endswith("Z")
    assert received["message_id"] == 17
    assert received["to"] == ["+1********34"]
    assert access["logger"] == "library.access"
    assert access["event"] == "GET /restapi?access_token=[hidden] for +1********34"
    assert "ValueError: no route to +1********34" in broke["exception"]


@pytest.mark.parametrize("pretty", [True, False])
def test_no_text_number_or_token_is_in_any_line(pretty: bool) -> None:
    stream = io.StringIO()
    configure_logs(stream, pretty=pretty)
    log_everything()
    written = stream.getvalue()
    assert "message.received" in written
    assert "submission.broke" in written
    for secret in (TEXT, NUMBER, TOKEN):
        assert secret not in written


def test_a_terminal_gets_lines_for_people() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logs(terminal)
    get_logger("tocsin.test").info("server.ready", port=8765)
    assert "server.ready" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure_logs(stream, level="WARNING")
    get_logger("tocsin.test").info("quiet")
    get_logger("tocsin.test").warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logs(io.StringIO(), level="LOUD")


@pytest.mark.parametrize("before, after", [("", "None"), ("import rich; ", "<module 'rich'")])
def test_rich_is_neither_loaded_nor_lost(before: str, after: str) -> None:
    asked = "sys.modules.get('rich'), 'rich.traceback' in sys.modules"
    code = f"import sys; {before}import tocsin.telemetry.logs; print({asked})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(after)
    assert ran.stdout.endswith(" False\n")
