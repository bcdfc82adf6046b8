"""Facts and commands: everything that rides on the bus.

Facts are named in the past tense, commands in the imperative. `table.py` lists every kind beside
its lane; a class declares its kind by `@event`, in the module of its family. An extension declares
its own in the same way, with a lane. Quotes, statistics and market data carry floats; orders,
fills and capital carry Decimal.

Times: `ts_ns` is when it happened by the node's clock (UTC ns), `venue_ns` the venue's own time
where it has one, else 0. `correlation_id` leads from the quote to the fill.
"""

from __future__ import annotations

from perpbot.domain.events.capital import (
    CapitalRejected,
    CapitalReleased,
    CapitalReserved,
    CapitalSnapshotUpdated,
    CapitalUpdated,
    DayStarted,
    EquitySampled,
    FollowCapital,
    ReserveToppedUp,
    SafeModeChanged,
)
from perpbot.domain.events.commands import (
    CancelOrders,
    ClosePair,
    EvaluatePair,
    GateDecision,
    Measure,
    OrderIntent,
    PairPlanned,
    QueryOrder,
    ReconcileVenue,
    SubmitOrders,
)
from perpbot.domain.events.declaration import (
    EVENTS,
    Event,
    event,
    event_class,
)
from perpbot.domain.events.market import (
    BookChanged,
    BookUpdated,
    CandleClosed,
    FundingRateUpdated,
    MarkUpdated,
    QuoteUpdated,
    TradePrinted,
)
from perpbot.domain.events.node import (
    AlertFired,
    BusOverflow,
    ComponentFailed,
    ConfigChanged,
    HealthSnapshotUpdated,
    Heartbeat,
    JournalRepaired,
    RecordPassedOver,
    RunEnded,
    RunStarted,
)
from perpbot.domain.events.orders import (
    ForeignOrderSeen,
    OrderCancelFailed,
    OrderCancelled,
    OrderExpired,
    OrderFact,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderSent,
    OrderUnknown,
)
from perpbot.domain.events.pairs import (
    HedgeRequired,
    OpportunityFound,
    PairStateChanged,
    TradeCompleted,
)
from perpbot.domain.events.positions import (
    FundingPaid,
    LeaseReleased,
    PositionAdjusted,
    PositionUpdated,
    Transfer,
)
from perpbot.domain.events.reports import (
    AccountReported,
    FillReported,
    OrderReported,
    VenueSnapshot,
)
from perpbot.domain.events.risk import (
    CooldownStarted,
    HaltCleared,
    HaltLatched,
    KillSwitchCleared,
    KillSwitchEngaged,
    OverrideGranted,
    RiskRejected,
)
from perpbot.domain.events.table import (
    KIND_ALIASES,
    EventKind,
    Lane,
)
from perpbot.domain.events.venues import (
    ConnectionState,
    NoncesReserved,
    VenueConnectionChanged,
    VenueReconciled,
)

__all__ = [
    "EVENTS",
    "KIND_ALIASES",
    "AccountReported",
    "AlertFired",
    "BookChanged",
    "BookUpdated",
    "BusOverflow",
    "CancelOrders",
    "CandleClosed",
    "CapitalRejected",
    "CapitalReleased",
    "CapitalReserved",
    "CapitalSnapshotUpdated",
    "CapitalUpdated",
    "ClosePair",
    "ComponentFailed",
    "ConfigChanged",
    "ConnectionState",
    "CooldownStarted",
    "DayStarted",
    "EquitySampled",
    "EvaluatePair",
    "Event",
    "EventKind",
    "FillReported",
    "FollowCapital",
    "ForeignOrderSeen",
    "FundingPaid",
    "FundingRateUpdated",
    "GateDecision",
    "HaltCleared",
    "HaltLatched",
    "HealthSnapshotUpdated",
    "Heartbeat",
    "HedgeRequired",
    "JournalRepaired",
    "KillSwitchCleared",
    "KillSwitchEngaged",
    "Lane",
    "LeaseReleased",
    "MarkUpdated",
    "Measure",
    "NoncesReserved",
    "OpportunityFound",
    "OrderCancelFailed",
    "OrderCancelled",
    "OrderExpired",
    "OrderFact",
    "OrderFailed",
    "OrderFilled",
    "OrderIntent",
    "OrderPlaced",
    "OrderProvenAbsent",
    "OrderReported",
    "OrderSent",
    "OrderUnknown",
    "OverrideGranted",
    "PairPlanned",
    "PairStateChanged",
    "PositionAdjusted",
    "PositionUpdated",
    "QueryOrder",
    "QuoteUpdated",
    "ReconcileVenue",
    "RecordPassedOver",
    "ReserveToppedUp",
    "RiskRejected",
    "RunEnded",
    "RunStarted",
    "SafeModeChanged",
    "SubmitOrders",
    "TradeCompleted",
    "TradePrinted",
    "Transfer",
    "VenueConnectionChanged",
    "VenueReconciled",
    "VenueSnapshot",
    "event",
    "event_class",
]
