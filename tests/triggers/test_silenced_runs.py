"""G27: a browser that tells of an exit takes no value from a trusted customer; the run is silenced and goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from connectors.rendering import Renderer
from database.runs import Run
from domain.events import EventKind
from domain.runs import OutcomeKind
from tests import sending
from tests.programmes import publish_programme
from tests.rewarding import balance_of
from tests.triggers.shop import Shop
from tests.triggers.walking import Walker

PAID, LEFT = "Order Paid", "Club Left"
AWARD = {"points": {"award": 100}, "id": "award"}
PAUSE = {"wait": {"for": "1h"}, "id": "pause"}


@pytest.fixture
async def walker(shop: Shop, renderer: Renderer) -> Walker:
    await publish_programme(shop.database, shop.now)
    return Walker(shop, renderer)


def mail(**send: Any) -> dict[str, Any]:
    return {"send": {"template": "hello", **send}, "id": "mail"}


def journey(*steps: Any, **changes: Any) -> dict[str, Any]:
    on = {"on": {"event": PAID}}
    return {
        "journey": "gift",
        "purpose": "transactional",
        "enter": on,
        "exit": [{"event": LEFT}],
        "steps": steps,
    } | changes


async def only_run(shop: Shop) -> Run:
    [run] = await shop.runs()
    return run


async def test_points_are_given_although_a_browser_told_of_the_exit_and_no_mail_leaves(
    shop: Shop, walker: Walker, sender: sending.Shop
) -> None:
    await shop.publish(journey(PAUSE, mail(), AWARD))
    await shop.track(PAID)
    await walker.walk("gift")
    await shop.track(LEFT, trusted=False)

    run = await only_run(shop)
    assert (run.state, run.trusted) == ("active", True)
    [*_, told] = await shop.events_of(run.customer_id)
    assert run.silenced == {"reason": "exit: Club Left", "event_id": str(told.id), "at": shop.now.isoformat()}

    shop.later(hours=2)
    sent = await sender.send(run.id, step="mail", as_of=shop.now)
    message = await sender.message()
    assert (sent.reason, message.state, message.reason) == ("silenced", "skipped", "silenced")
    assert sender.provider.calls == []
    assert (await walker.log(run))["mail"] == "silenced"


async def test_waits_and_steps_of_value_of_a_silenced_run_go_on(shop: Shop, walker: Walker) -> None:
    wait = {"wait_for": {"any": [{"event": "Parcel Delivered", "steps": [AWARD]}], "timeout": "7d"}, "id": "parcel"}
    await shop.publish(journey(wait))
    await shop.track(PAID)
    await walker.walk("gift")
    await shop.track(LEFT, trusted=False)
    await shop.track("Parcel Delivered")
    run = await walker.walk("gift")
    assert (run.trusted, run.silenced is not None) == (True, True)
    assert (await balance_of(shop.database, run.customer_id, shop.now)).available == 100


async def test_the_shops_own_word_ends_a_silenced_run(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    await shop.track(PAID)
    await shop.track(LEFT, trusted=False)
    await shop.track(LEFT)
    run = await only_run(shop)
    assert (run.state, run.reason) == ("exited", "exit: Club Left")


@pytest.mark.parametrize("untrusted", ["the run", "the journey"])
async def test_a_browser_ends_what_gives_nothing(shop: Shop, walker: Walker, untrusted: str) -> None:
    await shop.publish(journey(PAUSE, AWARD if untrusted == "the run" else mail()))
    await shop.track(PAID, trusted=untrusted != "the run")
    await shop.track(LEFT, trusted=False)
    run = await only_run(shop)
    assert (run.state, run.silenced) == ("exited", None)


async def test_a_trait_of_a_browser_does_not_make_the_shops_event_an_exit(shop: Shop, walker: Walker) -> None:
    leaves = {"event": "Returned", "where": [{"property": "by", "eq": {"customer": "traits.name"}}]}
    await shop.publish(journey(PAUSE, AWARD, exit=[leaves]))
    await shop.track(PAID)
    await shop.identify({"name": "somebody else"}, trusted=False)
    await shop.track("Returned", {"by": "somebody else"})
    run = await only_run(shop)
    assert (run.state, run.silenced is not None) == ("active", True)


@pytest.mark.parametrize("on_skip", ["exit", [{"exit": "gone", "id": "gone"}]])
async def test_a_message_that_is_silenced_does_not_lead_the_run_elsewhere(
    shop: Shop, walker: Walker, sender: sending.Shop, on_skip: Any
) -> None:
    await shop.publish(journey(mail(on_skip=on_skip), AWARD))
    await shop.track(PAID)
    await shop.track(LEFT, trusted=False)
    run = await only_run(shop)
    for _ in range(2):  # however often the workflow asks
        answer = await sender.send(run.id, step="mail", as_of=shop.now)
        assert (answer.kind, answer.reason) == (OutcomeKind.DONE, "silenced")
    assert (await only_run(shop)).trusted
    assert await walker.log(run) == {"mail": "silenced"}


async def test_a_mail_that_could_not_leave_anyway_is_skipped_for_that_reason(
    shop: Shop, walker: Walker, sender: sending.Shop
) -> None:
    await shop.publish(journey(mail(on_skip="exit"), AWARD, purpose="marketing"))
    await shop.track(PAID)
    await shop.track(LEFT, trusted=False)
    answer = await sender.send((await only_run(shop)).id, step="mail", as_of=shop.now)
    assert (answer.kind, answer.reason) == (OutcomeKind.SKIPPED, "no_consent")


@pytest.mark.parametrize("trusted", [True, False])
async def test_what_a_browser_told_before_we_knew_the_visitor_keeps_nobody_from_their_points(
    shop: Shop, walker: Walker, *, trusted: bool
) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    await shop.track(PAID, anonymous_id="a")
    shop.later(minutes=1)
    await shop.track(LEFT, anonymous_id="a", trusted=trusted)
    shop.later(minutes=1)
    await shop.post(shop.event(kind=EventKind.IDENTIFY, user_id="ann", anonymous_id="a"))
    await shop.route()
    runs = await shop.runs()
    assert [(run.trusted, run.silenced is not None) for run in runs] == ([] if trusted else [(True, True)])


async def test_a_browser_that_says_whose_a_visit_was_only_silences(shop: Shop, walker: Walker) -> None:
    await shop.publish(journey(PAUSE, AWARD))
    await shop.track(PAID, user_id="ann")
    shop.later(minutes=1)
    await shop.track(LEFT, anonymous_id="a")
    link = shop.event(kind=EventKind.IDENTIFY, user_id="ann", anonymous_id="a", trusted=False)
    await shop.post(link)
    await shop.route()
    run = await only_run(shop)
    assert (run.state, run.silenced is not None) == ("active", True)


async def leave(shop: Shop, user: str, after: float) -> None:
    """A browser tells of the exit a little later; routed until it is: its customer may be held meanwhile."""
    await asyncio.sleep(after)
    await shop.post(shop.event(LEFT, user_id=user, trusted=False))
    while not (await shop.route()).routed:
        await asyncio.sleep(0.005)


async def try_to_send(shop: Shop, sender: sending.Shop, run: Run) -> None:
    with suppress(ApplicationError):  # the exit is not routed yet: the claim gives way
        await sender.send(run.id, step="mail", as_of=shop.now)


async def test_a_message_leaves_before_a_browser_tells_of_the_exit_or_never(shop: Shop, sender: sending.Shop) -> None:
    """One after the other both ways, and both at once many times."""
    await shop.publish(journey(mail(), AWARD))
    for number in range(30):
        user = f"u-{number}"
        await shop.identify({"email": f"{user}@example.com"}, user_id=user)
        await shop.track(PAID, user_id=user)
        run = (await shop.runs())[-1]
        called = len(sender.provider.calls)

        match number:
            case 0:
                await leave(shop, user, after=0)
                await try_to_send(shop, sender, run)
            case 1:
                await try_to_send(shop, sender, run)
                await leave(shop, user, after=0)
            case _:
                await asyncio.gather(leave(shop, user, number / 300), try_to_send(shop, sender, run))
        by_then = len(sender.provider.calls)
        await try_to_send(shop, sender, run)

        assert called <= by_then == len(sender.provider.calls) <= called + 1
        assert (await shop.runs())[-1].silenced is not None
    messages = await sender.messages()
    assert {(message.state, message.reason) for message in messages} >= {("accepted", None), ("skipped", "silenced")}
    assert len([message for message in messages if message.state == "accepted"]) == len(sender.provider.calls)
