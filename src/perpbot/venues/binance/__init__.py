"""Binance USD-M futures: https://developers.binance.com/docs/derivatives/usds-margined-futures."""

from perpbot.venues.binance.signing import BinanceCredentials
from perpbot.venues.binance.venue import BinanceVenue, create

__all__ = ["BinanceCredentials", "BinanceVenue", "create"]
