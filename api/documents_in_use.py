"""The answer to whoever would take away a document that others need."""

from __future__ import annotations

from database.document_users import users_of
from database.session import WriteSession
from domain.errors import Conflict


async def refuse_if_used(
    session: WriteSession, name: str, key: str, *, instead: str = "Publish them without it, or archive them, first."
) -> None:
    """What a journey sends, gives or starts stays, and what others give or require: it would be missing at the moment
    when it is due, and nobody would notice. Raises Conflict `in_use`, which names the users and what to do `instead`.
    """
    users = await users_of(session, name, key)
    if users:
        named = ", ".join(map(str, users))
        detail = f"The {name} {key} is used by {named}. {instead}"
        raise Conflict(detail, code="in_use", members={"users": [user.member for user in users]})
