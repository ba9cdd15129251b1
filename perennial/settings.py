"""All settings of the program, read from the environment (PERENNIAL_*) or a `.env` file, in this one place.

`.env.example` lists the same settings with the same defaults; a test holds the two together. What the shop's people
change while the program runs (sender, quiet hours, caps) is not here but in `/v1/settings`.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from database.pools import API, INGEST, ROUTER, WORKER, Pool

PROJECT = Path(__file__).parent.parent
Port = Annotated[int, Field(ge=0, le=65_535)]


class EmailProvider(StrEnum):
    """Where email goes."""

    OUTBOX = "outbox"
    SMTP = "smtp"
    SENDGRID = "sendgrid"


class SmtpSecurity(StrEnum):
    """How the connection to the SMTP server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class LogFormat(StrEnum):
    """`auto` is console on a terminal and JSON elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class Settings(BaseSettings):
    """One deployment. Every field is an environment variable: PERENNIAL_ and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="PERENNIAL_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    # --- Where things are
    database_url: SecretStr = Field(
        default=SecretStr("postgresql://perennial@127.0.0.1:5432/perennial"),
        description="PostgreSQL 18: postgresql://user:password@host:port/name",
    )
    database_pool_size: PositiveInt | None = Field(default=None, description="Connections of every pool below, if set")
    ingest_pool: Annotated[Pool, NoDecode] = Field(
        default=INGEST,
        description="What takes events in: connections, and seconds for a statement, a lock, an idle transaction, "
        "a transaction, and to wait for a connection; name what differs, as in lock=2",
    )
    api_pool: Annotated[Pool, NoDecode] = Field(default=API, description="The same for all else that the API does")
    router_pool: Annotated[Pool, NoDecode] = Field(default=ROUTER, description="The same for a router")
    worker_pool: Annotated[Pool, NoDecode] = Field(default=WORKER, description="The same for a worker")
    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of Temporal's front end")
    temporal_namespace: str = Field(default="default", description="Temporal namespace of this brand")
    temporal_ui_url: str = Field(default="http://127.0.0.1:8233", description="Temporal's UI, for links to runs")
    public_url: str = Field(
        default="http://127.0.0.1:8080",
        description="How customers' browsers reach the API: in unsubscribe, click and open links",
    )
    templates_dir: Path = Field(
        default=PROJECT / "templates", description="Built-in journeys and templates; installed next to the program"
    )

    journal_dir: Path | None = Field(
        default=None,
        description="A folder outside the database for what a restore must not undo: erasures, withdrawals, complaints",
    )

    # --- Processes
    host: str = Field(default="127.0.0.1", description="Address the processes listen on; 0.0.0.0 in a container")
    api_port: Port = Field(default=8080, description="The HTTP API")
    router_port: Port = Field(default=8091, description="Health and metrics of the router")
    worker_port: Port = Field(default=8092, description="Health and metrics of the worker")
    analytics_js_dir: Path | None = Field(
        default=None, description="dist/umd of @segment/analytics-next, if the API is to serve the browser SDK itself"
    )
    ingest_event_bytes: PositiveInt = Field(default=32_768, description="Largest event taken (Segment's limit: 32 KB)")
    ingest_body_bytes: PositiveInt = Field(
        default=512_000,
        description="Largest ingest call, also unpacked (Segment's: 500 KB); RudderStack's Python SDK may send 4194304",
    )
    requests_per_second: PositiveInt = Field(
        default=5_000, description="Requests one key may make of one API process; four times as many at once"
    )
    coupon_codes_per_minute: PositiveInt = Field(
        default=600,
        description="Wrong codes (coupons, gift cards, referrals) one key may try a minute, over all API processes",
    )
    customer_coupon_codes_per_minute: PositiveInt = Field(
        default=20, description="The same for one customer by one key; guessing codes is what it prevents"
    )
    forwarded_allow_ips: str = Field(
        default="127.0.0.1", description="Load balancers whose X-Forwarded-* headers are believed, by comma"
    )
    truncate_ip: bool = Field(
        default=False,
        description="Store clients' IP addresses as their networks only (/24, for IPv6 /48); recommended",
    )
    max_cached_workflows: Annotated[int, Field(ge=0)] = Field(
        default=1_000, description="Runs a worker keeps in memory; more are read again from Temporal when they wake"
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: LogFormat = Field(default=LogFormat.AUTO, description="auto, console or json")

    # --- Email
    email_provider: EmailProvider = Field(
        default=EmailProvider.OUTBOX, description="outbox (kept, shown at /inbox), smtp or sendgrid"
    )
    email_per_second: PositiveFloat = Field(
        default=50.0,
        description="The provider's hard rate: no second has more calls, also when it hangs and comes back",
    )
    sendgrid_api_key: SecretStr | None = Field(default=None, description="For email_provider sendgrid")
    sendgrid_host: str = Field(
        default="https://api.sendgrid.com", description="https://api.eu.sendgrid.com for its EU region"
    )
    sendgrid_webhook_key: str | None = Field(
        default=None, description="Public key of SendGrid's signed event webhook (base64)"
    )
    smtp_host: str = Field(default="127.0.0.1", description="For email_provider smtp")
    smtp_port: Port = Field(default=1025, description="587 with starttls, 465 with tls")
    smtp_security: SmtpSecurity = Field(default=SmtpSecurity.STARTTLS, description="none, starttls or tls")
    smtp_username: str | None = Field(default=None, description="Empty for a server without authentication")
    smtp_password: SecretStr | None = Field(default=None, description="Goes with smtp_username")
    dkim_domain: str | None = Field(default=None, description="Sign SMTP mail for this domain")
    dkim_selector: str | None = Field(default=None, description="The selector of the DKIM record")
    dkim_private_key_file: Path | None = Field(default=None, description="PEM file of the DKIM private key")

    # --- Webhooks (journeys' `call` steps and messages of the channel webhook)
    webhook_secret: SecretStr | None = Field(
        default=None, description="whsec_...: signs them; made at first use if absent (see `perennial keys webhook`)"
    )
    allow_private_calls: bool = Field(
        default=False, description="Whether they may go to private addresses; true only where marketers are trusted"
    )

    # --- Social networks
    meta_app_secret: SecretStr | None = Field(default=None, description="App secret that signs Meta's webhooks")
    meta_verify_token: SecretStr | None = Field(default=None, description="Verify token of Meta's webhook subscription")

    # --- Commands that speak with a running API (`perennial journeys`, `perennial import`)
    api_url: str | None = Field(default=None, description="Its address; else that of the `perennial up` running here")
    api_key: SecretStr | None = Field(default=None, description="A key with the scope that the command needs")

    # --- `perennial up` on a developer's machine
    data_dir: Path = Field(default=Path(".perennial"), description="Where `perennial up` keeps its data")
    postgres_port: Port = Field(default=54329, description="Embedded PostgreSQL")
    temporal_port: Port = Field(default=7233, description="Embedded Temporal")
    temporal_ui_port: Port = Field(default=8233, description="Embedded Temporal's UI")

    @field_validator("ingest_pool", "api_pool", "router_pool", "worker_pool", mode="before")
    @classmethod
    def _read_pool(cls, value: object, info: ValidationInfo) -> object:
        """Only what differs needs to be written."""
        default = cls.model_fields[info.field_name or ""].default
        return default.changed(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _provider_is_whole(self) -> Self:
        """A provider chosen without its credentials is told at the start, not at the first message."""
        if self.email_provider is EmailProvider.SENDGRID and self.sendgrid_api_key is None:
            raise ValueError("PERENNIAL_EMAIL_PROVIDER is sendgrid, so PERENNIAL_SENDGRID_API_KEY must be set")
        dkim = (self.dkim_domain, self.dkim_selector, self.dkim_private_key_file)
        if any(dkim) and not all(dkim):
            raise ValueError("DKIM needs all three: PERENNIAL_DKIM_DOMAIN, _DKIM_SELECTOR and _DKIM_PRIVATE_KEY_FILE")
        return self
