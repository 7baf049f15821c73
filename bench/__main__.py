"""`python -m bench`: runs the benchmarks; a JSON line for each run as it ends, then the table of medians."""

from __future__ import annotations

import argparse
import os
import platform
import sys

import uvloop

from bench.inbound_to_webhook import REFERENCE, YARDSTICK, one_round
from bench.result import Result, json_line, table
from bench.server import CORES, pin_load

MAX_ROUNDS, MAX_SECONDS = 20, 30.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Inbound SMS by HTTP → durable → webhook.")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured; medians are told")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each run is measured")
    parser.add_argument("--connections", type=int, default=64, help="connections that messages are posted on")
    parser.add_argument("--mailboxes", type=int, default=200, help="mailboxes that they are for")
    parser.add_argument("--rates", default="500,1000,2000", help="fixed rates, messages a second; empty for none")
    chosen = parser.parse_args()
    rates = [int(rate) for rate in chosen.rates.split(",") if rate]
    rounds, seconds = min(chosen.rounds, MAX_ROUNDS), min(chosen.seconds, MAX_SECONDS)
    pin_load()
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        print(json_line(result), flush=True)

    for _ in range(rounds):
        uvloop.run(one_round(seconds, chosen.connections, rates, chosen.mailboxes, tell))
    load = f", load {os.getloadavg()[0]:.1f} at the end" if sys.platform != "win32" else ""
    print(f"\n{platform.python_implementation()} {platform.python_version()}, {len(CORES) or '?'} cores{load}")
    print(f"medians of {rounds} rounds of {seconds:g} s (lowest–highest), {chosen.connections} connections\n")
    measured = {result.what for result in results}
    print(table(results, [one for one in (YARDSTICK, REFERENCE) if one in measured]))
    if any(result.lost for result in results if result.what != REFERENCE):
        sys.exit("bench: messages were lost")


if __name__ == "__main__":
    main()
