"""Generated pages are the committed pages, and every key is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.configuration import (
    Settings,
    configuration_page,
    env_example_page,
    load_configuration,
    starter_config,
)
from perpbot.configuration.__main__ import main
from perpbot.settings import VENUE_CREDENTIALS, leaves, schema

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("path", "text", "name"),
    [
        ("docs/configuration.md", configuration_page(), "page"),
        (".env.example", env_example_page(), "env"),
    ],
)
def test_committed_pages_are_what_the_models_say(path: str, text: str, name: str) -> None:
    """After a change: python -m perpbot.configuration page > docs/configuration.md."""
    committed = (REPOSITORY / path).read_text()

    assert committed == text, f"run: python -m perpbot.configuration {name} > {path}"


def test_every_key_has_a_text_and_a_unit_where_it_is_a_number() -> None:
    """Nothing is set that nobody explains."""
    for note in leaves(Settings):
        assert note.description.endswith((".", "*")), note.key
        name = note.key.rpartition(".")[2]
        for suffix, unit in (("_bps", "bps"), ("_ratio", "ratio"), ("_usd", "USD"), ("_ms", "ms")):
            if name.endswith(suffix):
                assert note.unit == unit, note.key
        if name.endswith("_s"):
            assert note.unit == "s", note.key
        if note.type_name.startswith(("a number", "a decimal", "a whole")):
            assert note.limits, note.key


def test_the_page_names_every_default_once() -> None:
    """A key of each section stands on the page; override blocks do not."""
    page = configuration_page()

    assert "| `max_slippage_bps` | `10` | bps | at least 0, at most 1000 |" in page
    assert page.count("| `max_slippage_bps` | `10` |") == 1
    assert page.count("| `rest_url` |") == 1
    assert "| demo | `arbitrage.min_edge_bps` | `5` |" in page
    assert "| `scanner.min_profit_pct` | `arbitrage.min_edge_bps` |" in page


def test_the_example_names_every_variable() -> None:
    """A credential that is read is one that a newcomer can find."""
    text = env_example_page()

    for fields in VENUE_CREDENTIALS.values():
        for field in fields:
            assert all(name in text for name in field.variables)


def test_the_starter_file_loads_and_changes_nothing(tmp_path: Path) -> None:
    """What `perpbot init` writes is the defaults, spelled out."""
    path = tmp_path / "config.yaml"
    path.write_text(starter_config())
    loaded = load_configuration([path], environ={})

    assert loaded.settings == Settings()
    assert loaded.warnings == ()


def test_the_example_env_sets_nothing(tmp_path: Path) -> None:
    """A fresh copy of .env.example is harmless."""
    path = tmp_path / ".env"
    path.write_text(env_example_page())
    path.chmod(0o600)

    assert load_configuration([], environ={}, dotenv=path).settings == Settings()


def test_the_schema_serves_editors() -> None:
    """Ranges and descriptions reach the editor; unknown keys are marked."""
    found = schema(Settings)
    risk = found["$defs"]["RiskSettings"]

    assert found["$schema"].startswith("https://json-schema.org/")
    assert risk["additionalProperties"] is False
    assert risk["properties"]["max_slippage_bps"]["maximum"] == 1000


def test_pages_are_printed_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name is a usage error."""
    assert main(["starter"]) == 0
    assert capsys.readouterr().out == starter_config()
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
