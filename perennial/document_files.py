"""Documents as YAML files in a folder, one file a document, so that they can live in git."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from domain.errors import Malformed, NotFound, PerennialError, Unavailable
from domain.yaml import read_yaml
from perennial.document_kinds import KINDS, Document, Name, in_documented_order, plural

Documents = Mapping[Name, Document]


@dataclass(frozen=True, slots=True)
class Found:
    """The documents of files and folders, and why the rest cannot be read."""

    documents: Documents
    faults: Sequence[PerennialError]


def find_documents(paths: Iterable[Path]) -> Found:
    """The documents of files and folders; of a folder its own .yaml and .yml files and those in a folder named after a
    kind. A fault costs its own file or path; of a document that two files have, both."""
    found: dict[Name, Document] = {}
    read_from: dict[Name, Path] = {}
    faults: list[PerennialError] = []
    for path in paths:
        try:
            for file in _files(path):
                try:
                    name, document = _read(file)
                except PerennialError as fault:
                    faults.append(fault)
                    continue
                if name in read_from:
                    faults.append(Malformed(f"{file}: {read_from[name]} is the {name.kind} {name.key} already."))
                    found.pop(name, None)
                else:
                    found[name], read_from[name] = document, file
        except NotFound as fault:
            faults.append(fault)
    return Found(found, faults)


def read_files(paths: Iterable[Path]) -> Documents:
    """The same where all of it is needed. Raises NotFound for what is not there, and Malformed by file."""
    found = find_documents(paths)
    if len(found.faults) > 1:
        raise Malformed("\n".join(fault.detail for fault in found.faults))
    for fault in found.faults:
        raise fault
    return found.documents


def read_folder(folder: Path, kind: str) -> dict[str, Document]:
    """The documents of one kind in a folder, by key."""
    return {name.key: document for name, document in read_files([folder]).items() if name.kind == kind}


def write_document(folder: Path, name: Name, document: Document) -> Path:
    """Write its file, making the folder if it is not there: a journey stands in it, others under their kind.

    Raises Unavailable where the file cannot be written.
    """
    path = folder / _file_of(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(write_yaml(in_documented_order(name.kind, document)), encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from None
    return path


def write_yaml(document: Document) -> str:
    """YAML that reads back as the same document."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def difference(name: Name, there: Document | None, here: Document | None) -> str:
    """A unified diff from the API's draft to the file; empty when they are the same document."""
    if there == here:
        return ""
    ordered = ({} if side is None else in_documented_order(name.kind, side) for side in (there, here))
    before, after = (write_yaml(side).splitlines(keepends=True) if side else [] for side in ordered)
    return "".join(difflib.unified_diff(before, after, f"api/{_file_of(name)}", f"files/{_file_of(name)}"))


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


def _file_of(name: Name) -> str:
    return f"{name.key}.yaml" if name.kind == "journey" else f"{plural(name.kind)}/{name.key}.yaml"


def _files(path: Path) -> Iterator[Path]:
    """The files of a path."""
    if path.is_dir():
        folders = [path, *(path / plural(kind) for kind in KINDS)]
        found = [file for folder in folders for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml")))]
        if not found:
            raise NotFound(f"{path}: there is no .yaml file in this folder.")
        yield from found
    elif path.exists():
        yield path
    else:
        raise NotFound(f"{path}: there is no such file or folder.")


def _read(path: Path) -> tuple[Name, Document]:
    try:
        document = read_yaml(path.read_bytes())
    except Malformed as error:
        raise Malformed(f"{path}: {error.detail}") from None
    except OSError as error:
        raise Malformed(f"{path}: {error.strerror}") from None
    kind = next((member for member in document if member in KINDS), None) if isinstance(document, dict) else None
    if kind is None or not isinstance(document[kind], str):
        known = ", ".join(f"`{each}: <key>`" for each in KINDS)
        raise Malformed(f"{path}: a document begins with what it is, one of {known}.")
    return Name(kind, document[kind]), document
