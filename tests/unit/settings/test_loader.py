"""Layers, origins, problems: the loader on a small tree of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import model_validator

from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.settings import (
    Alias,
    AliasTable,
    Environment,
    Flag,
    KeyReader,
    Layer,
    Loaded,
    Problem,
    SettingsError,
    SettingsModel,
    Sources,
    Violation,
    contradiction,
    load,
    read_environment,
    same,
    scaled,
    setting,
)


class Kind(StrEnum):
    DEMO = "demo"
    PAPER = "paper"


def _upper(text: str) -> str:
    if not text.isalnum():
        raise InvalidValue(text)
    return text.upper()


class Limits(SettingsModel):
    """Limits."""

    low_bps: float = setting(1.0, "Low.", unit="bps", ge=0, le=100)
    high_bps: float = setting(10.0, "High.", unit="bps", ge=0, le=100)
    name: str = setting("n", "A name.")
    pairs: tuple[tuple[str, int], ...] = setting((), "Pairs.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low_bps > self.high_bps:
            raise contradiction("was above high_bps", "low_bps", "high_bps")
        return self


class Root(SettingsModel):
    mode: Kind = setting(Kind.PAPER, "Mode.")
    limits: Limits = setting(Limits(), "Limits of all.")
    by_name: dict[Annotated[str, KeyReader(_upper)], Limits] = setting({}, "By name.")


ALIASES = AliasTable(
    (
        Alias(
            "old_low", "limits.low_bps", scaled("limits.low_bps", 10_000, most=0.5, unit="ratio")
        ),
        Alias("old.name", "limits.name", same("limits.name")),
        Alias("gone", reason="it is gone"),
        Alias("off", "limits.name", lambda _: {}),
        Alias("broken", "limits.nothing", same("limits.nothing")),
        Alias("by_name", "limits.name", lambda _: {"limits.name": "from-list"}, only=list),
    )
)
EXPECTED = "a number in bps, at least 0, at most 100 was expected"
UNKNOWN = "is not a known key"
NO_INTEGER = "input should be a valid integer, unable to parse string as an integer"
NESTED = "write it nested: each part on a line of its own, indented below the one before"
LIMITS = "environment PERPBOT__LIMITS__"
PROFILES = {"demo": {"limits.low_bps": 5.0}}


def files(tmp_path: Path, *texts: str) -> list[Path]:
    """Write files to load in order."""
    paths = []
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        paths.append(path)
    return paths


def run(
    paths: list[Path] | None = None,
    environ: dict[str, str] | None = None,
    flags: tuple[Flag, ...] = (),
    **options: object,
) -> Loaded[Root]:
    """Load the small tree."""
    return load(
        Root,
        Sources(files=paths or [], environment=Environment(environ), flags=flags),
        aliases=ALIASES,
        profiles=PROFILES,
        **options,  # type: ignore[arg-type]
    )


def lines(error: SettingsError, tmp_path: Path) -> list[str]:
    """Return problems as lines without the directory."""
    return [str(problem).replace(f"{tmp_path}/", "") for problem in error.problems]


def refuse(
    tmp_path: Path,
    *texts: str,
    environ: dict[str, str] | None = None,
    flags: tuple[Flag, ...] = (),
) -> list[str]:
    """Return the problems of sources that must be refused."""
    with pytest.raises(SettingsError) as caught:
        run(files(tmp_path, *texts), environ, flags)
    return lines(caught.value, tmp_path)


def test_defaults_hold_where_nothing_is_set() -> None:
    """An empty world is a valid one."""
    loaded = run()

    assert loaded.settings == Root()
    assert str(loaded.origin("limits.low_bps")) == "default"
    assert loaded.warnings == ()


def test_each_layer_wins_over_those_before(tmp_path: Path) -> None:
    """From default over mode, files, .env and environment to flag; explain tells it all."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("\nPERPBOT__LIMITS__LOW_BPS=4\n")
    paths = files(tmp_path, "mode: demo\nlimits:\n  low_bps: 2\n", "limits: {low_bps: 3}\n")
    environ = {"PERPBOT__LIMITS__LOW_BPS": "6"}
    environment, _ = read_environment(environ, dotenv)
    loaded = load(
        Root,
        Sources(paths, environment, (Flag("limits.low_bps", "--low", 7.0),)),
        profiles=PROFILES,
    )
    told = loaded.explain("limits.low_bps")

    assert loaded.settings.limits.low_bps == 7
    assert (told.value, str(told.source)) == (7, "flag --low")
    assert [
        (value, str(origin).replace(f"{tmp_path}/", "")) for value, origin in told.overridden
    ] == [
        (6, "environment PERPBOT__LIMITS__LOW_BPS"),
        (4, ".env:2"),
        (3, "1.yaml:1"),
        (2, "0.yaml:3"),
        (5, "default in demo"),
        (1, "default"),
    ]


@given(st.sets(st.sampled_from(["file0", "file1", "environment", "flag"])))
def test_the_highest_layer_that_speaks_wins(
    tmp_path_factory: pytest.TempPathFactory, chosen: set[str]
) -> None:
    """Whatever the subset of layers."""
    values = {"file0": 2.0, "file1": 3.0, "environment": 4.0, "flag": 5.0}
    tmp_path = tmp_path_factory.mktemp("layers")
    texts = [
        f"limits: {{low_bps: {values[name]}}}\n" if name in chosen else "limits:\n"
        for name in ("file0", "file1")
    ]
    environ = {"PERPBOT__LIMITS__LOW_BPS": "4"} if "environment" in chosen else {}
    flags = (Flag("limits.low_bps", "--low", 5.0),) if "flag" in chosen else ()
    loaded = run(files(tmp_path, *texts), environ, flags)

    assert loaded.settings.limits.low_bps == max((values[name] for name in chosen), default=1.0)


def test_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    """A later file changes only what it names, but a list it names it replaces whole."""
    loaded = run(
        files(
            tmp_path,
            "limits: {low_bps: 2, name: a, pairs: [[x, 1], [y, 2]]}\nby_name: {a: {low_bps: 3}}\n",
            "limits: {name: b, pairs: [[z, 3]]}\nby_name: {A: {high_bps: 30}, b: {}}\n",
        )
    )

    assert loaded.settings.limits == Limits(low_bps=2, name="b", pairs=(("z", 3),))
    assert loaded.settings.by_name == {"A": Limits(low_bps=3, high_bps=30)}


def test_environment_values_are_read_as_yaml_and_texts_as_they_are() -> None:
    """A list may come from a variable; a name that looks like a number stays a name."""
    loaded = run(
        environ={
            "PERPBOT__LIMITS__PAIRS": "[[x, 1]]",
            "PERPBOT__LIMITS__NAME": "12",
            "perpbot__limits__low_bps": "1e0",
            "PERPBOT__BY_NAME__A__LOW_BPS": "2",
        }
    )

    assert loaded.settings.limits == Limits(pairs=(("x", 1),), name="12", low_bps=1)
    assert loaded.settings.by_name["A"].low_bps == 2


def test_every_problem_of_every_layer_is_listed(tmp_path: Path) -> None:
    """One run shows all there is to put right."""
    text = """\
mode: papier
limits:
  low_bps: 500
  hihg_bps: 5
  pairs:
    - [x, 1]
    - [y, z]
by_name:
  a: {low_bps: 50, high_bps: 5}
  "??": {low_bps: 1}
limit: 5
limits.low_bps: 1
"""
    problems = refuse(
        tmp_path,
        text,
        environ={"PERPBOT__LIMITS__NAEM": "x", "PERPBOT__MODEE": "demo", "PERPBOT__": "1"},
        flags=(Flag("limits.low", "--low", 1),),
    )

    assert sorted(problems) == sorted(
        [
            "0.yaml:1: mode was papier: one of demo, paper was expected",
            f"0.yaml:3: limits.low_bps was 500: {EXPECTED}",
            f"0.yaml:4: limits.hihg_bps {UNKNOWN} (value 5); did you mean limits.high_bps?",
            f"0.yaml:7: limits.pairs.1.1 was z: {NO_INTEGER}",
            "0.yaml:9: by_name.A.low_bps was above high_bps",
            "0.yaml:10: by_name.?? is not a known key: ??",
            "0.yaml:11: limit is not a known key (value 5); did you mean limits?",
            f"0.yaml:12: limits.low_bps {UNKNOWN} (value 1); {NESTED}",
            f"{LIMITS}NAEM: limits.naem {UNKNOWN} (value x); did you mean limits.name?",
            f"environment PERPBOT__MODEE: modee {UNKNOWN} (value demo); did you mean mode?",
            "environment PERPBOT__: is not a known key (value 1)",
            f"flag --low: limits.low {UNKNOWN} (value 1); did you mean limits.low_bps?",
        ]
    )


def test_a_key_in_the_wrong_section_is_found(tmp_path: Path) -> None:
    """The right name in the wrong place gets the right place."""
    assert refuse(tmp_path, "low_bps: 1\n") == [
        "0.yaml:1: low_bps is not a known key (value 1); did you mean limits.low_bps?"
    ]


def test_a_secret_under_a_wrong_key_is_masked(tmp_path: Path) -> None:
    """The message says where credentials belong and does not repeat one."""
    problems = refuse(tmp_path, "limits:\n  api_key: hunter2\n")

    assert "hunter2" not in problems[0]
    assert "credentials come from the environment" in problems[0]


def test_a_value_for_a_section_is_refused_and_an_empty_section_is_fine(tmp_path: Path) -> None:
    """`limits:` with every key commented out sets nothing; `limits: 5` is a mistake."""
    assert run(files(tmp_path, "limits:\n")).settings == Root()
    assert refuse(tmp_path, "limits: 5\n") == [
        "0.yaml:1: limits was 5: a mapping of keys was expected"
    ]


def test_nothing_for_a_value_is_refused(tmp_path: Path) -> None:
    """`low_bps:` without a value is not the default in disguise."""
    assert refuse(tmp_path, "limits:\n  low_bps:\n") == [
        f"0.yaml:2: limits.low_bps was nothing: {EXPECTED}"
    ]


def test_a_mapping_for_a_value_is_refused(tmp_path: Path) -> None:
    """Deeper than the tree goes, nothing is known."""
    problems = refuse(tmp_path, "limits:\n  low_bps: {a: 1}\n")

    assert problems[0].startswith("0.yaml:2: limits.low_bps was {'a': 1}: a number in bps")


def test_broken_files_and_earlier_problems_are_listed_together(tmp_path: Path) -> None:
    """A broken file does not hide the next one's problems."""
    paths = files(tmp_path, "a: [\n", "limitz: 1\n")
    with pytest.raises(ConfigError) as caught:
        load(Root, Sources(paths), problems=[Problem("broke earlier", "X")])

    text = str(caught.value)
    assert "X broke earlier" in text
    assert "is not valid YAML" in text
    assert "limitz is not a known key" in text


def test_old_keys_are_converted_with_a_warning_that_names_the_new(tmp_path: Path) -> None:
    """.0002 as a ratio is 2 bps; each use is told with its line."""
    loaded = run(files(tmp_path, "old_low: .0002\nold:\n  name: x\ngone: 1\noff: 1\n"))

    assert loaded.settings.limits == Limits(low_bps=2, name="x")
    assert [str(w).replace(f"{tmp_path}/", "") for w in loaded.warnings] == [
        "0.yaml:1: old_low is an old key; write limits.low_bps: 2",
        "0.yaml:2: old.name is an old key; write limits.name: x".replace(":2:", ":3:"),
        "0.yaml:4: gone is an old key without effect in this version: it is gone",
        "0.yaml:5: off is an old key whose value says nothing new; leave it out",
    ]
    assert loaded.explain("limits.low_bps").old_keys == ("old_low",)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0.6", "was 0.6: a ratio from 0 to 0.5 was expected; write limits.low_bps instead"),
        ("-0.1", "was -0.1: a ratio from 0 to 0.5 was expected"),
        ("abc", "was abc: a number was expected"),
        ("true", "was True: a number was expected"),
        (".nan", "was nan: a finite number was expected"),
        ("[1]", "was [1]: a number was expected"),
    ],
)
def test_an_old_value_out_of_range_is_refused(tmp_path: Path, value: str, problem: str) -> None:
    """A ratio of .6 was meant as something else; nobody guesses what."""
    assert problem in refuse(tmp_path, f"old_low: {value}\n")[0]


def test_an_old_and_a_new_key_for_one_thing_clash_in_one_file_only(tmp_path: Path) -> None:
    """Across files the later wins as always; within a file nobody can say which was meant."""
    problems = refuse(tmp_path, "old_low: .0002\nlimits: {low_bps: 3}\n")
    assert len(problems) == 1
    assert "0.yaml:1: old_low is set here and by limits.low_bps" in problems[0]

    loaded = run(files(tmp_path, "old_low: .0002\n", "limits: {low_bps: 3}\n"))
    assert loaded.settings.limits.low_bps == 3


def test_an_old_key_may_depend_on_the_type_of_its_value(tmp_path: Path) -> None:
    """A list under a name that now is a section is the old key."""
    assert run(files(tmp_path, "by_name: [a]\n")).settings.limits.name == "from-list"


def test_an_alias_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    """A table with a stale target fails loudly."""
    assert "limits.nothing is not a known key" in refuse(tmp_path, "broken: 1\n")[0]


def test_checks_are_placed_at_the_first_key_that_somebody_set(tmp_path: Path) -> None:
    """A rule over several values points to a line where there is one."""

    def check(loaded: Loaded[Root]) -> Iterator[Violation]:
        yield Violation("do not agree", ("limits.low_bps", "limits.name"))
        yield Violation("is not right", ("limits.high_bps",))
        yield Violation("something is off")

    with pytest.raises(SettingsError) as caught:
        run(files(tmp_path, "limits:\n  name: x\n"), checks=(check,))

    assert lines(caught.value, tmp_path) == [
        "0.yaml:2: limits.name do not agree",
        "limits.high_bps is not right",
        "something is off",
    ]


def test_checks_run_beside_other_problems_but_not_on_refused_values(tmp_path: Path) -> None:
    """A rule over a refused value would only repeat the news."""

    def check(loaded: Loaded[Root]) -> Iterator[Violation]:
        yield Violation("rests on low", ("limits.low_bps",))
        yield Violation("rests on limits", ("limits",))
        yield Violation("rests on mode", ("mode",))

    with pytest.raises(SettingsError) as caught:
        run(files(tmp_path, "mode: demo\nlimits: {low_bps: 500}\n"), checks=(check,))

    assert [problem.message for problem in caught.value.problems][1:] == ["rests on mode"]


def test_a_contradiction_is_not_told_twice_over_a_refused_value(tmp_path: Path) -> None:
    """`low_bps` is refused; that it is above `high_bps` follows."""
    assert len(refuse(tmp_path, "limits: {low_bps: 500, high_bps: 0.5}\n")) == 1


def test_contradicting_defaults_end_in_a_problem() -> None:
    """A room with impossible defaults cannot loop the loader."""

    class Bad(SettingsModel):
        a: int = setting(1, "A.")

        @model_validator(mode="after")
        def _never(self) -> Self:
            raise contradiction("is impossible", "a")

    class BadRoot(SettingsModel):
        bad: dict[str, Bad] = setting({}, "Bad.")

    with pytest.raises(SettingsError, match="is impossible"):
        load(BadRoot, Sources(flags=(Flag("bad", "--bad", {"x": {"a": 1}}),)))


def test_a_rule_that_nothing_can_satisfy_ends_in_a_problem() -> None:
    """Setting every value aside does not help; the loader stops and says why."""

    class Never(SettingsModel):
        a: int = setting(1, "A.")

        @model_validator(mode="after")
        def _never(self) -> Self:
            raise contradiction("is impossible", "a")

    with pytest.raises(SettingsError) as caught:
        load(Never, Sources())

    assert [str(problem) for problem in caught.value.problems] == ["default: a is impossible"]


def test_a_mode_field_is_not_needed() -> None:
    """Profiles belong to trees that have a mode."""
    assert load(Limits, Sources(), profiles=PROFILES).settings == Limits()


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("limits.lowbps", "limits.lowbps is not a known key; did you mean limits.low_bps?"),
        ("limits", "limits is a section; name one of its keys"),
        ("by_name", "by_name is a section"),
    ],
)
def test_only_known_keys_are_explained(key: str, problem: str) -> None:
    """A wrong name gets a suggestion."""
    with pytest.raises(SettingsError, match=problem.replace("?", r"\?")):
        run().explain(key)


def test_an_explanation_says_everything(tmp_path: Path) -> None:
    """As text for people and as a mapping for programs."""
    loaded = run(files(tmp_path, "limits: {low_bps: 2}\nby_name: {a: {name: x}}\n"))
    told = loaded.explain("limits.low_bps")

    assert told.as_dict() == {
        "key": "limits.low_bps",
        "value": "2",
        "source": f"{tmp_path}/0.yaml:1",
        "overridden": [{"value": "1", "source": "default"}],
        "description": "Low.",
        "type": "a number",
        "unit": "bps",
        "range": "at least 0, at most 100",
        "default": "1",
        "old_keys": ["old_low"],
        "per_venue_or_symbol": False,
    }
    assert "limits.low_bps = 2 bps" in told.text()
    assert loaded.explain("by_name.a.name").value == "x"
    assert loaded.explain("by_name.b.name").value is None
    assert loaded.origin("by_name").layer is Layer.FILE


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.integers(), st.text(max_size=5))))
def test_any_flag_or_variable_ends_in_settings_or_in_problems(values: dict[str, object]) -> None:
    """No input raises anything but SettingsError."""
    flags = tuple(Flag(key, "--x", value) for key, value in values.items())
    outcome: object = None
    with contextlib.suppress(SettingsError):
        outcome = run(environ={f"PERPBOT__{k}": str(v) for k, v in values.items()}, flags=flags)

    assert outcome is None or isinstance(outcome, Loaded)
