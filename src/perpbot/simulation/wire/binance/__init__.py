"""Binance USD-M futures on loopback: REST, streams, user data and the websocket API.

Read from the public documentation of the venue, without the adapter: a mistake of the one is not
repeated by the other.
"""

from perpbot.simulation.wire.binance.server import BinanceServer as Server

__all__ = ["Server"]
