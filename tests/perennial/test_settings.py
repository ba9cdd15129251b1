"""Settings have one place: the class, `.env.example` and the compose file agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from perennial.env_example import example
from perennial.settings import PROJECT, EmailProvider, Settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PERENNIAL_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_env_example_lists_every_setting_with_its_default() -> None:
    assert (PROJECT / ".env.example").read_text() == example(), "make env-example"


def test_env_example_is_itself_a_working_configuration(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(example())

    assert Settings() == Settings(_env_file=None)


def test_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PERENNIAL_API_PORT=8001\nPERENNIAL_ROUTER_PORT=8002\n")
    monkeypatch.setenv("PERENNIAL_API_PORT", "9001")

    settings = Settings()

    assert (settings.api_port, settings.router_port) == (9001, 8002)


def test_empty_value_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_SMTP_USERNAME", "")

    assert Settings().smtp_username is None


def test_provider_without_its_credentials_is_told_at_the_start() -> None:
    with pytest.raises(ValidationError, match="PERENNIAL_SENDGRID_API_KEY must be set"):
        Settings(email_provider=EmailProvider.SENDGRID)


def test_half_a_dkim_configuration_is_told_at_the_start() -> None:
    with pytest.raises(ValidationError, match="DKIM needs all three"):
        Settings(dkim_domain="shop.example")


def test_secrets_do_not_show_in_a_printed_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", "postgresql://perennial:hush@127.0.0.1/perennial")
    monkeypatch.setenv("PERENNIAL_SENDGRID_API_KEY", "hush")

    assert "hush" not in repr(Settings())
