"""`perennial journeys`: journeys, and the documents that they need, as YAML files in git."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from perennial.cli.terminal import console, errors, load_settings, run

if TYPE_CHECKING:
    from perennial.document_files import Documents
    from perennial.documents import ApiOf

T = TypeVar("T")
Folder = Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Folder with one <key>.yaml per journey.")]
Paths = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Files, and folders with .yaml files, also under templates/, rewards/, ..."),
]

_journeys = typer.Typer(
    help="Keep journeys, templates, rewards and the like as YAML files: push them, pull them, show what differs.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(_journeys, name="journeys")


@_journeys.command("push")
def push(
    paths: Paths,
    publish: Annotated[bool, typer.Option("--publish", help="Publish what changed, not only save it.")] = False,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Confirm plans for runs in flight: they stay on their version.")
    ] = False,
) -> None:
    """Save the files' documents as drafts; findings are shown, and nothing with an error is published.

    Documents of every kind, in the order in which they need each other: a journey may send a template that is pushed
    with it. Uses PERENNIAL_API_URL and PERENNIAL_API_KEY, else the `perennial up` that runs here. Ends with 1 if a path
    is missing, a file cannot be read or anything could not be saved without errors, so that CI can run it; the others
    are saved.

    [dim]Examples:[/dim]
      perennial journeys push shop/
      perennial journeys push shop/ --publish --confirm
      perennial journeys push shop/welcome.yaml shop/templates/hello.yaml
    """
    if not run(_with_api(lambda api: _push(api, paths, publish=publish, confirm=confirm))):
        raise typer.Exit(1)


@_journeys.command("pull")
def pull(folder: Folder) -> None:
    """Write every draft to a file, replacing those of that name: journeys to <key>.yaml, others under their kind.

    [dim]Example:[/dim]
      perennial journeys pull shop/ && git diff shop/
    """
    if not run(_with_api(lambda api: _pull(api, folder))):
        raise typer.Exit(1)


@_journeys.command("diff")
def diff(paths: Paths) -> None:
    """Show what a push would change, of the kinds that the files have; ends with 1 if anything differs.

    [dim]Example:[/dim]
      perennial journeys diff shop/
    """
    if run(_with_api(lambda api: _diff(api, paths))):
        raise typer.Exit(1)


async def _with_api(work: Callable[[ApiOf], Awaitable[T]]) -> T:
    from perennial.document_kinds import plural
    from perennial.documents import DocumentsApi, find_api, open_client

    async with open_client(*find_api(load_settings())) as client:
        return await work(lambda kind: DocumentsApi(client, plural(kind)))


async def _push(api: ApiOf, paths: list[Path], *, publish: bool, confirm: bool) -> bool:
    """Whether everything went well."""
    from perennial.cli.pushing import Push
    from perennial.document_files import find_documents

    found = find_documents(paths)
    for fault in found.faults:
        errors.print(fault.detail, style="red", markup=False, highlight=False)
    here = found.documents
    push = Push(api, here, await _drafts(api, {name.kind for name in here}))
    went_well = await (push.publish(confirm=confirm) if publish else push.save())
    return went_well and not found.faults


async def _pull(api: ApiOf, folder: Path) -> bool:
    """Whether the key may read documents of every kind; those that it may read are written anyhow."""
    from perennial.document_files import write_document
    from perennial.document_kinds import KINDS, plural
    from perennial.documents import RefusedError

    read_all = True
    for kind in KINDS:
        try:
            drafts = await _drafts(api, {kind})
        except RefusedError as refused:
            errors.print(f"{plural(kind)}: {refused.detail}", style="red", markup=False)
            read_all = False
            continue
        for name, draft in drafts.items():
            console.print(str(write_document(folder, name, draft)), soft_wrap=True, highlight=False, markup=False)
    return read_all


async def _diff(api: ApiOf, paths: list[Path]) -> bool:
    """Whether anything differs."""
    from perennial.document_files import difference, read_files

    here = read_files(paths)
    there = await _drafts(api, {name.kind for name in here})
    differences = [
        text for name in sorted({**there, **here}) if (text := difference(name, there.get(name), here.get(name)))
    ]
    for text in differences:
        console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    return bool(differences)


async def _drafts(api: ApiOf, kinds: Collection[str]) -> Documents:
    """All drafts of these kinds that are not archived."""
    from perennial.document_kinds import Name

    return {Name(kind, key): draft for kind in sorted(kinds) for key, draft in (await api(kind).drafts()).items()}
