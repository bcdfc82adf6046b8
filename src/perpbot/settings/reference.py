"""Pages made from the models: every default in one table a section, and the variables of `.env`.

Generated text is committed and a test compares it, so that it cannot fall behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from perpbot.settings.aliases import Alias, AliasTable
from perpbot.settings.credentials import CredentialField
from perpbot.settings.explanation import show
from perpbot.settings.fields import FieldNote, leaves, sections


def schema(root: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root.model_json_schema(by_alias=False),
    }


def reference_page(
    root: type[BaseModel],
    *,
    introduction: str,
    section: Callable[[str], str | None] = lambda name: name,
    aliases: AliasTable | None = None,
    profiles: Mapping[str, Mapping[str, object]] | None = None,
) -> str:
    """Return the Markdown page of every key.

    `section` gives the title of a section by its key, or None to leave it out.
    """
    table = aliases or AliasTable()
    texts = sections(root)
    by_section: dict[str, list[FieldNote]] = {}
    for note in leaves(root):
        by_section.setdefault(note.key.rpartition(".")[0], []).append(note)
    parts = [introduction.rstrip()]
    for key, notes in by_section.items():
        title = section(key) if key else ""
        if title is None:
            continue
        parts.append(f"## `{title}`" if title else "## At the top")
        if texts.get(key):
            parts.append(texts[key])
        parts.append(_table(notes, table))
    if profiles:
        parts += ["## Defaults that depend on the mode", _profiles(profiles)]
    if old := list(table):
        parts += ["## Old keys", _old_keys(old)]
    return "\n\n".join(parts) + "\n"


def env_example(
    venues: Mapping[str, tuple[CredentialField, ...]], others: Iterable[CredentialField] = ()
) -> str:
    """Return the text of `.env.example`: every variable that is read, commented out."""
    lines = [
        "# Copy to .env and run: chmod 600 .env",
        "# Credentials are read in testnet and live only. Without them a venue is read-only.",
        "# Each NAME may instead be NAME_FILE, the path of a file that holds the value.",
        "# Better: perpbot keys add VENUE keeps them encrypted (PERPBOT_KEYSTORE says where else,",
        "# PERPBOT_KEYSTORE_PASSPHRASE_FILE what opens it where nobody types).",
        "# Any setting may stand here too: PERPBOT__SECTION__KEY=value",
        "",
    ]
    for venue, fields in venues.items():
        lines.append(f"# {venue}")
        for field in fields:
            lines += _variable(field)
        lines.append("")
    for field in others:
        lines += _variable(field)
    return "\n".join(lines).rstrip() + "\n"


def _variable(field: CredentialField) -> list[str]:
    notes = "" if field.required else " (optional)"
    if field.aliases:
        notes += f" (also read: {', '.join(field.aliases)})"
    return [f"# {field.description}{notes}", f"#{field.variable}="]


def _table(notes: list[FieldNote], aliases: AliasTable) -> str:
    rows = ["| key | default | unit | range | meaning |", "|---|---|---|---|---|"]
    for note in notes:
        name = note.key.rpartition(".")[2]
        default = show(note.default)
        limits = note.limits or (note.type_name if note.type_name.startswith("one of") else "")
        meaning = note.description + (" *" if note.override else "")
        if old := aliases.of(note.key):
            meaning += f" (once {', '.join(f'`{name}`' for name in old)})"
        cells = (f"`{name}`", f"`{default}`" if default else "", note.unit, limits, meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _profiles(profiles: Mapping[str, Mapping[str, object]]) -> str:
    rows = ["| mode | key | default |", "|---|---|---|"]
    for mode, changes in profiles.items():
        rows += [f"| {mode} | `{key}` | `{show(value)}` |" for key, value in changes.items()]
    return "\n".join(rows)


def _old_keys(aliases: list[Alias]) -> str:
    rows = ["| old key | now |", "|---|---|"]
    for alias in aliases:
        now = f"`{alias.new}`" if alias.convert else f"no effect: {alias.reason}"
        rows.append(f"| `{alias.old}` | {now} |")
    return "\n".join(rows)
