"""The shop's settings: name, zone, currency, sender, quiet hours, frequency caps, consent defaults."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.auth import Caller, requires
from api.dependencies import AsOf, Reading, Writing
from api.etags import ETAG_HEADER, IfMatch, check_if_match
from api.routing import ApiRoute
from database.audit import write_audit
from database.shop_settings import lock_shop_settings, save_shop_settings, settings_tag, shop_settings
from domain.errors import FieldError, Invalid
from domain.keys import Scope
from domain.shop_settings import ShopSettings

router = APIRouter(prefix="/v1/settings", tags=["settings"], route_class=ApiRoute)


@router.get("", dependencies=[requires(Scope.SETTINGS_READ)], summary="The shop's settings", responses=ETAG_HEADER)
async def get_settings(session: Reading, response: Response) -> ShopSettings:
    """The settings as they are now; defaults where nobody has set any."""
    settings = await shop_settings(session)
    response.headers["ETag"] = f'"{settings_tag(settings)}"'
    return settings


@router.put("", dependencies=[requires(Scope.SETTINGS_WRITE)], summary="Replace the settings", responses=ETAG_HEADER)
async def put_settings(
    *,
    settings: ShopSettings,
    session: Writing,
    response: Response,
    caller: Caller,
    as_of: AsOf,
    if_match: IfMatch = None,
) -> ShopSettings:
    """Replaces all settings; what is left out gets its default. They count from the next message on."""
    if unwritable := settings.sender.unwritable():
        raise Invalid(
            "The sender cannot be written into every mail.",
            errors=tuple(FieldError(f"/sender/{name}", what) for name, what in unwritable.items()),
        )
    before = await lock_shop_settings(session)
    check_if_match(if_match, settings_tag(before))
    await save_shop_settings(session, settings, as_of)
    changed = sorted(name for name in ShopSettings.model_fields if getattr(before, name) != getattr(settings, name))
    write_audit(session, actor=caller.id, action="save", target="settings", at=as_of, detail={"changed": changed})
    response.headers["ETag"] = f'"{settings_tag(settings)}"'
    return settings
