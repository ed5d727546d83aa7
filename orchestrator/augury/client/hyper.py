"""`client.hyper`: create, get and list searches, in the old product's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from augury.client.building import ParameterLike, build
from augury.client.search import Search
from augury.client.shipping import ship

if TYPE_CHECKING:
    from augury.client.routes import Routes
    from augury.spec import Kind


class HyperService:
    """Hyperparameter searches of one instance.

    Every `new_...` takes `command` (a string is a shell line, a list of words an argv) and the keywords
    `machine_type, labels, description, env, cwd, seed, goal, metric, metric_agg, metric_regex,
    parallel_runs, max_runs, retries, timeout (minutes), grace and lost_after (seconds), snapshot`. With
    `snapshot=True` the runs get the files of the working tree as they are now, packed and sent; that is what
    a remote instance does unless it is False.
    """

    LINEAR: Final = "linear"
    LOG: Final = "log"
    REVERSE_LOG: Final = "reverse_log"
    INT: Final = "int"
    FLOAT: Final = "float"

    def __init__(self, client: Routes) -> None:
        self._client = client

    def new_grid_search(
        self, params: Mapping[str, ParameterLike], command: str | Sequence[str], **keywords: Any
    ) -> Search:
        """Create a search of every combination of the values in `params`.

        Raises:
            UsageError: a parameter, the command or a keyword is wrong; nothing has been created.
        """
        return self._create("grid", params, command, keywords)

    def new_random_search(
        self,
        params: Mapping[str, ParameterLike],
        num_runs: int,
        command: str | Sequence[str],
        **keywords: Any,
    ) -> Search:
        """Create a search of `num_runs` independent draws; raises as `new_grid_search`."""
        return self._create("random", params, command, {**keywords, "num_runs": num_runs})

    def new_bayesian_search(
        self,
        params: Mapping[str, ParameterLike],
        num_runs: int,
        parallel_runs: int,
        metric: str,
        metric_agg: str,
        command: str | Sequence[str],
        **keywords: Any,
    ) -> Search:
        """Create a search of at most `num_runs` runs, `parallel_runs` at a time, that learns as it goes.

        Each run is judged by `metric`, reduced by `metric_agg` (`avg min max last`); the highest is best
        unless `goal="minimize"`. Raises as `new_grid_search`.
        """
        given = {
            "num_runs": num_runs,
            "parallel_runs": parallel_runs,
            "metric": metric,
            "metric_agg": metric_agg,
        }
        return self._create("bayesian", params, command, {**keywords, **given})

    def get(self, search_id: int) -> Search:
        """Return a search; raises `NotFoundError` when there is none of this id."""
        return Search(self._client, self._client.get_search(search_id))

    def list(self, limit: int | None = None, all: bool = False, label: str | None = None) -> list[Search]:
        """Return one's own searches (`all`: everybody's), ascending by id, the newest `limit` of them."""
        documents = self._client.list_searches(limit, all, label)
        return [Search(self._client, document) for document in documents][::-1]

    def _create(
        self,
        kind: Kind,
        params: Mapping[str, ParameterLike],
        command: str | Sequence[str],
        keywords: Mapping[str, Any],
    ) -> Search:
        spec = build(kind, command, params, keywords, self._client.address.local)
        spec, _ = ship(self._client, spec, keywords.get("snapshot"))
        return Search(self._client, self._client.submit(spec)["search"])
