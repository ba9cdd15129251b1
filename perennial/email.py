"""The way out for e-mail that this deployment has chosen."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import assert_never

from activities.providers import EmailProvider
from connectors.outbox_provider import OutboxProvider
from connectors.sendgrid import SendGridProvider
from connectors.smtp import Dkim, SmtpProvider, SmtpServer
from perennial.settings import EmailProvider as ProviderChoice
from perennial.settings import Settings


def email_provider(settings: Settings, closing: AsyncExitStack) -> EmailProvider:
    """The provider that the settings name; `closing` ends what it holds open."""
    match settings.email_provider:
        case ProviderChoice.OUTBOX:
            return OutboxProvider()
        case ProviderChoice.SMTP:
            return SmtpProvider(_smtp_server(settings), dkim_key=_dkim(settings))
        case ProviderChoice.SENDGRID:
            key = settings.sendgrid_api_key.get_secret_value() if settings.sendgrid_api_key else ""
            provider = SendGridProvider(key, host=settings.sendgrid_host.rstrip("/"))
            closing.callback(provider.close)
            return provider
        case _:
            assert_never(settings.email_provider)


def _smtp_server(settings: Settings) -> SmtpServer:
    return SmtpServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security.value,
        settings.smtp_username,
        settings.smtp_password.get_secret_value() if settings.smtp_password else None,
    )


def _dkim(settings: Settings) -> Dkim | None:
    if not (settings.dkim_domain and settings.dkim_selector and settings.dkim_private_key_file):
        return None
    return Dkim(settings.dkim_domain, settings.dkim_selector, settings.dkim_private_key_file.read_bytes())
