"""What shell completion offers for ids: quick, and nothing where nothing is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ANSWERS = {
    "/api/v1/searches?limit=50": [
        {"id": 60, "state": "paused", "command": "train :x:"},
        {"id": 59, "state": "running", "command": "train [red] " + "x" * 80},
        {"id": 7, "state": "finished", "command": "two\nlines"},
    ],
    "/api/v1/runs?limit=50": [
        {"id": 403, "state": "running", "command": "train 1"},
        {"id": 402, "state": "complete", "command": "train 2"},
    ],
    "/api/v1/runs?limit=50&state=queued&state=building&state=running&state=saving": [
        {"id": 403, "state": "running", "command": "train 1"},
    ],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer secret"
        key = "searches" if "/searches" in self.path else "runs"
        time.sleep(self.server.delay)  # type: ignore[attr-defined]
        body = json.dumps({key: ANSWERS[self.path], "next": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.delay = 0.0  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


Complete = Callable[..., list[str]]


@pytest.fixture
def complete(server: ThreadingHTTPServer, tmp_path: Path) -> Complete:
    def lines(*words: str, shell: str = "bash", **variables: str) -> list[str]:
        line = " ".join(("augury", *words))
        env = os.environ | {
            "AUGURY_URL": f"http://127.0.0.1:{server.server_port}",
            "AUGURY_TOKEN": "secret",
            "_AUGURY_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words)),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        command = [sys.executable, "-m", "augury.cli.main"]
        done = subprocess.run(command, env=env | variables, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return [item for item in done.stdout.split("\n") if item]

    return lines


def test_ids_of_searches_and_runs_are_offered(complete: Complete) -> None:
    assert complete("hyper", "best", "") == ["60", "59", "7"]
    assert complete("hyper", "best", "5") == ["59"]
    assert complete("logs", "") == ["403", "402"]


def test_only_ids_that_fit_the_command_are_offered(complete: Complete) -> None:
    assert complete("hyper", "stop", "") == ["60", "59"]
    assert complete("hyper", "resume", "") == ["60"]
    assert complete("stop", "") == ["403"]


def test_state_and_command_stand_beside_the_ids(complete: Complete) -> None:
    offered = [item.split("\t") for item in complete("hyper", "best", "", shell="fish")]
    assert offered[0] == ["60", "paused  train :x:"]
    assert offered[1][1].startswith("running  train [red] xxx")
    assert len(offered[1][1]) == 60
    assert offered[2] == ["7", "finished  two lines"]


def test_without_an_instance_nothing_is_offered_and_none_is_started(
    complete: Complete, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    assert complete("hyper", "best", "", AUGURY_URL="", AUGURY_HOME=str(home)) == []
    assert complete("logs", "", AUGURY_URL="http://127.0.0.1:9") == []
    assert complete("logs", "", AUGURY_URL="nonsense") == []
    assert complete("logs", "", AUGURY_CONFIG="/nowhere.toml") == []
    assert not home.exists()


def test_a_server_that_is_slow_is_not_waited_for(complete: Complete, server: ThreadingHTTPServer) -> None:
    server.delay = 5.0  # type: ignore[attr-defined]
    began = time.monotonic()
    assert complete("hyper", "best", "") == []
    assert time.monotonic() - began < 3


def test_completion_imports_nothing_heavy(complete: Complete) -> None:
    code = (
        "import sys, types; from augury.cli import completing; completing.take_texts_as_they_are();"
        "completing.search_ids(types.SimpleNamespace(info_name='best', params={}), '');"
        "print(*sorted({'rich', 'httpx', 'sqlalchemy', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    env = os.environ | {"AUGURY_URL": "http://127.0.0.1:9", "AUGURY_TOKEN": "t"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
