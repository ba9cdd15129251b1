"""The loyalty programme: its life as a document, and what a cart would earn under it."""

from __future__ import annotations

from api.documents import document_router
from api.programme_kind import ProgrammeKind
from domain.keys import Scope

router = document_router(ProgrammeKind, read=Scope.LOYALTY_READ, write=Scope.LOYALTY_WRITE)
