"""Links into the Temporal UI, for people who look into a run or a customer."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TemporalUi:
    """Where the UI is and which namespace it shows."""

    address: str = "http://127.0.0.1:8233"
    namespace: str = "default"

    def workflows_of(self, customer_id: UUID) -> str:
        """All workflows of a customer, by the search attribute that every run carries."""
        return f"{self._namespace}/workflows?query={quote(query_for(customer_id), safe='')}"

    def workflow(self, workflow_id: str, run_id: str | None) -> str:
        """One workflow, at the execution that is named."""
        path = f"{self._namespace}/workflows/{quote(workflow_id, safe='')}"
        return f"{path}/{run_id}" if run_id else path

    @property
    def _namespace(self) -> str:
        return f"{self.address.rstrip('/')}/namespaces/{quote(self.namespace, safe='')}"


def query_for(customer_id: UUID) -> str:
    """The query that Temporal's list takes, in its UI and on its command line."""
    return f'CustomerId="{customer_id}"'
