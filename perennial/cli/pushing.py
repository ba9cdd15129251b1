"""What `perennial journeys push` does with documents that it has read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from perennial.cli.terminal import console, errors
from perennial.document_files import Documents
from perennial.document_kinds import Name, in_order, is_resolved
from perennial.documents import ApiOf, RefusedError, Saved


class Push:
    """Documents from files on their way to the API, each after those that it needs. A refusal stops no other one."""

    def __init__(self, api: ApiOf, here: Documents, there: Documents) -> None:
        self._api = api
        self._here = here
        self._there = there
        self._failed: set[Name] = set()

    async def save(self) -> bool:
        """Save all as drafts; whether that went well. A document that is pushed as well counts as there."""
        await self._each(self._save)
        return not self._failed

    async def publish(self, *, confirm: bool) -> bool:
        """Save and publish all; whether that went well. All are saved first: journeys may start each other."""
        await self._each(self._keep)
        await self._each(lambda name: self._publish(name, confirm=confirm))
        return not self._failed

    async def _each(self, work: Callable[[Name], Awaitable[bool]]) -> None:
        for name in in_order(self._here):
            if name in self._failed:
                continue
            try:
                went_well = await work(name)
            except RefusedError as refused:
                errors.print(f"{_shown(name)}: {refused.detail}", style="red", markup=False)
                went_well = False
            if not went_well:
                self._failed.add(name)

    async def _save(self, name: Name) -> bool:
        document = self._here[name]
        if self._there.get(name) == document:
            console.print(f"{_shown(name)}: unchanged", markup=False)
            return True
        saved = await self._api(name.kind).save(name.key, document)
        left = Saved([finding for finding in saved.findings if not is_resolved(finding, document, self._here)])
        _show_findings(name, left.findings)
        if left.is_publishable:
            console.print(f"{_shown(name)}: saved", markup=False)
        return left.is_publishable

    async def _keep(self, name: Name) -> bool:
        """Its findings follow when all that it needs is published."""
        if self._there.get(name) != self._here[name]:
            await self._api(name.kind).save(name.key, self._here[name])
        return True

    async def _publish(self, name: Name, *, confirm: bool) -> bool:
        api = self._api(name.kind)
        checked = await api.check(name.key)
        _show_findings(name, checked.findings)
        if not checked.is_publishable:
            return False
        plan = await api.plan(name.key)
        if await self._is_unchanged(name, plan.changes):
            console.print(f"{_shown(name)}: unchanged", markup=False)
            return True
        if plan.in_flight and not confirm:
            for step in plan.in_flight:
                errors.print(f"{_shown(name)}: {step['runs']} runs stand at {step['step']}", markup=False)
            errors.print(f"{_shown(name)}: saved, not published; --confirm publishes and lets them stay", markup=False)
            return False
        version = await api.publish(name.key, plan=plan.digest)
        console.print(f"{_shown(name)}: published as version {version}", markup=False)
        return True

    async def _is_unchanged(self, name: Name, changes: Sequence[Any]) -> bool:
        """Only journeys plan their changes: the steps of their versions have ids that their drafts may lack."""
        api = self._api(name.kind)
        if name.kind == "journey":
            return not changes and (await api.load(name.key))["state"] != "draft"
        return await api.is_published(name.key)


def _shown(name: Name) -> str:
    """Journeys by their key alone, as most pushes are of journeys."""
    return name.key if name.kind == "journey" else f"{name.kind} {name.key}"


def _show_findings(name: Name, findings: Sequence[Mapping[str, Any]]) -> None:
    for finding in findings:
        colour = "red" if finding["severity"] == "error" else "yellow"
        where = finding.get("pointer") or ""
        sentence = f"{_shown(name)} {where} {finding['severity']} {finding['code']}: {finding['message']}"
        errors.print(sentence, style=colour, markup=False)
