"""What a run amounts to: rates, latencies, what was lost; medians over rounds; the table and the JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from statistics import median

import msgspec

from bench.load import Load, place_in

_IDS = re.compile(rb'"newMessageIds":\[([\d,]*)\]')


@dataclass(frozen=True)
class Result:
    """One run. Rates are per second of the measured window, times in milliseconds, CPU of the server's process."""

    what: str
    rate: int
    """Messages that fell due a second; 0: closed loop."""
    accepted_s: float
    delivered_s: float
    """Messages whose own webhook came, a second."""
    webhooks_s: float
    """Webhooks of every kind, a second."""
    p50_ms: float
    """From post sent (or due) to webhook received."""
    p99_ms: float
    accept_p50_ms: float
    accept_p99_ms: float
    cpu_us: float
    """Of the server, for each message accepted."""
    lost: int
    """Accepted and not announced, when nothing came any more. Must be 0."""
    doubled: int
    refused: int


def measure(what: str, rate: int, load: Load, received: list[tuple[float, bytes]], *, counted: bool) -> Result:
    """Judge one run. `counted`: message-store events must have told each message as new, too."""
    began, ended = load.began, load.ended
    window = ended - began
    came: dict[int, float] = {}
    doubled = 0
    told: set[bytes] = set()
    for at, body in received:
        place = place_in(body)
        if place is None:
            for ids in _IDS.findall(body):
                told.update(ids.split(b","))
        elif place in came:
            doubled += 1
        else:
            came[place] = at
    accepted = [place for place, message in enumerate(load.messages) if 200 <= message.status < 300]
    inside = [place for place in accepted if began <= load.messages[place].answered < ended]
    lost = sum(place not in came for place in accepted)
    if counted:
        lost += sum(_stored_id(load.messages[place].reply) not in told for place in accepted)
    latencies = sorted(came[place] - load.messages[place].due for place in inside if place in came)
    accepting = sorted(load.messages[place].answered - load.messages[place].due for place in inside)
    return Result(
        what,
        rate,
        len(inside) / window,
        sum(began <= at < ended for at in came.values()) / window,
        sum(began <= at < ended for at, _ in received) / window,
        _quantile(latencies, 0.5),
        _quantile(latencies, 0.99),
        _quantile(accepting, 0.5),
        _quantile(accepting, 0.99),
        load.cpu_s / max(len(inside), 1) * 1e6,
        lost,
        doubled,
        len(load.messages) - len(accepted),
    )


def _stored_id(reply: bytes) -> bytes:
    return str(msgspec.json.decode(reply)["messages"][0]["id"]).encode()


def _quantile(values: list[float], share: float) -> float:
    return values[int(len(values) * share)] * 1e3 if values else 0.0


def json_line(result: Result) -> str:
    """`result` on one line."""
    return msgspec.json.encode(
        {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(result).items()}
    ).decode()


_HEADINGS = {
    "accepted_s": "accepted/s",
    "delivered_s": "delivered/s",
    "webhooks_s": "webhooks/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU µs",
    "lost": "lost",
}


def table(results: Iterable[Result], yardsticks: list[str]) -> str:
    """Medians of the rounds, and each closed loop's delivered messages as a ratio to each yardstick's.

    Ratios are taken within each round and then the median, so that a machine that is busy for a while spoils neither.
    """
    by_run: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        by_run.setdefault((result.what, result.rate), []).append(result)
    numeric = [field.name for field in fields(Result) if field.name in _HEADINGS]
    rows = [["", "rate", *(_HEADINGS[name] for name in numeric), *(f"÷ {one}" for one in yardsticks)]]
    for (what, rate), runs in by_run.items():
        row = [what, str(rate) if rate else "closed"]
        row += [_middle([getattr(run, name) for run in runs]) for name in numeric]
        for yardstick in yardsticks:
            beside = by_run.get((yardstick, 0), [])
            same_work = not rate and len(beside) == len(runs)
            ratios = [run.delivered_s / other.delivered_s for run, other in zip(runs, beside, strict=False)]
            row.append(f"{median(ratios):.2f}" if same_work else "")
        rows.append(row)
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _middle(values: list[float]) -> str:
    middle = median(values)
    if max(values) == 0:
        return "0"
    shown = ".0f" if middle >= 100 else ".2f" if middle < 10 else ".1f"
    return f"{middle:{shown}} ({min(values):{shown}}–{max(values):{shown}})"
