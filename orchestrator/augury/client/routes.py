"""The routes of a server as methods, one request each (listings: one per page)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from augury.client.events import Doorbell, follow
from augury.client.transport import Transport
from augury.spec import SearchSpec

if TYPE_CHECKING:
    import httpx

    from augury.client.connection import Address

Document = dict[str, Any]

#: Items asked for per request of a listing.
PAGE = 1000


class Routes:
    """What a server offers, in its own words; documents are those of the REST pages."""

    def __init__(self, find: Callable[[bool], Address], inner: httpx.BaseTransport | None = None) -> None:
        self._transport = Transport(find, inner)

    @property
    def address(self) -> Address:
        """Where the server is; the first use finds it, and starts the local instance."""
        return self._transport.address

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # --- the server itself

    def status(self) -> Document:
        """Return the server's version, workers and counts."""
        return self._get("/status")

    def shutdown(self, force: bool = False) -> None:
        """End the server; raises `RefusedError` naming what is in flight unless `force`."""
        self._post("/shutdown", {"force": force}, repeatable=True)

    # --- workers

    def workers(self) -> Document:
        """Return all workers and queues, `{"workers": [...], "queues": [...]}`."""
        return self._get("/workers")

    def queues(self) -> list[Document]:
        """Return queued and running runs, slots and busy slots of each queue."""
        return list(self._get("/queues")["queues"])

    def drain(self, names: Sequence[str], reason: str = "") -> Document:
        """Let workers finish what they run, take nothing new; raises `RefusedError` for an unknown name."""
        body = {"names": list(names), "reason": reason}
        return self._post("/workers/drain", body, repeatable=True)

    def undrain(self, names: Sequence[str]) -> Document:
        """Let workers take runs again; raises `RefusedError` for an unknown name."""
        return self._post("/workers/undrain", {"names": list(names)}, repeatable=True)

    # --- searches

    def submit(self, spec: SearchSpec, dry_run: bool = False) -> Document:
        """Create a search; returns `{"search": ..., "notices": [...]}`. A dry run stores nothing."""
        return self._post("/searches", {"spec": spec.to_json(), "dry_run": dry_run}, repeatable=dry_run)

    def list_searches(
        self, limit: int | None = None, all: bool = False, label: str | None = None
    ) -> Iterator[Document]:
        """Yield searches, newest first, at most `limit`; `all` includes other users' ones."""
        query = {"all": True if all else None, "label": label}
        return self._newest_first("/searches", "searches", query, limit)

    def get_search(self, search_id: int) -> Document:
        """Return a search without its runs, best run included."""
        return self._get(f"/searches/{search_id}")

    def runs_page(
        self, search_id: int, after: int | None = None, limit: int = PAGE, latest: str | None = None
    ) -> Document:
        """Return one page of a search's runs, `{"runs": [...], "next": id or None}`, ascending by id.

        With `latest`, a metric, `"latest"` has its newest point of each run under way by run id.
        """
        return self._get(f"/searches/{search_id}/runs", after=after, limit=limit, latest=latest)

    def iter_runs(self, search_id: int, after: int | None = None) -> Iterator[Document]:
        """Yield the runs of a search with an id above `after`, ascending by id."""
        while True:
            page = self.runs_page(search_id, after)
            yield from page["runs"]
            after = page["next"]
            if after is None:
                return

    def best(
        self,
        search_id: int,
        metric: str | None = None,
        metric_agg: str | None = None,
        goal: str | None = None,
    ) -> Document | None:
        """Return the best run by the search's own metric, or by the one given; None when none has it."""
        answer = self._get(f"/searches/{search_id}/best", metric=metric, metric_agg=metric_agg, goal=goal)
        run: Document | None = answer["run"]
        return run

    def stop_search(self, search_id: int) -> Document:
        """End a search politely: running runs keep their outputs, queued ones are killed."""
        return self._post(f"/searches/{search_id}/stop", {}, repeatable=True)

    def kill_search(self, search_id: int) -> Document:
        """End a search now and keep nothing."""
        return self._post(f"/searches/{search_id}/kill", {}, repeatable=True)

    def resume_search(self, search_id: int) -> Document:
        """Let a paused search go on; raises `RefusedError` when it is not paused."""
        return self._post(f"/searches/{search_id}/resume", {}, repeatable=False)

    def metric_names(self, search_id: int) -> list[str]:
        """Return the names of all metrics that runs of a search have reported."""
        return list(self._get(f"/searches/{search_id}/metric-names")["metric_names"])

    def iter_points(
        self,
        *,
        search: int | None = None,
        run: int | None = None,
        name: str | None = None,
        after: Any = None,
    ) -> Iterator[Document]:
        """Yield the metric points of a search or of a run, those of one name or of all."""
        for page in self.point_pages(search=search, run=run, name=name, after=after):
            yield from page["points"]

    def point_pages(
        self,
        *,
        search: int | None = None,
        run: int | None = None,
        name: str | None = None,
        after: Any = None,
    ) -> Iterator[Document]:
        """Yield pages `{"points": [...], "next": cursor or None}`; the last one has no `next`."""
        path = f"/searches/{search}/metrics" if run is None else f"/runs/{run}/metrics"
        while True:
            page = self._get(path, name=name, after=after, limit=PAGE)
            yield page
            after = page["next"]
            if after is None:
                return

    # --- runs

    def submit_run(self, spec: SearchSpec) -> Document:
        """Create a run outside any search; returns `{"run": ..., "notices": [...]}`."""
        return self._post("/runs", {"spec": spec.to_json()}, repeatable=False)

    def list_runs(
        self,
        limit: int | None = None,
        all: bool = False,
        label: str | None = None,
        states: Sequence[str] = (),
    ) -> Iterator[Document]:
        """Yield runs, newest first, at most `limit`; `all` includes other users' ones."""
        query = {"all": True if all else None, "label": label, "state": list(states) or None}
        return self._newest_first("/runs", "runs", query, limit)

    def get_run(self, run_id: int) -> Document:
        """Return a run with its attempts, labels and metric names."""
        return self._get(f"/runs/{run_id}")

    def stop_runs(self, ids: Sequence[int]) -> Document:
        """End runs politely; returns the ids as `stopped`, `killed`, `final` and `unknown`."""
        return self._post("/runs/stop", {"ids": list(ids)}, repeatable=True)

    def kill_runs(self, ids: Sequence[int]) -> Document:
        """End runs now; returns the ids as `killed`, `final` and `unknown`."""
        return self._post("/runs/kill", {"ids": list(ids)}, repeatable=True)

    def logs(
        self, run_id: int, offset: int | None = None, limit: int | None = None, tail_lines: int | None = None
    ) -> Document:
        """Return one page of a run's output from byte `offset`, or its last `tail_lines` lines."""
        return self._get(f"/runs/{run_id}/logs", offset=offset, limit=limit, tail_lines=tail_lines)

    def outputs(self, run_id: int) -> list[Document]:
        """Return `path` and `bytes` of each file that a run has left."""
        found: list[Document] = self._get(f"/runs/{run_id}/outputs")["outputs"]
        return found

    def output(self, run_id: int, path: str) -> Iterator[bytes]:
        """Yield the bytes of one file that a run has left."""
        return self._transport.pieces(f"/runs/{run_id}/outputs/{quote(path, safe='/')}")

    # --- tokens of a shared server

    def tokens(self) -> list[Document]:
        """Return whom there are tokens for, as `name` and `created_at`."""
        return list(self._get("/tokens")["tokens"])

    def create_token(self, name: str) -> Document:
        """Make a token that speaks for `name`; returns `{"name": ..., "token": ...}`."""
        return self._post("/tokens", {"name": name}, repeatable=False)

    def revoke_token(self, name: str) -> Document:
        """Make the token of `name` worthless."""
        answer: Document = self._transport.request("DELETE", f"/tokens/{quote(name, safe='')}")
        return answer

    # --- code

    def has_snapshot(self, digest: str) -> bool:
        """Tell whether the server has the snapshot whose bytes have this SHA-256 (hexadecimal)."""
        return self._transport.exists(f"/snapshots/{digest}")

    def put_snapshot(self, digest: str, chunks: Iterator[bytes], size: int) -> Document:
        """Send the `size` bytes of a snapshot; raises `UsageError` when they have another digest."""
        answer: Document = self._transport.upload(f"/snapshots/{digest}", chunks, size)
        return answer

    # --- what happens

    def events(
        self, search: int | None = None, run: int | None = None, after: int | None = 0
    ) -> Iterator[Document]:
        """Yield events for ever, resumed by id over restarts; `after=None` starts with the next one."""
        for event in follow(self._transport.sibling(), search, run, after):
            if event is not None:
                yield event

    def doorbell(self, search: int | None = None, run: int | None = None) -> Doorbell:
        """Return a bell that rings when something happens to a search or a run."""
        return Doorbell(self._transport, search, run)

    # --- helpers

    def _get(self, path: str, **query: Any) -> Document:
        answer: Document = self._transport.request("GET", path, query=query)
        return answer

    def _post(self, path: str, body: Document, *, repeatable: bool) -> Document:
        answer: Document = self._transport.request("POST", path, body=body, repeatable=repeatable)
        return answer

    def _newest_first(self, path: str, key: str, query: Document, limit: int | None) -> Iterator[Document]:
        before, left = None, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._get(path, **query, limit=size, before=before)
            yield from page[key][:size]
            left = None if left is None else left - len(page[key])
            before = page["next"]
            if before is None:
                return
