"""What a key may do at its venue, as the venue tells it."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """Rights of one key; None where the venue cannot tell."""

    trade: bool | None = None
    withdraw: bool | None = None
    transfer: bool | None = None
    """Move money to another account."""
    address_bound: bool | None = None
    """Whether it works from listed addresses only."""
    note: str = ""
    """What else there is to know, in plain words."""

    def objections(self) -> list[str]:
        """Return why no real money should be traded with this key; usually nothing."""
        found = []
        if self.trade is False:
            found.append("it cannot trade")
        if self.withdraw:
            found.append("it can withdraw: make a key without that right")
        if self.transfer:
            found.append("it can transfer money to other accounts: make a key without that right")
        return found

    def warnings(self) -> list[str]:
        """Return what a careful owner would change or should know."""
        found = []
        if self.address_bound is False:
            found.append("it works from any address: bind it to yours")
        asked = {
            "trade": self.trade,
            "withdraw": self.withdraw,
            "transfer": self.transfer,
            "be bound to addresses": self.address_bound,
        }
        silent = [name for name, answer in asked.items() if answer is None]
        if silent:
            found.append(f"the venue does not tell whether it may {', '.join(silent)}")
        return found

    def summary(self) -> str:
        """Return the rights in one line."""
        words = {True: "yes", False: "no", None: UNKNOWN}
        text = (
            f"trade {words[self.trade]}, withdraw {words[self.withdraw]},"
            f" transfer {words[self.transfer]}, bound to addresses {words[self.address_bound]}"
        )
        return f"{text} ({self.note})" if self.note else text
