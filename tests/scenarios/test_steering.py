"""Steering journeys that run: pause, archive, versions, and ending runs from the API and from Temporal."""

from __future__ import annotations

import asyncio
import subprocess
import time

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client as Temporal

from perennial.embedded.temporal import binary
from tests.scenarios.conftest import Stack, eventually
from tests.scenarios.shoppers import Json, Shopper, is_over, note, outcomes, published, reason_of, stands_at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WITHIN_A_MINUTE = 120
BEFORE_IT_ENDS = "10s"
"""How long a wait lasts during which something is done, on a busy machine too."""


def post(stack: Stack, path: str, body: Json | None = None, status: int = 200) -> Json:
    """One POST that is answered so."""
    answer = stack.client.post(path, json=body or {})
    assert answer.status_code == status, answer.text
    result: Json = answer.json()
    return result


def temporal(stack: Stack, *arguments: str) -> str:
    """What Temporal's own command line answers."""
    command = [str(binary("temporal")), *arguments, "--address", stack.addresses["temporal_address"]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def waiting(stack: Stack, journey: str, **properties: str) -> Shopper:
    """A customer whose run stands at the wait `w`."""
    shopper = Shopper(stack)
    shopper.start(journey, properties)
    shopper.run(journey, stands_at("w"))
    return shopper


def test_a_paused_journey_takes_nobody_in_and_sends_nothing_while_exits_and_waits_settle(stack: Stack) -> None:
    template = note(stack)
    journey = published(
        stack,
        [
            {"wait_for": {"id": "w", "timeout": BEFORE_IT_ENDS}},
            {"send": {"id": "stale", "template": template, "not_after": "1s"}},
            {"send": {"id": "fresh", "template": template}},
        ],
        exit=[{"event": "Left"}],
    )
    stays, leaves, comes = waiting(stack, journey), waiting(stack, journey), Shopper(stack)
    post(stack, f"/v1/journeys/{journey}/pause")
    comes.start(journey)
    leaves.track("Left")

    held = stays.run(journey, lambda run: ("stale", "held") in outcomes(run))
    time.sleep(1.5)  # the first message grows stale

    assert held["state"] == "active"
    assert leaves.run(journey, is_over)["state"] == "exited"
    assert comes.explained(journey)["considered"][0]["reason"] == "paused"
    assert stays.messages() == []
    post(stack, f"/v1/journeys/{journey}/resume")
    run = stays.run(journey, is_over)
    assert outcomes(run)[-2:] == [("stale", "skipped"), ("fresh", "done")]
    assert reason_of(run, "stale") == "not_after"
    assert comes.runs(journey) == []


def test_a_restricted_customer_gets_no_mail_until_the_restriction_is_lifted(stack: Stack) -> None:
    journey = published(
        stack, [{"wait_for": {"id": "w", "timeout": BEFORE_IT_ENDS}}, {"send": {"id": "s", "template": note(stack)}}]
    )
    ann = waiting(stack, journey)
    path = f"/v1/customers/{ann.id}/restriction"
    assert stack.client.put(path, json={"reason": "disputes it"}).status_code == 200

    ann.run(journey, lambda run: ("s", "held") in outcomes(run))
    mails_meanwhile = stack.mailbox.of(ann.email)
    assert stack.client.delete(path).status_code == 204

    run = ann.run(journey, is_over)
    assert mails_meanwhile == []
    assert outcomes(run)[-1] == ("s", "done")
    assert len(stack.mailbox.of(ann.email)) == 1


def test_archiving_a_journey_ends_its_runs_and_takes_nobody_in(stack: Stack) -> None:
    journey = published(stack, [{"wait": {"id": "w", "for": "300s"}}])
    ann = waiting(stack, journey)

    post(stack, f"/v1/journeys/{journey}/archive")
    ann.start(journey)

    run = ann.run(journey, is_over)
    assert (run["state"], run["reason"]) == ("exited", "archived")


def test_a_confirmed_plan_moves_finishes_and_leaves_runs_as_it_says(stack: Stack) -> None:
    def arm(name: str, seconds: int) -> Json:
        return {"if": {"event": "properties.arm", "eq": name}, "steps": [{"wait": {"id": name, "for": f"{seconds}s"}}]}

    def marks(shopper: Shopper) -> int | None:
        mark: int | None = shopper.profile()["traits"].get("by")
        return mark

    steps: list[Json] = [
        {"branch": [arm("moves", 300), arm("ends", 300), arm("stays", 15)]},
        {"update": {"traits": {"by": 1}}},
    ]
    journey = published(stack, steps)
    shoppers = {name: Shopper(stack) for name in ("moves", "ends", "stays")}
    for name, shopper in shoppers.items():
        shopper.start(journey, {"arm": name})
        shopper.run(journey, stands_at(name))
    draft = stack.get(f"/v1/journeys/{journey}")["draft"]
    shorter = [{"wait": {"id": "moves", "for": "2s"}}, {"update": {"traits": {"by": 2}}}]
    assert stack.client.put(f"/v1/journeys/{journey}", json=draft | {"steps": shorter}).status_code == 200

    path = f"/v1/journeys/{journey}/publish"
    plan = post(stack, path, {"dry_run": True})
    assert plan["version"] == 2
    assert {(flight["step"], flight["runs"]) for flight in plan["in_flight"]} == {(name, 1) for name in shoppers}
    post(stack, path, {"plan": "0" * 32}, status=409)
    post(stack, path, {"plan": plan["plan"], "policy": {"ends": "move"}}, status=409)
    post(stack, path, {"plan": plan["plan"], "policy": {"moves": "move", "ends": "finish"}})

    ended = {name: shopper.run(journey, is_over) for name, shopper in shoppers.items()}
    assert {name: (run["state"], run["version"]) for name, run in ended.items()} == {
        "moves": ("completed", 2),
        "ends": ("exited", 1),
        "stays": ("completed", 1),
    }
    assert eventually(lambda: marks(shoppers["moves"]), lambda by: by is not None) == 2
    assert eventually(lambda: marks(shoppers["stays"]), lambda by: by is not None) == 1


def test_a_run_ended_by_hand_is_over_at_once_and_cannot_be_ended_again(stack: Stack) -> None:
    journey = published(stack, [{"wait": {"id": "w", "for": "300s"}}])
    run = waiting(stack, journey).run(journey)

    answer = post(stack, f"/v1/runs/{run['id']}/exit", {"reason": "moved away"})

    assert (answer["state"], answer["reason"]) == ("exited", "moved away")
    post(stack, f"/v1/runs/{run['id']}/exit", status=409)
    workflow = run["temporal"]["workflow_id"]
    eventually(lambda: temporal(stack, "workflow", "describe", "-w", workflow), lambda told: "COMPLETED" in told)


def test_ops_find_and_end_runs_with_temporals_own_tools(stack: Stack) -> None:
    journey = published(stack, [{"wait": {"id": "w", "for": "300s"}}])
    cancelled, terminated = shoppers = [waiting(stack, journey) for _ in range(2)]
    workflows = [shopper.run(journey)["temporal"]["workflow_id"] for shopper in shoppers]
    query = f"Journey = '{journey}' AND Step = 'w' AND JourneyVersion = 1"
    eventually(
        lambda: temporal(stack, "workflow", "list", "--query", query),
        lambda listed: all(workflow in listed for workflow in workflows),
    )

    temporal(stack, "workflow", "cancel", "-w", workflows[0])
    temporal(stack, "workflow", "terminate", "-w", workflows[1])

    assert cancelled.run(journey, is_over, WITHIN_A_MINUTE)["reason"] == "cancelled"
    assert terminated.run(journey, is_over, WITHIN_A_MINUTE)["reason"] == "terminated"


def test_a_run_reset_in_temporal_goes_on_and_its_row_follows(stack: Stack) -> None:
    journey = published(stack, [{"wait_for": {"id": "w", "timeout": "300s", "any": [{"event": "Done"}]}}])
    ann = waiting(stack, journey)
    before = ann.run(journey)["temporal"]

    asyncio.run(_reset(stack.addresses["temporal_address"], before["workflow_id"]))

    ann.run(journey, lambda run: run["temporal"]["run_id"] != before["run_id"], WITHIN_A_MINUTE)
    ann.run(journey, stands_at("w"))
    ann.track("Done")
    assert ann.run(journey, is_over)["state"] == "completed"


async def _reset(address: str, workflow_id: str) -> None:
    """To the first workflow task, as the UI's button does."""
    client = await Temporal.connect(address)
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="tried by a test",
            workflow_task_finish_event_id=4,
            request_id=workflow_id,
        )
    )
