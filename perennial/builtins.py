"""The journeys and templates that come with the product, published once through the API, as a shop would.

`templates/journeys/<key>.yaml` is a journey. `templates/email/<key>/` is a template: `template.yaml` holds the short
members of its document (name, subject, preheader, sample, locales), `body.mjml` or `body.html` and `body.txt` the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from domain.errors import Invalid, NotFound
from domain.templates import LAYOUT
from domain.yaml import read_yaml
from perennial.document_files import read_folder
from perennial.documents import Document, DocumentsApi, open_client

_BODIES = {"mjml": "body.mjml", "html": "body.html", "text": "body.txt"}


async def publish_builtins(api_url: str, key: str, folder: Path) -> None:
    """Publish what is not there yet. What marketers have changed since, or archived, stays as it is."""
    async with open_client(api_url, key) as client:
        await _publish(DocumentsApi(client, "templates"), read_templates(folder / "email"))
        await _publish(DocumentsApi(client, "journeys"), read_folder(folder / "journeys", "journey"))


def read_templates(folder: Path) -> dict[str, Document]:
    """The template documents of a folder by key, the layout that the others stand in first."""
    templates = {path.parent.name: _read_template(path.parent) for path in sorted(folder.glob("*/template.yaml"))}
    return dict(sorted(templates.items(), key=lambda item: item[0] != LAYOUT))


def _read_template(folder: Path) -> Document:
    short = read_yaml((folder / "template.yaml").read_bytes())
    bodies = {member: folder / name for member, name in _BODIES.items()}
    long = {member: path.read_text(encoding="utf-8") for member, path in bodies.items() if path.exists()}
    return {"template": folder.name, **short, **long}


async def _publish(api: DocumentsApi, documents: Mapping[str, Document]) -> None:
    for key, document in documents.items():
        if not await _is_missing(api, key):
            continue
        saved = await api.save(key, document)
        if not saved.is_publishable:
            first = next(finding for finding in saved.findings if finding["severity"] == "error")
            raise Invalid(f"The built-in {key} is faulty at {first['pointer']}: {first['message']}")
        await api.publish(key)


async def _is_missing(api: DocumentsApi, key: str) -> bool:
    """Whether it was never published: absent, or saved by a first start that was cut short."""
    try:
        return bool((await api.load(key))["state"] == "draft")
    except NotFound:
        return True
