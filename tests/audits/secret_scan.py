"""Looks for keys in what is committed: `python tests/audits/secret_scan.py [--accept]`.

detect-secrets finds, this decides what is news: `known.txt` has the hashes of what only looks like
a secret (vectors of signatures, made-up keys of tests), whatever line it has moved to. `--accept`
writes that file anew; read the difference before you commit it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

REPOSITORY = Path(__file__).resolve().parents[2]
KNOWN = Path(__file__).with_name("known.txt")
HASHES = ("requirements/",)
"""Files of hashes, each the look of a key."""
MADE_UP = "tests/"
"""Where a telling name alone says nothing: what looks random is found there all the same."""
PLUGINS: list[dict[str, object]] = [
    {"name": "AWSKeyDetector"},
    {"name": "Base64HighEntropyString", "limit": 4.5},
    {"name": "BasicAuthDetector"},
    {"name": "EvmKeyDetector", "path": Path(__file__).with_name("evm_key.py").as_uri()},
    {"name": "GitHubTokenDetector"},
    {"name": "HexHighEntropyString", "limit": 3.0},
    {"name": "JwtTokenDetector"},
    {"name": "KeywordDetector", "keyword_exclude": ""},
    {"name": "PrivateKeyDetector"},
    {"name": "SlackDetector"},
    {"name": "TelegramBotTokenDetector"},
]
FILTERS = [
    {"path": f"detect_secrets.filters.{name}"}
    for name in (
        "heuristic.is_indirect_reference",
        "heuristic.is_likely_id_string",
        "heuristic.is_potential_uuid",
        "heuristic.is_sequential_string",
        "heuristic.is_templated_secret",
    )
]

Finding = tuple[str, str, str]
"""File, kind, hash."""


def scan(root: Path, names: Sequence[str]) -> dict[Finding, int]:
    """Return what looks like a secret, with its line, in files below `root`."""
    made_up = [name for name in names if name.startswith(MADE_UP)]
    others = [name for name in names if not name.startswith(MADE_UP)]
    return {
        **_scan(root, made_up, [one for one in PLUGINS if one["name"] != "KeywordDetector"]),
        **_scan(root, others, PLUGINS),
    }


def _scan(
    root: Path, names: Sequence[str], plugins: Sequence[Mapping[str, object]]
) -> dict[Finding, int]:
    with transient_settings({"plugins_used": plugins, "filters_used": FILTERS}):
        found = SecretsCollection(str(root))
        found.scan_files(*(str(root / name) for name in names))
    return {
        (str(Path(name)), secret.type, secret.secret_hash): secret.line_number
        for name, secret in found
    }


def committed(root: Path) -> list[str]:
    """Return the files of the working copy that git knows or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [n for n in names if not n.startswith(HASHES) and (root / n).is_file()]


def known(path: Path = KNOWN) -> set[Finding]:
    """Return what was looked at and found harmless."""
    lines = [line.split(" | ") for line in path.read_text().splitlines() if line.strip()]
    return {(name, kind, digest) for name, kind, digest in lines}


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 and say where, if there is news."""
    parser = argparse.ArgumentParser(description="Look for keys in what is committed.")
    parser.add_argument("--accept", action="store_true", help="call all of it harmless")
    accept = parser.parse_args(arguments).accept
    try:
        names = committed(REPOSITORY)
    except (OSError, subprocess.CalledProcessError):
        sys.stderr.write("secret scan: skipped: this is no working copy of git\n")
        return 0
    found = scan(REPOSITORY, names)
    if accept:
        KNOWN.write_text("".join(f"{' | '.join(finding)}\n" for finding in sorted(found)))
        return 0
    news = {finding: line for finding, line in found.items() if finding not in known()}
    for (name, kind, _), line in sorted(news.items()):
        sys.stderr.write(f"{name}:{line}: {kind}\n")
    if news:
        sys.stderr.write(
            "secret scan: if one of these is a key, it is burnt: delete it at its venue. If all"
            " are made up: python tests/audits/secret_scan.py --accept\n"
        )
    return 1 if news else 0


if __name__ == "__main__":
    raise SystemExit(main())
