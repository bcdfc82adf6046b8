"""Gathers what the table "who protects you if this process dies" is derived from."""

from __future__ import annotations

from perpbot.app.node import Node
from perpbot.app.venues import capabilities_of
from perpbot.configuration import Configuration, Settings, credentials_of, effective
from perpbot.domain.sides import Purpose
from perpbot.guardian.status import guardian_of
from perpbot.operations.protection import Protection, VenueFacts, protection_of


def protection_in(configuration: Configuration) -> list[Protection]:
    """Return the table of a configuration, whether its node runs or not."""
    settings = configuration.settings
    facts = [
        VenueFacts(
            capabilities=capabilities_of(name),
            trades=settings.mode.sends_orders_out and bool(credentials_of(configuration, name)),
            dedicated=settings.venue(name).account_dedicated,
            dead_man_s=effective(settings, venue=name).execution.dead_man_timeout_s,
        )
        for name in settings.enabled_venues
    ]
    return _rows(settings, facts)


def protection_now(node: Node) -> list[Protection]:
    """Return the table of a running node, with what rests at this moment."""
    settings = node.settings
    return _rows(settings, [_facts(node, name) for name in node.venues])


def _facts(node: Node, name: str) -> VenueFacts:
    settings, venue = node.settings, node.venues[name]
    at_work = [
        order.request.purpose
        for order in node.core.folds.orders.unsettled()
        if order.request.venue == name and not order.state.is_end
    ]
    stops = sum(purpose is Purpose.PROTECT for purpose in at_work)
    return VenueFacts(
        capabilities=venue.capabilities,
        trades=settings.mode.sends_orders_out and venue.can_trade,
        dedicated=settings.venue(name).account_dedicated,
        dead_man_s=effective(settings, venue=name).execution.dead_man_timeout_s,
        dead_man_failed=node.links.dead_men[name].failing,
        resting=len(at_work) - stops,
        stops=stops,
    )


def _rows(settings: Settings, facts: list[VenueFacts]) -> list[Protection]:
    guardian = guardian_of(settings.state_path)
    return [protection_of(one, guardian, expected=settings.guardian.enabled) for one in facts]
