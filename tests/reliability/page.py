"""The section of docs/reliability.md that holds the figures, written by machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.reliability.proofs import Figure

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(figures: Mapping[str, Sequence[Figure]], heading: str) -> str:
    """Return the section: one line a figure, by proof."""
    rows = [heading, "", "| what must hold | seen | holds |", "|---|---|---|"]
    for proof in figures.values():
        rows += [
            f"| {figure.claim} | {figure.seen} | {'yes' if figure.holds else '**no**'} |"
            for figure in proof
        ]
    return "\n".join(rows)


def put(page: Path, text: str) -> None:
    """Replace what stands between the two marks; raise `ValueError` where they are missing."""
    whole = page.read_text(encoding="utf-8")
    if BEGIN not in whole or END not in whole:
        raise ValueError(f"{page} has no line {BEGIN} followed by {END}")
    before, rest = whole.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
