"""SendGrid through its official client. It has no idempotency key: what cannot be told from "not taken" is unknown."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

import orjson

from connectors.envelopes import enveloped
from connectors.sendgrid_client import UnconnectedError, post_mail
from domain.emails import OutgoingEmail
from domain.provider_answers import (
    ADDRESS_NEEDS_SMTPUTF8,
    Deferred,
    ProviderAnswer,
    Rejected,
    Unknown,
    http_answer,
    refused_answer,
)
from domain.refusals import Fault
from domain.wire_addresses import needs_smtputf8

HOST = "https://api.sendgrid.com"
TIMEOUT = 10.0
"""Seconds; the client itself would wait forever."""
_TOTAL = 1.2
"""How many time-outs a call may last in all, however slowly its answer comes."""
_THREADS = 256
"""The client blocks. More than a process ever has under way, so that no call waits for a thread."""


class SendGridProvider:
    """`host` without a trailing slash; another one than SendGrid's own is for its EU region and for tests."""

    name = "sendgrid"

    def __init__(self, api_key: str, *, host: str = HOST, timeout: float = TIMEOUT) -> None:
        self._api_key = api_key
        self._host = host
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sendgrid")

    def close(self) -> None:
        """Let running calls end."""
        self._threads.shutdown()

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        """Hand one e-mail over (POST /v3/mail/send)."""
        addressed = enveloped(email)
        if not isinstance(addressed, OutgoingEmail):
            return addressed
        if needs_smtputf8(addressed.sender_address):  # which SendGrid's API does not take
            return Deferred("sender_needs_smtputf8", fault=Fault.PROVIDER)
        if needs_smtputf8(addressed.to):
            return Rejected(ADDRESS_NEEDS_SMTPUTF8, fault=Fault.MAILBOX)
        calling = asyncio.get_running_loop().run_in_executor(self._threads, self._post, addressed, as_of)
        try:  # the client's own limit begins again with every byte
            return await asyncio.wait_for(calling, _TOTAL * self._timeout)
        except TimeoutError:
            return Unknown("timeout")

    def _post(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        try:
            answer = post_mail(self._host, self._api_key, self._timeout, mail_body(email))
        except URLError as error:
            return _unreached(error)
        except (OSError, HTTPException) as error:
            return Unknown(_code(error))
        judged = http_answer(answer.status, answer.headers, as_of)
        if isinstance(judged, Rejected):  # for good on SendGrid's own word only
            return refused_answer(answer.status, refused_fields(answer.body))
        return judged


def mail_body(email: OutgoingEmail) -> dict[str, Any]:
    """The request. Our message id travels in `custom_args`, which come back flattened in every event.

    SendGrid's own tracking and unsubscribe links are off: ours are in the message already.
    """
    headers = {name: value for name, value in email.headers.items() if name.lower() != "reply-to"}
    parts = [("text/plain", email.text), ("text/html", email.html)]
    reply_to = next((value for name, value in email.headers.items() if name.lower() == "reply-to"), None)
    return {
        "personalizations": [{"to": [{"email": email.to}], "custom_args": {"message_id": str(email.message_id)}}],
        "from": {"email": email.sender_address, "name": email.sender_name},
        **({"reply_to": {"email": reply_to}} if reply_to else {}),
        "subject": email.subject,
        "content": [{"type": kind, "value": value} for kind, value in parts if kind == "text/plain" or value],
        **({"headers": headers} if headers else {}),
        "categories": list(email.categories),
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
        },
    }


def refused_fields(body: bytes) -> list[str] | None:
    """Which members of the request a refusal objects to (`errors[].field`); "" for one that names none.

    None: that is not what SendGrid writes, so somebody on the way has answered.
    """
    try:
        errors = orjson.loads(body)["errors"]
        fields = [error["field"] for error in errors]
    except (ValueError, KeyError, TypeError):
        return None
    return [field if isinstance(field, str) else "" for field in fields] or None


def _unreached(error: URLError) -> ProviderAnswer:
    """urllib wraps faults while connecting and while sending; only the former prove that nothing was taken."""
    if isinstance(error.reason, UnconnectedError | str):  # a text: an address that no request can be made of
        return Deferred("provider_unreachable", fault=Fault.PROVIDER)
    return Unknown(_code(error.reason))


def _code(error: object) -> str:
    return "timeout" if isinstance(error, TimeoutError) else "connection_lost"
