"""One trace on every Python that is installed, under different hash seeds.

`python -m tests.simulation.pythons` (part of `make chaos-nightly`) finds the interpreters of this
machine that we support, gives each a virtual environment with the pinned packages where it has
none, and compares the trace hash of the same seeds. One that is not installed is skipped. Tier A
has one trace everywhere; tier B runs asyncio itself, which takes other steps in 3.11 than later:
there each Python has one trace under every hash seed, and 3.12 and 3.13 have the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
HASH_SEEDS = ("1", "4242")
SEEDS = 50
WIRES_SEEDS = 10
OTHER_STEPS = ("3.11",)
"""Versions whose asyncio takes steps of its own: tier B has a trace of its own there."""
FIRST = 101
_PROGRAM = "from perpbot.cli.main import main; main()"


def trace(python: Path, hash_seed: str, seeds: int = SEEDS, tier: str = "A") -> str:
    """Return the trace hash of some seeds of a tier under an interpreter."""
    options = [
        "--tier",
        tier,
        "--seeds",
        str(seeds),
        "--from",
        str(FIRST),
        "--jobs",
        "1",
        "--json",
    ]
    done = subprocess.run(
        [python, "-c", _PROGRAM, "chaos", *options],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        check=True,
        text=True,
    )
    return str(json.loads(done.stdout)["trace_hash"])


def found(
    versions: Sequence[str] = VERSIONS,
    path: str | None = None,
    roots: Iterable[Path] | None = None,
) -> dict[str, Path]:
    """Return interpreters by version: on the path, or among those that pyenv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = tuple(roots) if roots is not None else (pyenv,)
    interpreters = {}
    for version in versions:
        candidates = [shutil.which(f"python{version}", path=path)]
        candidates += [
            str(python)
            for place in places
            for python in sorted(place.glob(f"{version}.*/bin/python{version}"))
        ]
        for candidate in candidates:
            if candidate and _version(candidate) == version:
                interpreters[version] = Path(candidate)
                break
    return interpreters


def _version(python: str) -> str:
    program = "import sys; print(f'{sys.version_info.major}.{sys.version_info.minor}')"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def environment(version: str, python: Path) -> Path:
    """Return the interpreter of a virtual environment with the pinned packages; make it once."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    place = ROOT / f".venv-{version}"
    inside, done = place / "bin" / "python", place / ".core"
    if not done.exists():
        print(f"pythons: installing the pinned packages for {version}", flush=True)
        subprocess.run([python, "-m", "venv", place], check=True)
        options = ["--disable-pip-version-check", "--no-input", "-q", "--require-hashes"]
        pins = str(ROOT / "requirements" / "core.txt")
        install = [str(inside), "-m", "pip", "install", *options, "-r", pins]
        subprocess.run(install, check=True)
        done.touch()
    return inside


def main() -> int:
    """Compare; 0 when all traces are one."""
    interpreters = found()
    for version in VERSIONS:
        if version not in interpreters:
            print(f"pythons: {version} is not installed here, skipped")
    inside = {version: environment(version, python) for version, python in interpreters.items()}
    alike = [compare(inside, "A", SEEDS)]
    alike.append(compare({v: p for v, p in inside.items() if v not in OTHER_STEPS}, "B"))
    alike += [compare({v: inside[v]}, "B") for v in OTHER_STEPS if v in inside]
    return 0 if all(alike) else 1


def compare(inside: Mapping[str, Path], tier: str, seeds: int = WIRES_SEEDS) -> bool:
    """Whether these interpreters have one trace of some seeds, under every hash seed."""
    traces = set()
    for version, python in inside.items():
        for hash_seed in HASH_SEEDS:
            one = trace(python, hash_seed, seeds, tier)
            traces.add(one)
            print(
                f"pythons: tier {tier}, {version}, hash seed {hash_seed}: {one[:16]}", flush=True
            )
    same = len(traces) <= 1
    names = ", ".join(inside) or "no interpreter"
    said = "one trace" if same else "DIFFERENT TRACES"
    print(f"pythons: tier {tier}, {seeds} seeds on {names}: {said}")
    return same


if __name__ == "__main__":
    sys.exit(main())
