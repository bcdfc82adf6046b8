"""`python -m perpbot.simulation.wire VENUE…`: the child process of the demo."""

from __future__ import annotations

import argparse
import sys
from decimal import Decimal
from pathlib import Path

import msgspec

from perpbot.simulation.market import MarketModel
from perpbot.simulation.wire.fleet import BALANCE
from perpbot.simulation.wire.process import run_servers


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m perpbot.simulation.wire", description=__doc__)
    parser.add_argument("venues", nargs="+", metavar="VENUE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port-base", type=int, default=0, help="first port; 0 takes free ones")
    parser.add_argument("--tape", type=Path, help="a recorded market instead of a synthetic one")
    parser.add_argument("--market", type=_model, help="a synthetic market, as JSON")
    parser.add_argument("--balance", type=Decimal, default=BALANCE, help="of each venue's account")
    parser.add_argument("--control", action="store_true", help="answer for the accountant")
    parser.add_argument("--until-input-ends", action="store_true")
    given = parser.parse_args()
    return run_servers(
        given.venues,
        seed=given.seed,
        port_base=given.port_base,
        tape=given.tape,
        model=given.market,
        balance=given.balance,
        control=given.control,
        until_input_ends=given.until_input_ends,
    )


def _model(text: str) -> MarketModel:
    return msgspec.json.decode(text, type=MarketModel)


if __name__ == "__main__":
    sys.exit(main())
