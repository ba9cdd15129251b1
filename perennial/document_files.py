"""Documents as YAML files in a folder, one file a document, so that they can live in git."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from domain.errors import Malformed
from domain.yaml import read_yaml

Document = Mapping[str, Any]  # any JSON object


def read_folder(folder: Path, kind: str) -> dict[str, Document]:
    """The documents of every .yaml file, by key; `kind` names the member that holds it. Raises Malformed by file."""
    return dict(_read(path, kind) for path in sorted(folder.glob("*.yaml")))


def write_document(folder: Path, key: str, document: Document) -> Path:
    """Write `<key>.yaml`, making the folder if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.yaml"
    path.write_text(write_yaml(document), encoding="utf-8")
    return path


def write_yaml(document: Document) -> str:
    """YAML that reads back as the same document."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def difference(key: str, there: Document | None, here: Document | None) -> str:
    """A unified diff from the API's draft to the file; empty when they are the same document."""
    if there == here:
        return ""
    before, after = (write_yaml(side).splitlines(keepends=True) if side else [] for side in (there, here))
    return "".join(difflib.unified_diff(before, after, f"api/{key}.yaml", f"files/{key}.yaml"))


class _Dumper(yaml.SafeDumper):
    """Writes what domain/yaml.py reads: PyYAML's own dumper leaves `1e3` bare, which is a number there."""

    def ignore_aliases(self, data: object) -> bool:
        return True  # our reader refuses aliases

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "|" if "\n" in text else "'" if _reads_as_other_than_text(text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def _reads_as_other_than_text(text: str) -> bool:
    try:
        return not isinstance(read_yaml(text), str)
    except Malformed:
        return True


def _read(path: Path, kind: str) -> tuple[str, Document]:
    try:
        document = read_yaml(path.read_bytes())
    except Malformed as error:
        raise Malformed(f"{path}: {error.detail}") from None
    if not isinstance(document, dict) or not isinstance(document.get(kind), str):
        raise Malformed(f"{path}: a {kind} document begins with `{kind}: <key>`.")
    return document[kind], document
