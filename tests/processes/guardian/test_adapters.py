"""The guardian through every real adapter, over real sockets, one venue dead for a while."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from perpbot.app.guarding import run_guardian
from perpbot.configuration import load_configuration
from perpbot.domain.sides import Purpose, Side
from perpbot.guardian.epoch import epoch_number
from perpbot.guardian.pulse import Pulse, TakenOver
from perpbot.guardian.record import Fact
from perpbot.settings import Flag
from tests.processes.guardian.rig import hand_at, open_rig

pytestmark = [pytest.mark.slow, pytest.mark.blocking, pytest.mark.timeout(150)]

VENUES = ("binance", "okx", "hyperliquid")


async def test_every_venue_is_cleared_and_levelled(tmp_path: Path) -> None:
    """Cancels at once where somebody answers; closes when all legs are known; stops stay."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(
            open_rig(tmp_path, {"guardian.flatten_after_s": 1.0}, venues=VENUES)
        )
        hands = {
            name: await stack.enter_async_context(hand_at(rig.exchanges.server(name)))
            for name in VENUES
        }
        ours, stays = {}, {}
        for name, hand in hands.items():
            ours[name] = await hand.order("ETH-PERP", Side.BUY, "0.05", away_bps=500)
            stays[name] = [
                await hand.order(
                    "ETH-PERP", Side.BUY, "0.05", away_bps=600, purpose=Purpose.PROTECT
                ),
                await hand.order("ETH-PERP", Side.BUY, "0.05", away_bps=700, account="other"),
            ]
        await hands["okx"].order("BTC-PERP", Side.BUY, "0.06")
        await hands["binance"].order("BTC-PERP", Side.SELL, "0.02")
        await hands["hyperliquid"].order("SOL-PERP", Side.SELL, "2")
        pulse = Pulse(rig.state, run="1-1", epoch=4, lease_s=0.5)
        pulse.beat()
        facts: list[Fact] = []
        stop = asyncio.Event()
        configuration = load_configuration(
            [tmp_path / "config.yaml"],
            environ=rig.environment,
            flags=(
                Flag("mode", "--testnet", "testnet"),
                Flag("paths.state_dir", "test", str(tmp_path / "state")),
            ),
        )
        guarding = asyncio.create_task(run_guardian(configuration, stop, tell=facts.append))

        def told(kind: str) -> list[Fact]:
            return [fact for fact in facts if fact["kind"] == kind]

        await rig.until("keys", lambda: sum(f["ready"] for f in told("hand")) == len(VENUES))
        rig.proxies["binance"].refuse()
        rig.proxies["binance"].reset()
        await rig.until("word of the dead venue", lambda: told("waiting"))
        assert told("waiting")[0]["venues"] == ["binance"]
        for name in ("okx", "hyperliquid"):
            assert ours[name].client_id not in await hands[name].open_ids()
        assert not told("submit")
        rig.proxies["binance"].heal()
        await rig.until("level", lambda: told("level"))

        for name, hand in hands.items():
            left = await hand.open_ids()
            assert ours[name].client_id not in left
            assert {order.client_id for order in stays[name]} <= left
        net = {asset: quantity for asset, quantity in (await rig.net()).items() if quantity}
        assert net == {}
        assert epoch_number(rig.state) == 5
        with pytest.raises(TakenOver):
            pulse.check()
        pulse.close()
        stop.set()
        await guarding
