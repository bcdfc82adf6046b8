"""Secrets stay secret wherever values usually leak."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from pydantic import ValidationError

from perpbot.settings import Secret, SettingsModel, looks_secret, mask_value, setting

TEXT = "hunter2-hunter2"


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(TEXT)),
        str(Secret(TEXT)),
        f"{Secret(TEXT)}",
        f"{Secret(TEXT):>20}",
        f"{Secret(TEXT)!r}",
        "%s" % Secret(TEXT),  # noqa: UP031
        str([Secret(TEXT)]),
        json.dumps({"key": Secret(TEXT)}, default=str),
    ],
)
def test_every_way_of_writing_a_secret_shows_a_mask(shown: str) -> None:
    """Only reveal gives the text."""
    assert TEXT not in shown
    assert "****" in shown


def test_reveal_gives_the_text() -> None:
    """The owner can still use it."""
    assert Secret(TEXT).reveal() == TEXT


def test_a_secret_cannot_be_pickled_or_hashed() -> None:
    """Neither a pickle nor a set may carry it away."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(TEXT))
    with pytest.raises(TypeError):
        hash(Secret(TEXT))


def test_a_deep_copy_is_the_secret_itself() -> None:
    """Copying settings does not multiply secrets."""
    secret = Secret(TEXT)

    assert copy.deepcopy([secret])[0] is secret


def test_secrets_compare_by_text_and_know_if_they_are_empty() -> None:
    """Equality and truth work as for texts, and never with plain texts."""
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT
    assert bool(Secret(TEXT))
    assert not bool(Secret(""))


class Model(SettingsModel):
    token: Secret = setting(Secret("none"), "A token.")


def test_a_model_takes_a_text_and_dumps_a_mask() -> None:
    """Neither a dump, nor JSON, nor repr of a model shows a secret."""
    model = Model.model_validate({"token": TEXT})

    assert model.token.reveal() == TEXT
    assert TEXT not in repr(model)
    assert TEXT not in str(model.model_dump())
    assert TEXT not in model.model_dump_json()
    assert Model(token=Secret(TEXT)) == model


def test_a_model_refuses_what_is_no_text() -> None:
    """A number is no secret."""
    with pytest.raises(ValidationError):
        Model.model_validate({"token": 5})


@pytest.mark.parametrize(
    "name",
    ["okx.api_key", "API_SECRET", "passphrase", "HYPERLIQUID_PK", "venues.x.pk", "webhook_url"],
)
def test_telling_names_look_secret(name: str) -> None:
    """Names of credentials are known by their look."""
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["risk.max_slippage_bps", "simulation.seed", "pkg", "keep_days"])
def test_ordinary_names_do_not_look_secret(name: str) -> None:
    """A limit is shown in full."""
    assert not looks_secret(name)
    assert mask_value(name, 12) == "12"


def test_a_value_with_the_shape_of_a_key_is_masked_under_any_name() -> None:
    """A private key pasted under a misspelt name is not repeated in the message."""
    assert mask_value("typo", "0x" + "ab" * 32) == "********"


def test_long_values_are_cut() -> None:
    """A message stays a line."""
    assert len(mask_value("name", "a b " * 100)) == 80
