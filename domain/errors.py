"""The one error tree. Each error carries the code and HTTP status that `api/problems.py` answers with (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in a document: where (an RFC 6901 JSON pointer) and what to do about it."""

    pointer: str
    detail: str
    code: str = "invalid"


class PerennialError(Exception):
    """Base of every refusal the product makes on purpose; anything else that is raised is a defect."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after = retry_after
        self.members = dict(members or {})  # further members of the problem document, JSON
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may narrow the class's code


class Malformed(PerennialError):
    """The request cannot be read: broken JSON, wrong encoding, not the announced format."""

    code, status, title = "malformed", 400, "The request cannot be read"


class Invalid(PerennialError):
    """The request can be read but its content is not of the documented shape."""

    code, status, title = "invalid", 422, "The request is not of the documented shape"


class Unauthorized(PerennialError):
    """No key, an unknown key or a revoked key."""

    code, status, title = "unauthorized", 401, "A valid key is needed"


class Forbidden(PerennialError):
    """A valid key without the scope for this route."""

    code, status, title = "forbidden", 403, "This key may not do that"


class NotFound(PerennialError):
    """No such thing under that name."""

    code, status, title = "not_found", 404, "Not found"


class Conflict(PerennialError):
    """The request is fine but the state of the thing forbids it."""

    code, status, title = "conflict", 409, "Not possible in the current state"


class ChecksFailed(Conflict):
    """A draft that cannot be published: `members["findings"]` says what is wrong with it."""

    code, title = "checks_failed", "The checks found errors"


class IdempotencyMismatch(Conflict):
    """An idempotency key that was used for another request."""

    code, title = "idempotency_mismatch", "This Idempotency-Key was used for another request"


class NotAvailableYet(Conflict):
    """A form of the language that a later release brings; the checks say so before anything is published."""

    code, title = "not_available_yet", "Not available in this release"


class PreconditionFailed(PerennialError):
    """`If-Match` names a version that is no longer the current one."""

    code, status, title = "precondition_failed", 412, "The document has changed meanwhile"


class TooLarge(PerennialError):
    """The body is larger than the limit, before or after decompression."""

    code, status, title = "too_large", 413, "The request is too large"


class TooSlow(PerennialError):
    """The client takes too long to send what it announced."""

    code, status, title = "request_timeout", 408, "The request did not come in time"


class RateLimited(PerennialError):
    """Too many requests; `retry_after` says in seconds when to come back."""

    code, status, title = "rate_limited", 429, "Too many requests"


class Unavailable(PerennialError):
    """Something we depend on does not answer; trying again later is right."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"


class TemplateFailed(PerennialError):
    """A template cannot be rendered with this data: it is faulty, too slow, too large or crashed its renderer."""

    code, status, title = "template_error", 422, "The template cannot be rendered"


class TemplateAborted(TemplateFailed):
    """The template itself refuses to be sent with this data (`{% abort %}`); the detail is its reason."""

    code, title = "template_aborted", "The template refuses to be sent"
