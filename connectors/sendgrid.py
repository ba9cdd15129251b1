"""SendGrid through its official client. It has no idempotency key: what cannot be told from "not taken" is unknown."""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPException
from typing import Any
from urllib.error import URLError

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from domain.emails import OutgoingEmail
from domain.provider_answers import Deferred, ProviderAnswer, Rejected, Unknown, http_answer
from domain.refusals import Fault

HOST = "https://api.sendgrid.com"
TIMEOUT = 10.0
"""Seconds; the client itself would wait for ever."""
_THREADS = 32
"""The client blocks; so many messages are under way at once."""


class SendGridProvider:
    """`host` without a trailing slash; another one than SendGrid's own is for its EU region and for tests."""

    name = "sendgrid"

    def __init__(self, api_key: str, *, host: str = HOST, timeout: float = TIMEOUT) -> None:
        self._client = SendGridAPIClient(api_key=api_key, host=host).client
        self._client.timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sendgrid")

    def close(self) -> None:
        """Let running calls end."""
        self._threads.shutdown()

    async def send(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        """Hand one e-mail over (POST /v3/mail/send)."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._post, email, as_of)

    def _post(self, email: OutgoingEmail, as_of: datetime) -> ProviderAnswer:
        try:
            response = self._client.mail.send.post(request_body=mail_body(email))
        except HTTPError as error:
            return http_answer(error.status_code, _lower(error.headers), as_of)
        except URLError as error:
            return _unreached(error)
        except (TimeoutError, OSError, HTTPException) as error:
            return Unknown(_code(error))
        return http_answer(response.status_code, _lower(response.headers), as_of)


def mail_body(email: OutgoingEmail) -> dict[str, Any]:
    """The request. Our message id travels in `custom_args`, which come back flattened in every event.

    SendGrid's own tracking and unsubscribe links are off: ours are in the message already.
    """
    headers = {name: value for name, value in email.headers.items() if name.lower() != "reply-to"}
    reply_to = next((value for name, value in email.headers.items() if name.lower() == "reply-to"), None)
    return {
        "personalizations": [{"to": [{"email": email.to}], "custom_args": {"message_id": str(email.message_id)}}],
        "from": {"email": email.sender_address, "name": email.sender_name},
        **({"reply_to": {"email": reply_to}} if reply_to else {}),
        "subject": email.subject,
        "content": [{"type": "text/plain", "value": email.text}, {"type": "text/html", "value": email.html}],
        **({"headers": headers} if headers else {}),
        "categories": list(email.categories),
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
        },
    }


def _unreached(error: URLError) -> ProviderAnswer:
    """urllib wraps faults while connecting and while sending; only the former prove that nothing was taken."""
    if isinstance(error.reason, ConnectionRefusedError | socket.gaierror | ssl.SSLCertVerificationError):
        return Deferred("provider_unreachable", fault=Fault.PROVIDER)
    if isinstance(error.reason, str):  # an address that no request can be made of
        return Rejected("provider_address")
    return Unknown(_code(error.reason))


def _code(error: object) -> str:
    return "timeout" if isinstance(error, TimeoutError) else "connection_lost"


def _lower(headers: Any) -> dict[str, str]:
    """The client hands out an email.message.Message, or None."""
    return {name.lower(): value for name, value in headers.items()} if headers is not None else {}
