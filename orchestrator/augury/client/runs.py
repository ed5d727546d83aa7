"""`client.runs`: create, get and list single runs, in the old product's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from augury.client.building import ParameterLike, build
from augury.client.run import Run
from augury.client.shipping import ship
from augury.run import FINAL_STATES

if TYPE_CHECKING:
    from augury.client.routes import Routes
    from augury.spec import Value


class RunsService:
    """Runs of one instance."""

    QUEUED: Final = "queued"
    BUILDING: Final = "building"
    RUNNING: Final = "running"
    SAVING: Final = "saving"
    COMPLETE: Final = "complete"
    FAILED: Final = "failed"
    BUILD_FAILED: Final = "build_failed"
    MOUNT_FAILED: Final = "mount_failed"
    STOPPED: Final = "stopped"
    KILLED: Final = "killed"
    INTERRUPTED: Final = "interrupted"
    #: The states that never change again.
    FINAL: Final = FINAL_STATES

    EQUALS: Final = "eq"
    GREATER_THAN: Final = "gt"
    GREATER_THAN_EQUALS: Final = "gte"
    LESS_THAN: Final = "lt"
    LESS_THAN_EQUALS: Final = "lte"

    def __init__(self, client: Routes) -> None:
        self._client = client

    def new(
        self, command: str | Sequence[str], params: Mapping[str, Value] | None = None, **keywords: Any
    ) -> Run:
        """Create one run, outside any search; `params` gives the value of each `:name:` in the command.

        The keywords are those of `client.hyper`. Raises `UsageError` when something is wrong; nothing
        has been created then.
        """
        space: dict[str, ParameterLike] = {name: [value] for name, value in (params or {}).items()}
        spec = build("run", command, space, keywords, self._client.address.local)
        spec, _ = ship(self._client, spec, keywords.get("snapshot"))
        return Run(self._client, self._client.submit_run(spec)["run"])

    def get(self, run_id: int) -> Run:
        """Return a run; raises `NotFoundError` when there is none of this id."""
        return Run(self._client, self._client.get_run(run_id))

    def list(self, number: int = 50, label: str | None = None, all: bool = False) -> list[Run]:
        """Return the newest `number` of one's own runs (`all`: everybody's), ascending by id."""
        documents = self._client.list_runs(number, all, label)
        return [Run(self._client, document) for document in documents][::-1]
