"""What a worker process is made of: the activities with their tools, and the task queues that they serve."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from activities.audiences import AudienceActivities
from activities.branches import BranchActivities
from activities.calls import CallActivities
from activities.erasures import ErasureActivities
from activities.messages import MessageActivities
from activities.pacing import Pacer
from activities.points import PointsActivities
from activities.providers import Providers
from activities.reconciliation import ReconciliationActivities
from activities.redemptions import RedemptionActivities
from activities.referrals import ReferralActivities
from activities.retention import RetentionActivities
from activities.rewards import RewardActivities
from activities.runs import RunActivities
from activities.settling import SettlingActivities
from activities.updates import UpdateActivities
from activities.waits import WaitActivities
from connectors.rendering import Renderer
from connectors.webhook import Webhooks
from connectors.webhook_channel import WebhookChannel
from database.definitions import load_from
from database.secrets import secret
from database.session import Database
from domain.journeys.library import DefinitionLibrary, install
from perennial.email import email_provider
from perennial.queues import Queue
from perennial.settings import Settings
from perennial.temporal import check_namespace, until_answered
from workflows.audiences import BackfillDatesWorkflow, DueDatesWorkflow, EnterAudienceWorkflow
from workflows.erasure import ErasureWorkflow
from workflows.journey import JourneyWorkflow
from workflows.mark import MarkWorkflow
from workflows.redemption import RedemptionWorkflow
from workflows.referral import ReferralHoldWorkflow
from workflows.sandbox import sandbox
from workflows.settling import SettlingWorkflow
from workflows.upkeep import UpkeepWorkflow

WORKFLOWS: Sequence[type] = (
    *(JourneyWorkflow, ErasureWorkflow, UpkeepWorkflow, SettlingWorkflow),
    *(DueDatesWorkflow, EnterAudienceWorkflow, BackfillDatesWorkflow),
    *(ReferralHoldWorkflow, RedemptionWorkflow, MarkWorkflow),
)
_WEBHOOKS = "webhooks"  # the name of the signing key in the table of secrets
_GRACE = timedelta(seconds=20)
_PAUSE_SECONDS = 1.0
_log = structlog.get_logger(__name__)
_DECISIONS_AT_ONCE = 8
"""Runs that a worker carries on at once. They share one core, and Temporal gives each 10 s: with the hundred that are
usual, thousands of runs that wake together would take longer than that, be thrown away, and begin again."""

_SENDS_AT_ONCE = 100  # most of them stand in line before the provider


@dataclass(frozen=True, slots=True)
class Work:
    """What one queue's worker can do."""

    workflows: Sequence[type]
    activities: Sequence[Callable[..., Any]]  # activities take their own input models


@asynccontextmanager
async def open_work(settings: Settings, database: Database, client: Client) -> AsyncIterator[Mapping[Queue, Work]]:
    """Build every activity with its tools, and close the tools at the end."""
    async with AsyncExitStack() as closing:
        library = DefinitionLibrary(load_from(database, asyncio.get_running_loop()))
        install(library)
        renderer = Renderer()
        closing.push_async_callback(renderer.close)
        webhooks = Webhooks(await webhook_secret(settings, database), allow_private=settings.allow_private_calls)
        closing.push_async_callback(webhooks.close)
        providers = Providers(email=email_provider(settings, closing), webhook=WebhookChannel(webhooks))
        pacer = Pacer(database, {providers.email.name: settings.email_per_second})
        messages = MessageActivities(
            database, library, renderer, providers, pacer, public_url=settings.public_url.rstrip("/")
        )
        calls = CallActivities(database, library, renderer, webhooks)
        redemptions = RedemptionActivities(database, webhooks)
        journeys = _journey_work(database, library, renderer, client)
        decisions = (*journeys.activities, redemptions.issue_redemption, redemptions.conclude_redemption)
        yield {
            Queue.JOURNEYS: Work(journeys.workflows, decisions),
            Queue.MESSAGES: Work((), (messages.send, messages.settle_messages, calls.call, redemptions.ask_shop)),
        }


async def work(
    settings: Settings,
    database: Database,
    connect: Callable[[], Awaitable[Client]],
    queues: Collection[Queue],
    begun: asyncio.Event,
) -> None:
    """Serve the queues until cancelled; what has begun is given time to end. `begun` is set once they are served.

    However long Temporal does not answer, also in the middle of starting, it costs time only.
    """
    client = await until_answered(connect, "connection")
    async with open_work(settings, database, client) as parts:
        await until_answered(partial(check_namespace, client), "namespace")
        async with asyncio.TaskGroup() as serving:
            for queue in queues:
                serving.create_task(_serve(partial(_worker, client, queue, parts[queue], settings)), name=f"{queue}")
            begun.set()
            _log.info("working", queues=sorted(queues))


async def _serve(make: Callable[[], Worker]) -> None:
    """Run a worker until cancelled, which it takes as the wish to finish. What Temporal's silence ends begins again."""
    while True:
        try:
            await make().run()
        except RuntimeError:
            _log.warning("the worker ended; beginning again", exc_info=True)
        await asyncio.sleep(_PAUSE_SECONDS)


async def webhook_secret(settings: Settings, database: Database) -> str:
    """The `whsec_` secret that signs outgoing webhooks: the setting, else one that this deployment made for itself."""
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value()
    async with database.transaction() as session:
        return f"whsec_{base64.b64encode(await secret(session, _WEBHOOKS)).decode()}"


def _journey_work(database: Database, library: DefinitionLibrary, renderer: Renderer, client: Client) -> Work:
    waits = WaitActivities(database, library)
    branches = BranchActivities(database, library)
    updates = UpdateActivities(database, library, renderer)
    runs = RunActivities(database, library)
    erasures = ErasureActivities(database, client)
    audiences = AudienceActivities(database)
    settling = SettlingActivities(database)
    return Work(
        WORKFLOWS,
        (
            *(waits.wait, waits.wait_for),
            *(branches.branch, branches.split),
            *(updates.update, updates.emit, updates.start),
            PointsActivities(database, library).points,
            RewardActivities(database, library).reward,
            *(runs.finish_run, runs.fail_step),
            ReconciliationActivities(database, client).reconcile_runs,
            RetentionActivities(database).forget_decisions,
            *(erasures.delete_executions, erasures.remove_records, erasures.prove),
            *(settling.settle_accounts, settling.close_tier_periods, settling.warn_of_expiry),
            *(settling.end_referral_holds, settling.expire_redemptions),
            settling.close_challenges,
            *(audiences.enter_due_dates, audiences.enter_audience, audiences.backfill_dates),
            ReferralActivities(database).reward_referral,
        ),
    )


def _worker(client: Client, queue: Queue, work: Work, settings: Settings) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=work.workflows,
        activities=work.activities,
        workflow_runner=sandbox(),
        max_cached_workflows=settings.max_cached_workflows,
        max_concurrent_workflow_tasks=_DECISIONS_AT_ONCE,
        max_concurrent_activities=_SENDS_AT_ONCE,
        graceful_shutdown_timeout=_GRACE,
    )
