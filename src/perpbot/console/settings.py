"""What the console lets people set: where it listens and what it may do."""

from __future__ import annotations

from perpbot.settings import SettingsModel, setting


class ConsoleSettings(SettingsModel):
    """The read API and the views.

    Beyond loopback it needs the token of PERPBOT_CONSOLE_TOKEN and a proxy with TLS.
    """

    enabled: bool = setting(default=True, description="Whether the console listens.")
    host: str = setting(
        "127.0.0.1", "Address to listen on.", min_length=1, max_length=255
    )  # fmt: skip
    port: int = setting(8000, "Port to listen on.", ge=1, le=65_535)
    behind_proxy: bool = setting(
        default=False,
        description="A proxy with TLS stands before it; beyond loopback it listens only so.",
    )
    allowed_hosts: tuple[str, ...] = setting(
        (),
        "More names that it answers to, as browsers send them: bot.example or bot.example:8443.",
    )
    refresh_ms: int = setting(
        250, "Time between two pictures of the terminal view.", ge=50, le=10_000
    )
