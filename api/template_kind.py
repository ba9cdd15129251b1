"""What templates plug into the life cycle of documents: the allow-list, and a rendering of each language."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import ClassVar

from activities.message_content import link_hosts
from api.beforehand import beforehand
from api.dependencies import ApiDependencies
from api.document_answers import PublishRequest
from api.documents_in_use import refuse_if_used
from api.template_contexts import sample_context
from database.session import WriteSession
from database.shop_settings import shop_settings
from database.templates import frame_of
from domain.consent import MARKETING
from domain.document import Document
from domain.documents import Change, Planned, Publication, Published
from domain.errors import TemplateAborted, TemplateFailed
from domain.findings import Finding, Severity, has_errors
from domain.journeys.call_checks import check_call
from domain.journeys.places import Place
from domain.journeys.steps import Call
from domain.message_links import link_findings
from domain.shop_settings import ShopSettings
from domain.template_language import template_findings
from domain.template_senders import sender_findings
from domain.templates import (
    CONTENT_MARK,
    LAYOUT,
    Frame,
    TemplateDocument,
    blocks_of,
    blocks_without_html,
    email_content,
    sort_of,
)


class TemplateKind:
    """Templates among the documents."""

    name: ClassVar[str] = "template"
    plural: ClassVar[str] = "templates"
    model: ClassVar[type[Document]] = TemplateDocument
    changes: ClassVar[frozenset[Change]] = frozenset({Change.ARCHIVE})
    changes_nature: ClassVar[bool] = True

    def __init__(self, dependencies: ApiDependencies) -> None:
        self._renderer = dependencies.renderer
        self._allow_private_calls = dependencies.allow_private_calls

    async def check(self, session: WriteSession, key: str, draft: Document) -> Sequence[Finding]:
        """What is wrong with a template: what it may not do, and what happens when it is rendered with its sample."""
        assert isinstance(draft, TemplateDocument)  # noqa: S101  `model` says so
        findings = template_findings(draft)
        if draft.channel == "webhook" and draft.url:
            call = Call(url=draft.url, headers=draft.headers, body=draft.body)
            findings += check_call(call, Place(""), allow_private=self._allow_private_calls)
        settings = await shop_settings(session)
        if draft.sender is not None:
            findings += sender_findings(draft.sender, settings)
        if has_errors(findings):
            return findings
        frame = await frame_of(session, draft)
        if unknown := blocks_of([draft]) - frame.blocks.keys():
            return [*findings, *map(_unknown_block, sorted(unknown))]
        if unfit := blocks_without_html(draft, frame.blocks):
            return [*findings, *map(_block_without_html, sorted(unfit))]
        ground = [each.model_dump_json() for each in (draft, settings, *frame.documents())]
        name = f"rendered/{hashlib.sha256(' '.join(ground).encode()).hexdigest()}"
        return [*findings, *await beforehand(session, name, lambda: self._rendered(draft, frame, settings))]

    async def publish(
        self, session: WriteSession, publication: Publication, request: PublishRequest, as_of: datetime
    ) -> Published | Planned:
        """The version is the draft. Messages that are claimed from now on use it.

        Raises Conflict when it is another sort of template than the one that is sent or shown.
        """
        if publication.live_document is not None:
            before, after = sort_of(publication.live_document), sort_of(publication.document)
            if before != after:
                instead = f"It is {before}, and cannot become {after} while they need it: publish that by another key."
                await refuse_if_used(session, self.name, publication.key, instead=instead)
        if request.dry_run:
            return Planned({"plan": "", "version": publication.version, "changes": [], "in_flight": []})
        return Published(publication.document)

    async def changed(self, session: WriteSession, key: str, change: Change, as_of: datetime) -> None:
        """Nothing follows: no live journey sends it, else it could not be archived."""

    async def _rendered(self, draft: TemplateDocument, frame: Frame, settings: ShopSettings) -> list[Finding]:
        """The same finding of several languages is said once."""
        return list(dict.fromkeys([finding async for finding in self._trials(draft, frame, settings)]))

    async def _trials(self, draft: TemplateDocument, frame: Frame, settings: ShopSettings) -> AsyncIterator[Finding]:
        context = sample_context(draft.sample, settings, purpose=MARKETING)
        hosts = link_hosts(draft, frame, settings)
        if draft.template == LAYOUT and CONTENT_MARK not in (draft.mjml or ""):
            message = f"The layout needs the mark {CONTENT_MARK} where the templates' bodies go."
            yield Finding(code="content_mark_missing", pointer="/mjml", message=message)
        try:
            if draft.channel == "webhook":
                written = {"url": draft.url or "", "body": draft.body or {}, "headers": dict(draft.headers)}
                await self._renderer.render_strings(written, context)
                return
            own = draft.language or settings.language
            for language in dict.fromkeys((own, *draft.locales)):
                content = email_content(draft, [language], frame=frame, shop_language=settings.language)
                try:
                    rendered = await self._renderer.render(content, context)
                except TemplateAborted:
                    continue  # it does what it is meant to do with such a sample
                for finding in link_findings(rendered.html, hosts, _body(draft)):
                    yield finding
                if draft.sample and language == own:
                    for finding in _gaps(rendered.missing):
                        yield finding
        except TemplateAborted:
            return
        except TemplateFailed as error:
            yield Finding(code=error.code, pointer=_body(draft), message=error.detail)


def _unknown_block(key: str) -> Finding:
    message = f"There is no published block {key}; publish it first, with `block: true`."
    return Finding(code="block_unknown", pointer="", message=message)


def _block_without_html(key: str) -> Finding:
    message = f"The block {key} has only mjml, which an html body cannot show; give it html as well."
    return Finding(code="block_unfit", pointer="/html", message=message)


def _gaps(missing: Sequence[str]) -> list[Finding]:
    return [
        Finding(
            code="value_missing",
            severity=Severity.WARNING,
            message=f"The sample has no {name}; say what stands there without it: | default('...').",
        )
        for name in missing
    ]


def _body(draft: TemplateDocument) -> str:
    if draft.channel == "webhook":
        return "/body"
    return next((f"/{body}" for body in ("mjml", "html", "text") if getattr(draft, body) is not None), "/text")
