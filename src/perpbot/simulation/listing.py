"""What an exchange trades now, by symbol: a contract may be listed anew with other steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from perpbot.simulation.model import Contract, ExchangeView


class Listing(Mapping[str, Contract]):
    """See the module. Follows the exchange by itself."""

    def __init__(self, exchange: ExchangeView) -> None:
        self._exchange = exchange
        self._known: Sequence[Contract] = ()
        self._by_symbol: dict[str, Contract] = {}

    def _now(self) -> dict[str, Contract]:
        contracts = self._exchange.contracts()
        if contracts is not self._known:
            self._known = contracts
            self._by_symbol = {contract.symbol: contract for contract in contracts}
        return self._by_symbol

    def __getitem__(self, symbol: str) -> Contract:
        return self._now()[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())
