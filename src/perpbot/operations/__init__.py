"""Keeping it alive: health, alerts, metrics, control."""
