"""The true books, kept apart from everything they judge.

An accountant hears every execution, funding payment, transfer and mark of all exchanges as plain
calls and shares no arithmetic with the exchange or the node. It uses the cash-flow method: price
profit of an account in an asset is the sum of -quantity x price over its executions (what selling
brought less what buying cost) plus the position at the last mark. No average price, no order of
closing, no rounding: when everything is flat, price + fees + funding is exact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypedDict

_ZERO = Decimal(0)


class AccountantSummary(TypedDict):
    """The books at the last marks; amounts in settle currency, costs negative."""

    net: Decimal
    price: Decimal
    fees: Decimal
    funding: Decimal
    positions: list[tuple[str, str, str, Decimal]]
    executions: int
    executions_per_client_id: dict[str, int]
    worst_unhedged_ns: int
    worst_unhedged_usd: Decimal
    worst_unhedged_usd_s: Decimal


class _Line:
    """One account in one asset."""

    __slots__ = ("cash", "fees", "funding", "mark", "position")

    def __init__(self) -> None:
        self.position = _ZERO
        self.cash = _ZERO
        self.fees = _ZERO
        self.funding = _ZERO
        self.mark = _ZERO

    @property
    def price_profit(self) -> Decimal:
        return self.cash + self.position * self.mark if self.position else self.cash


class _Exposure:
    """The net of one asset over all venues, and for how long it has been open."""

    __slots__ = ("net", "price", "since_ns", "touched_ns", "usd_ns")

    def __init__(self) -> None:
        self.net = _ZERO
        self.price = _ZERO
        self.since_ns: int | None = None
        self.touched_ns = 0
        self.usd_ns = _ZERO


class Accountant:
    """One book for all venues. `dust` gives the net by asset below which it counts as hedged."""

    def __init__(self, dust: dict[str, Decimal] | None = None) -> None:
        self._dust = dict(dust or {})
        self._lines: dict[tuple[str, str, str], _Line] = {}
        self._exposures: dict[str, _Exposure] = {}
        self._transfers: dict[tuple[str, str, str], Decimal] = {}
        self._marks: dict[tuple[str, str], Decimal] = {}
        self._accounts: dict[str, set[str]] = {}
        """Accounts with a line, by venue."""
        self._per_client_id: dict[str, int] = {}
        self._executions = 0
        self._worst_ns = 0
        self._worst_usd = _ZERO
        self._worst_usd_ns = _ZERO

    # --- what happened ---------------------------------------------------------------------------

    def executed(
        self,
        *,
        venue: str,
        account: str,
        asset: str,
        client_id: str,
        signed_quantity: Decimal,
        price: Decimal,
        fee: Decimal,
        ts_ns: int,
    ) -> None:
        """One execution of one account; a buy is positive, a positive fee is a cost."""
        line = self._line(venue, account, asset)
        line.position += signed_quantity
        line.cash -= signed_quantity * price
        line.fees += fee
        line.mark = self._marks.get((venue, asset), price)
        self._executions += 1
        if client_id:
            self._per_client_id[client_id] = self._per_client_id.get(client_id, 0) + 1
        self._expose(asset, signed_quantity, price, ts_ns)

    def funded(self, *, venue: str, account: str, asset: str, amount: Decimal) -> None:
        """One funding payment; positive was received."""
        self._line(venue, account, asset).funding += amount

    def transferred(self, *, venue: str, account: str, currency: str, amount: Decimal) -> None:
        """Money that came in (positive) or went out; no profit."""
        key = (venue, account, currency)
        self._transfers[key] = self._transfers.get(key, _ZERO) + amount

    def marked(self, *, venue: str, asset: str, price: Decimal, ts_ns: int) -> None:
        """The mark price of an asset at a venue."""
        self._marks[(venue, asset)] = price
        for account in self._accounts.get(venue, ()):
            line = self._lines.get((venue, account, asset))
            if line is not None:
                line.mark = price
        exposure = self._exposures.get(asset)
        if exposure is not None and exposure.since_ns is not None:
            self._run_up(exposure, ts_ns)
            exposure.price = price

    # --- what it says ----------------------------------------------------------------------------

    def position(self, venue: str, account: str, asset: str) -> Decimal:
        """The true position: the sum of all executions."""
        line = self._lines.get((venue, account, asset))
        return _ZERO if line is None else line.position

    def equity(self, venue: str, account: str, currency: str) -> Decimal:
        """Transfers plus profit at the last marks; for venues with one settle currency."""
        total = self._transfers.get((venue, account, currency), _ZERO)
        for (of_venue, of_account, _), line in self._lines.items():
            if (of_venue, of_account) == (venue, account):
                total += line.price_profit - line.fees + line.funding
        return total

    def worst_unhedged_ns(self, now_ns: int | None = None) -> int:
        """Longest time that an asset's net stayed above dust; `now_ns` counts open ones too."""
        worst = self._worst_ns
        if now_ns is not None:
            for exposure in self._exposures.values():
                if exposure.since_ns is not None:
                    worst = max(worst, now_ns - exposure.since_ns)
        return worst

    def summary(self, now_ns: int | None = None) -> AccountantSummary:
        """The books at the last marks. `positions` lists (venue, account, asset, quantity)."""
        price = sum((line.price_profit for line in self._lines.values()), _ZERO)
        fees = -sum((line.fees for line in self._lines.values()), _ZERO)
        funding = sum((line.funding for line in self._lines.values()), _ZERO)
        for exposure in self._exposures.values():
            if now_ns is not None and exposure.since_ns is not None:
                self._run_up(exposure, now_ns)
        return AccountantSummary(
            net=price + fees + funding,
            price=price,
            fees=fees,
            funding=funding,
            positions=[
                (*key, line.position) for key, line in sorted(self._lines.items()) if line.position
            ],
            executions=self._executions,
            executions_per_client_id=dict(self._per_client_id),
            worst_unhedged_ns=self.worst_unhedged_ns(now_ns),
            worst_unhedged_usd=self._worst_usd,
            worst_unhedged_usd_s=self._worst_usd_ns / 1_000_000_000,
        )

    # --- exposure --------------------------------------------------------------------------------

    def _line(self, venue: str, account: str, asset: str) -> _Line:
        key = (venue, account, asset)
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = _Line()
            self._accounts.setdefault(venue, set()).add(account)
        return found

    def _expose(self, asset: str, signed: Decimal, price: Decimal, ts_ns: int) -> None:
        exposure = self._exposures.setdefault(asset, _Exposure())
        dust = self._dust.get(asset, _ZERO)
        was_open = exposure.since_ns is not None
        if was_open:
            self._run_up(exposure, ts_ns)
        before = exposure.net
        exposure.net += signed
        exposure.price = price
        if abs(exposure.net) <= dust:
            if was_open:
                self._close(exposure, ts_ns)
            return
        # A net that turned was covered for a moment: a new exposure begins.
        turned = was_open and before * exposure.net < 0
        if turned:
            self._close(exposure, ts_ns)
        if not was_open or turned:
            exposure.since_ns = exposure.touched_ns = ts_ns
            exposure.usd_ns = _ZERO
        self._worst_usd = max(self._worst_usd, abs(exposure.net) * price)

    def _run_up(self, exposure: _Exposure, ts_ns: int) -> None:
        exposure.usd_ns += abs(exposure.net) * exposure.price * (ts_ns - exposure.touched_ns)
        exposure.touched_ns = ts_ns
        self._worst_usd_ns = max(self._worst_usd_ns, exposure.usd_ns)

    def _close(self, exposure: _Exposure, ts_ns: int) -> None:
        assert exposure.since_ns is not None
        self._worst_ns = max(self._worst_ns, ts_ns - exposure.since_ns)
        exposure.since_ns = None
