"""Published versions, read once per process. They are immutable, so a cache never goes stale.

Workflows cannot do I/O, so they read definitions from the library that the worker's composition root installed here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from domain.errors import Unavailable
from domain.journeys.definition import JourneyDefinition
from domain.journeys.flow import Flow
from domain.published import read_published

Load = Callable[[str, int], Mapping[str, Any] | None]
"""Reads the document of a version, blocking for a moment at most; None when there is no such version."""


class DefinitionLibrary:
    """A bounded cache of flows by journey and version, the least recently used leaving first."""

    def __init__(self, load: Load, *, capacity: int = 1_000) -> None:
        self._load = load
        self._capacity = capacity
        self._flows: OrderedDict[tuple[str, int], Flow] = OrderedDict()

    def get(self, journey: str, version: int) -> Flow:
        """The flow of a version; raises Unavailable when it cannot be read: the workflow task fails, not the run."""
        kept = self.kept(journey, version)
        if kept is not None:
            return kept
        document = self._load(journey, version)
        if document is None:
            raise Unavailable(f"Version {version} of {journey} cannot be read.", code="definition_unavailable")
        return self.keep(journey, version, document)

    def kept(self, journey: str, version: int) -> Flow | None:
        """The flow, if it is in the cache."""
        flow = self._flows.get((journey, version))
        if flow is not None:
            with suppress(KeyError):  # another thread may have evicted it meanwhile
                self._flows.move_to_end((journey, version))
        return flow

    def keep(self, journey: str, version: int, document: Mapping[str, Any]) -> Flow:
        """Read a version's document and keep its flow."""
        flow = Flow(read_published(JourneyDefinition, document))
        self._flows[journey, version] = flow
        while len(self._flows) > self._capacity:
            self._flows.popitem(last=False)
        return flow


_installed: list[DefinitionLibrary] = []


def install(library: DefinitionLibrary) -> None:
    """Give the workflows of this process the library to read from; done once by the composition root."""
    _installed[:] = [library]


def flow_of(journey: str, version: int) -> Flow:
    """The flow of a published version, from the installed library."""
    if not _installed:
        raise Unavailable("No library of definitions is installed in this process.", code="definition_unavailable")
    return _installed[0].get(journey, version)
