"""What people set: layers of sources, their origins, secrets, modes and logs.

Rooms declare their own models with `SettingsModel` and `setting`; the tree is put together above
all of them. Nothing here knows a room.
"""

from __future__ import annotations

from perpbot.settings.aliases import Alias, AliasTable, OldValueError, number, same, scaled
from perpbot.settings.credentials import (
    CONSOLE_TOKEN,
    VENUE_CREDENTIALS,
    CredentialField,
    Credentials,
    fields_of,
    given_variables,
    load_credentials,
    read_secret,
)
from perpbot.settings.environment import Environment, Variable, read_environment
from perpbot.settings.explanation import Explanation, show, value_at
from perpbot.settings.fields import FieldNote, KeyReader, leaves
from perpbot.settings.keystore import KeyRing, StoredKey, change_keys, read_keys
from perpbot.settings.loader import Flag, Loaded, Sources, load
from perpbot.settings.logging import LoggingSettings, Logs, start_logging
from perpbot.settings.model import (
    SettingsModel,
    apply_overrides,
    contradiction,
    demand,
    demand_whole,
    overrides_of,
    setting,
)
from perpbot.settings.modes import Mode
from perpbot.settings.problems import Layer, Origin, Problem, SettingsError, Violation
from perpbot.settings.redaction import Redactor
from perpbot.settings.reference import env_example, reference_page, schema
from perpbot.settings.secret import Secret, looks_secret, mask_value
from perpbot.settings.unlocking import find_passphrase, keystore_path, passphrase_of_file

__all__ = [
    "CONSOLE_TOKEN",
    "VENUE_CREDENTIALS",
    "Alias",
    "AliasTable",
    "CredentialField",
    "Credentials",
    "Environment",
    "Explanation",
    "FieldNote",
    "Flag",
    "KeyReader",
    "KeyRing",
    "Layer",
    "Loaded",
    "LoggingSettings",
    "Logs",
    "Mode",
    "OldValueError",
    "Origin",
    "Problem",
    "Redactor",
    "Secret",
    "SettingsError",
    "SettingsModel",
    "Sources",
    "StoredKey",
    "Variable",
    "Violation",
    "apply_overrides",
    "change_keys",
    "contradiction",
    "demand",
    "demand_whole",
    "env_example",
    "fields_of",
    "find_passphrase",
    "given_variables",
    "keystore_path",
    "leaves",
    "load",
    "load_credentials",
    "looks_secret",
    "mask_value",
    "number",
    "overrides_of",
    "passphrase_of_file",
    "read_environment",
    "read_keys",
    "read_secret",
    "reference_page",
    "same",
    "scaled",
    "schema",
    "setting",
    "show",
    "start_logging",
    "value_at",
]
