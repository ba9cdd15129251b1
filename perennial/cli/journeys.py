"""`perennial journeys`: journeys as YAML files in git."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from perennial.cli.terminal import console, errors, load_settings, run

if TYPE_CHECKING:
    from perennial.documents import DocumentsApi

T = TypeVar("T")
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder with one <key>.yaml per journey.")]

_journeys = typer.Typer(
    help="Keep journeys as YAML files: push them to the API, pull them from it, show what differs.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(_journeys, name="journeys")


@_journeys.command("push")
def push(
    folder: Folder,
    publish: Annotated[bool, typer.Option("--publish", help="Publish what changed, not only save it.")] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Confirm plans for runs in flight: they stay on their version.")
    ] = False,
) -> None:
    """Save the files' journeys as drafts; findings are shown, and nothing with an error is published.

    Uses PERENNIAL_API_URL and PERENNIAL_API_KEY, else the `perennial up` that runs here. Ends with 1 if anything
    could not be saved without errors, so that CI can run it.

    [dim]Examples:[/dim]
      perennial journeys push journeys/
      perennial journeys push journeys/ --publish --confirm
    """
    if not run(_with_api(lambda api: _push(api, folder, publish=publish, confirm=confirm))):
        raise typer.Exit(1)


@_journeys.command("pull")
def pull(folder: Folder) -> None:
    """Write every journey's draft to <key>.yaml, replacing files of that name.

    [dim]Example:[/dim]
      perennial journeys pull journeys/ && git diff journeys/
    """
    run(_with_api(lambda api: _pull(api, folder)))


@_journeys.command("diff")
def diff(folder: Folder) -> None:
    """Show what a push would change; ends with 1 if anything differs.

    [dim]Example:[/dim]
      perennial journeys diff journeys/
    """
    if run(_with_api(lambda api: _diff(api, folder))):
        raise typer.Exit(1)


async def _with_api(work: Callable[[DocumentsApi], Awaitable[T]]) -> T:
    from perennial.documents import DocumentsApi, find_api, open_client

    async with open_client(*find_api(load_settings())) as client:
        return await work(DocumentsApi(client, "journeys"))


async def _push(api: DocumentsApi, folder: Path, *, publish: bool, confirm: bool) -> bool:
    """Whether everything went well."""
    from perennial.document_files import read_folder

    there = await api.drafts()
    went_well = True
    for key, document in read_folder(folder, "journey").items():
        if there.get(key) == document and not publish:
            console.print(f"{key}: unchanged")
            continue
        saved = await api.save(key, document)
        _show_findings(key, saved.findings)
        if not saved.is_publishable:
            went_well = False
        elif publish:
            went_well = await _publish(api, key, confirm=confirm) and went_well
        else:
            console.print(f"{key}: saved")
    return went_well


async def _publish(api: DocumentsApi, key: str, *, confirm: bool) -> bool:
    plan = await api.plan(key)
    if not plan.changes and (await api.load(key))["state"] != "draft":
        console.print(f"{key}: unchanged")
        return True
    if plan.in_flight and not confirm:
        for step in plan.in_flight:
            errors.print(f"{key}: {step['runs']} runs stand at {step['step']}", markup=False)
        errors.print(f"{key}: saved, not published; --confirm publishes and lets them stay on their version")
        return False
    console.print(f"{key}: published as version {await api.publish(key, plan=plan.digest)}")
    return True


async def _pull(api: DocumentsApi, folder: Path) -> None:
    from perennial.document_files import write_document

    for key, draft in (await api.drafts()).items():
        console.print(str(write_document(folder, key, draft)), soft_wrap=True, highlight=False)


async def _diff(api: DocumentsApi, folder: Path) -> bool:
    """Whether anything differs."""
    from perennial.document_files import difference, read_folder

    there, here = await api.drafts(), read_folder(folder, "journey")
    differences = [text for key in sorted(there | here) if (text := difference(key, there.get(key), here.get(key)))]
    for text in differences:
        console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    return bool(differences)


def _show_findings(key: str, findings: Any) -> None:
    finding: Mapping[str, Any]
    for finding in findings:
        colour = "red" if finding["severity"] == "error" else "yellow"
        where = finding.get("pointer") or ""
        sentence = f"{key} {where} {finding['severity']} {finding['code']}: {finding['message']}"
        errors.print(sentence, style=colour, markup=False)
