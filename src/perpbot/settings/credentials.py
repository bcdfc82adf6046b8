"""Keys to the venues: which variables hold them, and who may read them.

Only testnet and live read credentials; in every other mode the variables are not even looked at.
Each variable `X` may instead be given as `X_FILE`, the path of a private file that holds the value
(Docker and systemd secrets). What no variable gives is looked for in the keystore; one venue never
takes some parts from here and some from there. A venue with some but not all of its required
fields is refused; a venue with none is read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from perpbot.domain.errors import ConfigError
from perpbot.settings.environment import Environment, Variable
from perpbot.settings.modes import Mode
from perpbot.settings.private_files import read_private
from perpbot.settings.problems import Layer, Origin, Problem, SettingsError
from perpbot.settings.secret import Secret


@dataclass(frozen=True, slots=True)
class CredentialField:
    """One credential: its name in code, its variable, other accepted variables."""

    name: str
    variable: str
    description: str
    aliases: tuple[str, ...] = ()
    required: bool = True

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that may hold it, the preferred first."""
        return (self.variable, *self.aliases)


VENUE_CREDENTIALS: Mapping[str, tuple[CredentialField, ...]] = {
    "binance": (
        CredentialField("api_key", "BINANCE_API_KEY", "API key with futures permission"),
        CredentialField(
            "api_secret", "BINANCE_API_SECRET", "its secret", aliases=("BINANCE_SECRET",)
        ),
    ),
    "okx": (
        CredentialField("api_key", "OKX_API_KEY", "API key with trade permission"),
        CredentialField("api_secret", "OKX_API_SECRET", "its secret"),
        CredentialField(
            "passphrase",
            "OKX_PASSPHRASE",
            "the passphrase chosen with the key",
            aliases=("OKX_API_PASSPHRASE",),
        ),
    ),
    "hyperliquid": (
        CredentialField(
            "private_key",
            "HYPERLIQUID_PK",
            "private key of an approved agent wallet",
            aliases=("HYPERLIQUID_PRIVATE_KEY",),
        ),
        CredentialField(
            "account_address",
            "HYPERLIQUID_ACCOUNT_ADDRESS",
            "address of the master account that the agent trades for",
        ),
        CredentialField(
            "vault_address",
            "HYPERLIQUID_VAULT_ADDRESS",
            "address of the vault or sub-account, if the agent trades for one",
            required=False,
        ),
    ),
}
"""The credentials of the venues that this version has."""

CONSOLE_TOKEN = CredentialField(
    "token", "PERPBOT_CONSOLE_TOKEN", "token that opens the console", required=False
)


class Credentials(Mapping[str, Secret]):
    """The secrets of one venue by field name. Empty means read-only."""

    def __init__(
        self, venue: str, values: Mapping[str, Secret] | None = None, source: str = ""
    ) -> None:
        """`source` says in words where they came from."""
        self.venue = venue
        self.source = source
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> Secret:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Credentials({self.venue!r}, {sorted(self._values)})"

    def revealed(self) -> dict[str, str]:
        """Return the plain texts, for whoever signs with them."""
        return {name: secret.reveal() for name, secret in self._values.items()}


def load_credentials(
    venue: str,
    mode: Mode,
    environment: Environment,
    fields: tuple[CredentialField, ...] | None = None,
    *,
    account: str = "",
) -> Credentials:
    """Return the credentials of `venue` in `mode`; empty where the mode reads none.

    `fields` defaults to the table above; a venue of an extension brings its own. With `account`
    (`sub1`) the variables are those of a second set: `OKX__SUB1__API_KEY`. Raises
    `SettingsError` with every problem: missing parts, unreadable files, a value given twice.
    """
    if not mode.sends_orders_out:
        return Credentials(venue)
    fields = fields_of(venue, account, fields)
    problems: list[Problem] = []
    values: dict[str, Secret] = {}
    sources: list[str] = []
    for field in fields:
        found, wrong = read_secret(field, environment)
        problems += wrong
        if found is not None:
            values[field.name] = found
            sources += [str(given.origin) for given in given_variables(field, environment)]
    missing = [field for field in fields if field.required and field.name not in values]
    if values and not problems:
        problems += [
            Problem(
                f"is not set, though other credentials of {venue} are: {field.description}",
                field.variable,
            )
            for field in missing
        ]
    if problems:
        raise SettingsError(problems)
    if not values:
        return _stored(venue, account, fields, environment)
    return Credentials(venue, values, ", ".join(sources))


def fields_of(
    venue: str, account: str = "", fields: tuple[CredentialField, ...] | None = None
) -> tuple[CredentialField, ...]:
    """Return the credentials of one account of a venue, by the variables of that account."""
    if fields is None:
        fields = VENUE_CREDENTIALS.get(venue, ())
    if not account:
        return fields
    return tuple(_of_account(field, venue, account) for field in fields)


def _stored(
    venue: str, account: str, fields: tuple[CredentialField, ...], environment: Environment
) -> Credentials:
    """Return what the keystore has. Raises `SettingsError` where it does not open or fit."""
    store = environment.keystore
    try:
        key = store.find(venue, account)
    except (ConfigError, OSError) as error:
        message = f"has no key in any variable, and {error}"
        raise SettingsError([Problem(message, f"venues.{venue}")]) from None
    if key is None:
        return Credentials(venue)
    source = f"keystore {store.path} (key {key.fingerprint})"
    lacking = [field.name for field in fields if field.required and field.name not in key.fields]
    unknown = sorted(set(key.fields) - {field.name for field in fields})
    if lacking or unknown:
        words = [f"lacks {name}" for name in lacking] + [f"has unknown {name}" for name in unknown]
        message = f"{' and '.join(words)}: perpbot keys rotate {venue} takes a whole new key"
        raise SettingsError([Problem(message, f"key of {venue}", Origin(Layer.FILE, source))])
    return Credentials(venue, key.fields, source)


def _of_account(field: CredentialField, venue: str, account: str) -> CredentialField:
    prefix = venue.upper()

    def rename(variable: str) -> str:
        return f"{prefix}__{account.upper()}__{variable.removeprefix(f'{prefix}_')}"

    aliases = tuple(rename(alias) for alias in field.aliases)
    return replace(field, variable=rename(field.variable), aliases=aliases)


def read_secret(
    field: CredentialField, environment: Environment
) -> tuple[Secret | None, list[Problem]]:
    """Read one credential from its variable, an alias, or the file of its `_FILE` variable."""
    given = given_variables(field, environment)
    if not given:
        return None, []
    if len(given) > 1:
        names = ", ".join(f"{variable.name} ({variable.origin})" for variable in given)
        return None, [Problem(f"is given more than once: {names}; keep one", field.variable)]
    return _read(given[0], from_file=given[0].name not in field.variables)


def given_variables(field: CredentialField, environment: Environment) -> list[Variable]:
    """Return every variable that gives a credential; more than one is a mistake."""
    return [
        variable
        for name in field.variables
        for variable in (environment.get(name), environment.get(f"{name}_FILE"))
        if variable is not None
    ]


def _read(variable: Variable, *, from_file: bool) -> tuple[Secret | None, list[Problem]]:
    if not from_file:
        return Secret(variable.text.strip()), []
    path = Path(variable.text.strip())
    try:
        text = read_private(path, follow=True, own=False).decode().strip()
    except ConfigError as error:
        return None, [Problem(f"names a file, and {error}", variable.name, variable.origin)]
    except OSError as error:
        reason = f"names {path}, which cannot be read: {error.strerror}"
        return None, [Problem(reason, variable.name, variable.origin)]
    except UnicodeDecodeError:
        reason = f"names {path}, which is not text"
        return None, [Problem(reason, variable.name, variable.origin)]
    if not text:
        reason = f"names {path}, which is empty"
        return None, [Problem(reason, variable.name, variable.origin)]
    return Secret(text), []
