"""A server for tests: keeps documents, answers like the REST pages, remembers every request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

from augury.client.client import Client
from augury.grammar import template
from augury.spec import SearchSpec

Document = dict[str, Any]
START = "2026-11-23T10:00:00.000000Z"
END = "2026-11-23T10:00:05.500000Z"


def run_document(run_id: int | None, **changes: Any) -> Document:
    document: Document = {
        "id": run_id,
        "search_id": 59,
        "state": "queued",
        "params": {"rate": 0.1},
        "command": "python train.py 0.1",
        "objective": None,
        "exit_code": None,
        "cause": None,
        "attempts": 0,
        "worker": None,
        "queued_at": START,
        "started_at": None,
        "ended_at": None,
    }
    return document | changes


def complete(run_id: int, objective: float | None = None, **changes: Any) -> Document:
    ends = {"state": "complete", "exit_code": 0, "cause": "exit", "started_at": START, "ended_at": END}
    return run_document(run_id, objective=objective, attempts=1, worker="local@box", **ends) | changes


class FakeServer:
    """One search with its runs, and the answers to questions about them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Document, Any]] = []
        self.search: Document = {
            "id": 59,
            "kind": "grid",
            "state": "running",
            "command": "python train.py :rate:",
            "machine_type": "K80",
            "metric": "val_acc",
            "metric_agg": "last",
            "goal": "maximize",
            "num_runs": 0,
            "parallel_runs": None,
            "seed": 7,
            "space": {"rate": {"values": [0.1]}},
            "owner": "ada",
            "labels": [],
            "description": "",
            "created_at": START,
            "ended_at": None,
            "created_runs": 0,
            "counts": {},
            "notices": [],
            "pause_reason": None,
            "best": None,
        }
        self.runs: dict[int, Document] = {}
        self.points: list[Document] = []
        self.log = b""
        self.snapshots: dict[str, bytes] = {}
        self.outputs: dict[str, bytes] = {}
        self.notices: list[str] = []
        self.events: list[Document] = []
        self.on_request: Callable[[str, str], None] = lambda method, path: None
        self.page = 1000
        self.included = 1000

    def client(self) -> Client:
        return Client("http://fake", "secret", transport=httpx.MockTransport(self.answer))

    def with_runs(self, *runs: Document) -> FakeServer:
        self.runs |= {run["id"]: run for run in runs}
        self.search["created_runs"] = self.search["num_runs"] = len(self.runs)
        self.search["counts"] = {}
        for run in self.runs.values():
            state = run["state"]
            self.search["counts"][state] = self.search["counts"].get(state, 0) + 1
        return self

    @property
    def submitted(self) -> Document:
        specs = [body["spec"] for method, _, _, body in self.requests if method == "POST" and "spec" in body]
        assert len(specs) == 1, f"{len(specs)} submits"
        return dict(specs[0])

    def asked(self, path: str) -> list[Document]:
        return [query for _, asked, query, _ in self.requests if asked == path]

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        if path.startswith("/snapshots/"):
            return self._snapshot(request.method, path.rpartition("/")[2], request.read())
        body = json.loads(request.content) if request.content else None
        query = dict(request.url.params)
        if request.headers.get("Authorization") != "Bearer secret":
            return refusal(401, "unauthorized", "this token opens nothing")
        if path != "/events":
            self.requests.append((request.method, path, query, body))
            self.on_request(request.method, path)
        return self._route(request.method, path.strip("/").split("/"), query, body)

    def _snapshot(self, method: str, digest: str, content: bytes) -> httpx.Response:
        if method == "PUT":
            self.snapshots[digest] = content
            return httpx.Response(200, json={"snapshot": digest, "bytes": len(content)})
        return httpx.Response(204 if digest in self.snapshots else 404)

    def _route(  # noqa: C901 - one line for each route
        self, method: str, parts: list[str], query: Document, body: Any
    ) -> httpx.Response:
        match method, *parts:
            case "POST", "searches":
                return self._submit(SearchSpec.from_json(body["spec"]), body["dry_run"])
            case "POST", "runs":
                spec = SearchSpec.from_json(body["spec"])
                run = run_document(401, search_id=None, params={}, command=template.display(spec.command))
                self.runs[401] = run | {"labels": list(spec.labels), "description": spec.description}
                return httpx.Response(201, json={"run": run, "notices": self.notices})
            case "GET", "searches":
                return httpx.Response(200, json={"searches": [self.search], "next": None})
            case _, "searches", number, *_ if number != "59":
                return refusal(404, "not_found", f"there is no search {number}: see `augury hyper list`")
            case "GET", "searches", _:
                return httpx.Response(200, json=self.search)
            case "GET", "searches", _, "runs":
                return self._runs_page(query)
            case "GET", "searches", _, "best":
                return httpx.Response(200, json={"run": self.search["best"]})
            case "GET", "searches", _, "metric-names":
                names = sorted({point["name"] for point in self.points})
                return httpx.Response(200, json={"metric_names": names})
            case "GET", "searches", _, "metrics":
                return self._points_page(query, None)
            case "POST", "searches", _, "resume":
                if self.search["state"] != "paused":
                    return refusal(409, "refused", "search 59 is not paused")
                self.search["state"] = "running"
                return httpx.Response(200, json={"search": self.search})
            case "POST", "searches", _, ("stop" | "kill") as verb:
                self.search["state"] = "stopped" if verb == "stop" else "killed"
                ended = {"stopped": [1], "killed": [2, 3], "final": [4]}
                return httpx.Response(200, json={"search": self.search, **ended})
            case "GET", "runs":
                found = sorted(self.runs.values(), key=lambda run: -run["id"])[: int(query["limit"])]
                return httpx.Response(200, json={"runs": found, "next": None})
            case "POST", "runs", ("stop" | "kill"):
                known = [number for number in body["ids"] if number in self.runs]
                unknown = [number for number in body["ids"] if number not in self.runs]
                answer = {"stopped": known, "killed": [], "final": [], "unknown": unknown}
                return httpx.Response(200, json=answer)
            case "GET", "runs", number, *rest:
                return self._one_run(int(number), rest, query)
            case "GET", "events":
                return httpx.Response(200, text="".join(map(event_text, self.events)))
            case "GET", "status":
                return httpx.Response(200, json=STATUS)
            case "GET", "workers":
                return httpx.Response(200, json=WORKERS)
            case "POST", "workers", verb:
                if "nobody@box" in body["names"]:
                    return refusal(409, "refused", "there is no worker 'nobody@box': use one of k80@box")
                changed = {"runs": [401, 402] if verb == "drain" else []}
                return httpx.Response(200, json={"workers": [WORKERS["workers"][0] | changed]})
        return refusal(404, "not_found", f"no route {method} {parts}")

    def _submit(self, spec: SearchSpec, dry_run: bool) -> httpx.Response:
        document = spec.to_json()
        command = template.display(spec.command)
        search = self.search | {key: document[key] for key in ("kind", "space", "metric", "goal")}
        search |= {"command": command, "created_runs": len(self.runs), "num_runs": len(self.runs)}
        runs = list(self.runs.values())[: self.included]
        if dry_run:
            search["id"] = None
            runs = [run | {"id": None} for run in runs]
        answer = {"search": search | {"runs": runs}, "notices": self.notices}
        return httpx.Response(200 if dry_run else 201, json=answer)

    def _runs_page(self, query: Document) -> httpx.Response:
        found = [run for number, run in sorted(self.runs.items()) if number > int(query.get("after", 0))]
        size = min(int(query["limit"]), self.page)
        last = found[size - 1]["id"] if len(found) > size else None
        page: Document = {"runs": found[:size], "next": last}
        if "latest" in query:
            mine = [p for p in self.points if p["name"] == query["latest"]]
            running = [run["id"] for run in found[:size] if run["state"] == "running"]
            page["latest"] = {str(p["run_id"]): p for p in mine if p["run_id"] in running}
        return httpx.Response(200, json=page)

    def _points_page(self, query: Document, run: int | None) -> httpx.Response:
        found = [p for p in self.points if run in (None, p["run_id"])]
        found = [p for p in found if query.get("name") in (None, p["name"])]
        start = int(query.get("after", 0))
        size = min(int(query["limit"]), self.page)
        following = start + size if len(found) > start + size else None
        return httpx.Response(200, json={"points": found[start : start + size], "next": following})

    def _one_run(self, number: int, rest: list[str], query: Document) -> httpx.Response:
        if number not in self.runs:
            return refusal(404, "not_found", f"there is no run {number}: see `augury ps --all`")
        run = self.runs[number]
        if rest == ["metrics"]:
            return self._points_page(query, number)
        if rest == ["logs"]:
            return self._log_page(run, query)
        if rest[:1] == ["outputs"]:
            return self._outputs(number, "/".join(rest[1:]))
        names = sorted({point["name"] for point in self.points if point["run_id"] == number})
        details = {"labels": [], "description": "", "machine_type": "K80", "cwd": "/w", "detail": None}
        more = {"attempt_list": [], "metric_names": names, "output_files": len(self.outputs)}
        return httpx.Response(200, json=details | run | more)

    def _outputs(self, number: int, path: str) -> httpx.Response:
        if not path:
            listing = [{"path": name, "bytes": len(data)} for name, data in sorted(self.outputs.items())]
            return httpx.Response(200, json={"outputs": listing})
        if path not in self.outputs:
            return refusal(404, "not_found", f"run {number} has no file '{path}'")
        return httpx.Response(200, content=self.outputs[path])

    def _log_page(self, run: Document, query: Document) -> httpx.Response:
        offset = int(query.get("offset", 0))
        if "tail_lines" in query:
            lines = self.log.splitlines(keepends=True)
            kept = int(query["tail_lines"])
            offset = len(b"".join(lines[: len(lines) - kept]))
        text = self.log[offset:]
        page = {
            "text": text.decode(),
            "offset": offset,
            "next_offset": offset + len(text),
            "complete": run["ended_at"] is not None,
            "dropped": 0,
        }
        return httpx.Response(200, json=page)


STATUS = {
    "version": "0.1.0",
    "instance": "main",
    "url": "http://fake",
    "pid": 42,
    "started_at": START,
    "idle_seconds": 0.0,
    "open_searches": 1,
    "running": 2,
    "queued": 3,
    "workers": [
        {
            **{"name": "k80@box", "host": "box", "types": ["K80"], "slots": 4, "busy": 2},
            **{"last_seen_seconds": 1.0, "state": "drained", "reason": "new disk"},
        }
    ],
    "schema": 1,
}


WORKERS = {
    "workers": [
        {
            **{"name": "k80@box", "host": "box", "types": ["K80"], "queues": ["k80"], "slots": 4, "busy": 2},
            **{"runs": [401, 402], "last_seen_seconds": 1.0, "state": "draining", "reason": "new disk"},
            "drain": {"reason": "new disk", "owner": "ada", "since": START},
        },
        {
            **{"name": "t4@old", "host": "old", "types": [], "queues": [], "slots": 0, "busy": 0, "runs": []},
            **{"last_seen_seconds": None, "state": "gone", "reason": "it has ended", "drain": None},
        },
    ],
    "queues": [{"queue": "k80", "types": ["K80"], "queued": 1200, "running": 2, "slots": 0, "busy": 0}],
}


def point(run_id: int, index: int, value: Any, name: str = "val_acc") -> Document:
    return {"run_id": run_id, "name": name, "index": index, "value": value, "time": START}


def refusal(status: int, kind: str, text: str) -> httpx.Response:
    return httpx.Response(status, json={"error": text, "kind": kind})


def event_text(event: Document) -> str:
    head = "" if event["id"] is None else f"id: {event['id']}\n"
    return f"{head}event: {event['kind']}\ndata: {json.dumps(event)}\n\n"
