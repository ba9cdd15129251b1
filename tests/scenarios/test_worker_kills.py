"""Kill -9 of the worker between a provider's acceptance and its record: marketing at most once (G13), transactional
mail at least once and a second time only after settling, as its log says (G14).

The oracle is the inbox of a real SMTP server. Hours do not pass here: Temporal's own tools end the attempts that died,
and the settling time is reached by asking the worker's activities as of a later time.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetActivityRequest, UpdateActivityOptionsRequest
from temporalio.client import Client as Temporal

from activities.messages import MessageActivities
from domain.runs import StepInput
from perennial.temporal import connect
from tests.scenarios.conftest import Mailbox, Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, is_over, note, published
from workflows.activity_options import MESSAGES_QUEUE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EACH = 4
SETTLED = timedelta(minutes=16)
MOMENT = timedelta(seconds=1)
LOST = ("unknown", "attempt_lost")
TAKEN = ("accepted", None)


class Recipients:
    """Customers who are sent one mail each; what they got, and what the product says of it."""

    def __init__(self, stack: Stack, purpose: str) -> None:
        self.stack = stack
        step: Json = {"send": {"id": "mail", "template": note(stack)}}
        self.journey = published(stack, [step], purpose=purpose)
        self.shoppers = [Shopper(stack) for _ in range(EACH)]
        self.addresses = {shopper.email for shopper in self.shoppers}
        for shopper in self.shoppers:
            shopper.track("Consent Granted", {"purpose": "marketing", "channel": "email"})

    def start(self) -> None:
        """Enter them all."""
        for shopper in self.shoppers:
            shopper.start(self.journey)

    @property
    def runs(self) -> list[Json]:
        """Their runs with their logs."""
        return [shopper.run(self.journey) for shopper in self.shoppers]

    @property
    def messages(self) -> list[Json]:
        """Their messages, never more than one for each of them."""
        messages = [shopper.messages() for shopper in self.shoppers]
        assert all(len(each) < 2 for each in messages)
        return [self.stack.get(f"/v1/messages/{only['id']}") for each in messages for only in each]

    def got(self) -> list[int]:
        """How many mails the inbox holds for each of them: the oracle."""
        return [len(self.stack.mailbox.of(shopper.email)) for shopper in self.shoppers]

    def become(self, state: str) -> None:
        """Wait until all of their messages are in a state."""
        eventually(lambda: [message["state"] for message in self.messages], lambda now: now == [state] * EACH)

    def are_over(self) -> list[tuple[str, str | None]]:
        """Wait for the end of their runs; how the step went and why."""
        runs = eventually(lambda: self.runs, lambda runs: all(map(is_over, runs)))
        assert {run["state"] for run in runs} == {"completed"}
        return [(step["outcome"], step["reason"]) for run in runs for step in run["steps"]]


@pytest.fixture
def inbox(mailbox: Mailbox) -> Iterator[Mailbox]:
    """The inbox, which answers again when the test is over."""
    yield mailbox
    mailbox.unanswered.clear()
    mailbox.unheard.clear()


def kill_the_worker(stack: Stack, inbox: Mailbox) -> None:
    """At once, in the middle of every call; `perennial up` starts another."""
    killed = stack.pid("worker")
    stack.signal("worker", signal.SIGKILL)
    eventually(lambda: stack.pid("worker"), lambda pid: pid != killed)
    inbox.unanswered.clear()
    inbox.unheard.clear()


def in_temporal(stack: Stack, ask: Callable[[Temporal], Awaitable[None]]) -> None:
    """Do something with a client of the stack's Temporal."""

    async def connected() -> None:
        await ask(await connect(stack.addresses["temporal_address"], "default"))

    asyncio.run(connected())


def end_lost_attempts(stack: Stack, runs: Sequence[Json]) -> None:
    """What two minutes do by themselves: Temporal gives the attempts of the dead worker up, and asks another."""

    async def shorten(client: Temporal) -> None:
        length = Duration()
        length.FromTimedelta(MOMENT)
        for run in runs:
            await client.workflow_service.update_activity_options(
                UpdateActivityOptionsRequest(
                    namespace="default",
                    execution=WorkflowExecution(workflow_id=run["temporal"]["workflow_id"]),
                    type="send",
                    activity_options=ActivityOptions(start_to_close_timeout=length),
                    update_mask=FieldMask(paths=["start_to_close_timeout"]),
                )
            )

    in_temporal(stack, shorten)


def try_again_now(stack: Stack, runs: Sequence[Json]) -> None:
    """What the settling time does by itself: the waiting attempts begin."""

    async def reset(client: Temporal) -> None:
        for run in runs:
            execution = WorkflowExecution(workflow_id=run["temporal"]["workflow_id"])
            await client.workflow_service.reset_activity(
                ResetActivityRequest(namespace="default", execution=execution, type="send")
            )

    in_temporal(stack, reset)


def send_when_settled(stack: Stack, runs: Sequence[Json], lasts: timedelta) -> None:
    """The next attempts, made by the real worker when the settling time is over."""

    async def send(client: Temporal) -> None:
        await asyncio.gather(
            *(
                client.execute_activity_method(
                    MessageActivities.send,
                    StepInput(run_id=run["id"], step="mail", visit=1, as_of=datetime.now(UTC) + SETTLED),
                    id=f"settled/{run['id']}",
                    task_queue=MESSAGES_QUEUE,
                    start_to_close_timeout=lasts,
                )
                for run in runs
            )
        )

    in_temporal(stack, send)


def attempts(recipients: Recipients) -> list[list[tuple[str, str | None]]]:
    """What the messages' logs say of each attempt."""
    return [[(each["outcome"], each.get("error")) for each in message["attempts"]] for message in recipients.messages]


def test_a_killed_worker_never_sends_marketing_twice_nor_loses_a_receipt(stack: Stack, inbox: Mailbox) -> None:
    news, unsent_news = Recipients(stack, "marketing"), Recipients(stack, "marketing")
    receipts, unsent_receipts = Recipients(stack, "transactional"), Recipients(stack, "transactional")
    everybody = (news, unsent_news, receipts, unsent_receipts)
    inbox.unanswered |= news.addresses | receipts.addresses
    inbox.unheard |= unsent_news.addresses | unsent_receipts.addresses
    for recipients in everybody:
        recipients.start()
    for recipients in everybody:
        recipients.become("attempting")
    eventually(lambda: news.got() + receipts.got(), lambda got: got == [1] * 2 * EACH)

    kill_the_worker(stack, inbox)
    end_lost_attempts(stack, [run for recipients in everybody for run in recipients.runs])

    for recipients in everybody:
        recipients.become("unknown")
        assert attempts(recipients) == [[LOST]] * EACH
    assert [*news.are_over(), *unsent_news.are_over()] == [("done", "unknown")] * 2 * EACH
    try_again_now(stack, [*receipts.runs, *unsent_receipts.runs])
    time.sleep(2)  # too early: nothing may leave
    assert [recipients.got() for recipients in everybody] == [[1] * EACH, [0] * EACH, [1] * EACH, [0] * EACH]

    send_when_settled(stack, [*receipts.runs, *unsent_receipts.runs], 60 * MOMENT)

    try_again_now(stack, [*receipts.runs, *unsent_receipts.runs])
    assert [*receipts.are_over(), *unsent_receipts.are_over()] == [("done", None)] * 2 * EACH
    assert attempts(receipts) == attempts(unsent_receipts) == [[LOST, TAKEN]] * EACH
    assert {message["resent"] for message in [*receipts.messages, *unsent_receipts.messages]} == {True}
    assert {message["resent"] for message in [*news.messages, *unsent_news.messages]} == {False}
    assert [recipients.got() for recipients in everybody] == [[1] * EACH, [0] * EACH, [2] * EACH, [1] * EACH]


def test_a_worker_killed_in_the_second_attempt_makes_no_third(stack: Stack, inbox: Mailbox) -> None:
    receipts = Recipients(stack, "transactional")
    inbox.unanswered |= receipts.addresses
    receipts.start()
    eventually(receipts.got, lambda got: got == [1] * EACH)
    kill_the_worker(stack, inbox)
    end_lost_attempts(stack, receipts.runs)
    receipts.become("unknown")
    inbox.unanswered |= receipts.addresses

    with ThreadPoolExecutor(1) as later:
        second = later.submit(send_when_settled, stack, receipts.runs, 5 * MOMENT)
        eventually(receipts.got, lambda got: got == [2] * EACH)
        kill_the_worker(stack, inbox)
        second.result()
    try_again_now(stack, receipts.runs)

    assert receipts.are_over() == [("done", "unknown")] * EACH
    assert attempts(receipts) == [[LOST, LOST]] * EACH
    assert receipts.got() == [2] * EACH
