"""Code travels: what a search was submitted with is what its runs execute, wherever the tree goes since."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import psutil
import pytest

from augury.server.service import Service
from augury.spec import MAX_PACKED_BYTES
from augury.store import access, events, runs
from augury.store.records import RunRecord
from augury_workers.protocol import authorize, report_origin
from tests.integration.server.conftest import Cluster, grid, search_state, states, wait_until

pytestmark = pytest.mark.integration
SLOTS = 2
ROOT = Path(__file__).parents[3]


def packed(**files: bytes | None) -> bytes:
    """Return a tar.gz of files; None stands for a directory."""
    into = io.BytesIO()
    with tarfile.open(fileobj=into, mode="w:gz", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            archive.addfile(info, io.BytesIO(content or b""))
    return into.getvalue()


def put(cluster: Cluster, token: str, content: bytes, digest: str | None = None) -> httpx.Response:
    name = digest or hashlib.sha256(content).hexdigest()
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.put(f"{cluster.url}/api/v1/snapshots/{name}", content=content, headers=headers)


def has(cluster: Cluster, token: str, digest: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.head(f"{cluster.url}/api/v1/snapshots/{digest}", headers=headers).status_code == 204


def uploaded(cluster: Cluster, token: str, **files: bytes | None) -> str:
    answer = put(cluster, token, packed(**files))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["snapshot"])


def with_worker(cluster: Cluster) -> tuple[Service, str]:
    service = cluster.serve()
    token = cluster.listen(service)
    cluster.worker("K80", SLOTS)
    wait_until(lambda: service.roster.slots("k80"))
    return service, token


def run_of(service: Service, run_id: int = 1) -> RunRecord:
    return service.run(run_id)


def history(service: Service) -> list[str]:
    with service.store.read() as connection:
        found = events.after(connection, 0, run_id=1)
    return [event.data["state"] for event in found if event.kind == "run"]


def output(service: Service, run_id: int) -> str:
    run = run_of(service, run_id)
    return service.logs.read(run.id, run.token, 0, 10_000).data.decode()


def test_a_snapshot_is_kept_only_whole_and_under_its_own_name(cluster: Cluster) -> None:
    service = cluster.serve()
    token = cluster.listen(service)
    content = packed(a=b"one")
    digest = hashlib.sha256(content).hexdigest()
    assert not has(cluster, token, digest)
    assert put(cluster, token, content + b"x", digest).status_code == 400
    for name in ("..", "a" * 63, "A" * 64):
        assert put(cluster, token, content, name).status_code in (400, 404, 405), name
    assert not has(cluster, token, digest)
    assert put(cluster, token, content).json() == {"snapshot": digest, "bytes": len(content)}
    assert put(cluster, token, content).status_code == 200
    assert has(cluster, token, digest)
    assert put(cluster, "no token", content).status_code == 401
    too_much = put(cluster, token, b"\0" * (MAX_PACKED_BYTES + 1))
    assert too_much.status_code == 400
    assert "at most 110,000,000 bytes" in too_much.json()["error"]


def test_a_search_names_a_snapshot_that_is_there_and_a_directory_inside(cluster: Cluster) -> None:
    _, token = with_worker(cluster)
    digest = uploaded(cluster, token, a=b"one")

    def refusal(**fields: object) -> str:
        spec = grid(1, **fields).to_json() | {"kind": "grid"}
        answer = httpx.post(
            f"{cluster.url}/api/v1/searches",
            json={"spec": spec},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 400
        return str(answer.json()["error"])

    assert "there is no snapshot bbbb" in refusal(snapshot="b" * 64, cwd="")
    assert "named by the SHA-256" in refusal(snapshot="../../x", cwd="")
    for cwd in ("/", "/etc", "..", "a/../.."):
        assert "a directory inside it" in refusal(snapshot=digest, cwd=cwd)


def test_two_versions_of_the_code_run_side_by_side(cluster: Cluster) -> None:
    service, token = with_worker(cluster)
    one = uploaded(cluster, token, **{"sub/code.sh": b"echo one $(pwd) $PWD; ls", "a": b"", "empty": None})
    other = uploaded(cluster, token, **{"sub/code.sh": b"echo other; ls .."})
    command = "bash code.sh; sleep 0.2; : :a:"
    first = service.submit(grid(4, command, snapshot=one, cwd="sub"), "ada", dry_run=False).search_id
    second = service.submit(grid(4, command, snapshot=other, cwd="sub"), "ada", dry_run=False).search_id
    assert (first, second) == (1, 2)
    wait_until(lambda: search_state(service, 1) == search_state(service, 2) == "finished")
    assert states(service, 1) == states(service, 2) == ["complete"] * 4
    said = output(service, 1).split()
    assert said[0] == "one"
    assert said[1] == said[2] == str(cluster.folder / f"worker/main/snapshots/search-1-{one[:16]}/sub")
    assert said[3:] == ["code.sh"]
    assert [output(service, run) for run in (5, 6, 7, 8)] == ["other\nsub\n"] * 4
    assert history(service) == ["building", "running", "complete"]


def test_an_attempt_gets_the_snapshot_of_its_own_search_only(cluster: Cluster) -> None:
    service = cluster.serve()
    token = cluster.listen(service)
    mine = uploaded(cluster, token, a=b"one")
    theirs = uploaded(cluster, token, a=b"two")
    service.store.writer.call(lambda c: access.see_machine_type(c, 1.0, "K80", "k80"))
    service.submit(grid(1, snapshot=mine, cwd=""), "ada", dry_run=False)
    service.store.writer.call(lambda c: runs.claim(c, 1.0, 1, 1, "aa", "k80@host"))

    def status(digest: str) -> int:
        path = f"/api/v1/worker/snapshots/{digest}"
        header = authorize("GET", path, report_origin(1, 1, "aa"), cluster.secret)
        return httpx.get(cluster.url + path, headers={"Authorization": header}).status_code

    assert [status(digest) for digest in (mine, theirs, "b" * 64, "x")] == [200, 404, 404, 400]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (packed(**{"../x": b"one"}), "names a path that it must not: '../x'"),
        (b"no archive at all", "cannot be unpacked: it is damaged"),
    ],
    ids=["hostile", "garbage"],
)
def test_a_snapshot_that_cannot_be_unpacked_fails_its_runs(
    cluster: Cluster, content: bytes, sentence: str
) -> None:
    service, token = with_worker(cluster)
    digest = put(cluster, token, content).json()["snapshot"]
    service.submit(grid(2, snapshot=digest, cwd=""), "ada", dry_run=False)
    wait_until(lambda: states(service, 1) == ["build_failed"] * 2)
    run = run_of(service)
    assert sentence in (run.detail or "")
    assert (run.cause, run.exit_code) == ("could_not_start", None)
    assert history(service) == ["building", "build_failed"]


def test_a_blob_that_was_damaged_on_the_server_is_not_executed(cluster: Cluster) -> None:
    service, token = with_worker(cluster)
    digest = uploaded(cluster, token, a=b"one")
    stored = cluster.folder / "blobs" / "snapshots" / f"{digest}.tar.gz"
    stored.write_bytes(packed(a=b"two"))
    service.submit(grid(1, "cat a; : :a:", snapshot=digest, cwd=""), "ada", dry_run=False)
    wait_until(lambda: states(service, 1) == ["build_failed"])
    assert "the snapshot that came is another" in (run_of(service).detail or "")


def _building(cluster: Cluster) -> tuple[Service, Service]:
    """Return a service whose one run waits for its snapshot, since nobody hands it out."""
    service, token = with_worker(cluster)
    digest = uploaded(cluster, token, code=b"echo it ran")
    cluster.doors[-1].close()
    service.submit(grid(1, "bash code; : :a:", snapshot=digest, cwd=""), "ada", dry_run=False)
    wait_until(lambda: states(service, 1) == ["building"])
    return service, service


@pytest.mark.parametrize("want", ["stop", "kill"])
def test_stop_while_building_kills(cluster: Cluster, want: str) -> None:
    service, _ = _building(cluster)
    service.end_runs([1], want)  # type: ignore[arg-type]
    wait_until(lambda: states(service, 1) == ["killed"], 5)
    assert run_of(service).cause == "killed"
    assert history(service) == ["building", "killed"]


def test_a_server_ended_while_a_run_is_built_comes_back_and_the_run_goes_on(cluster: Cluster) -> None:
    service, _ = _building(cluster)
    service.stop()
    cluster.services.remove(service)
    again = cluster.serve()
    cluster.listen(again)
    wait_until(lambda: states(again, 1) == ["complete"])
    assert output(again, 1) == "it ran\n"
    assert run_of(again).attempts == 1
    assert history(again) == ["building", "running", "complete"]


_SERVER = """
import hashlib, sys, time
from pathlib import Path
from augury.server import snapshots
from augury.server.service import Service
from augury.server.settings import Settings
from augury_workers.protocol import parse_secrets
from tests.integration.server.conftest import grid, states, wait_until
redis_url, database_url, folder, packed = sys.argv[1:]
secrets = tuple(parse_secrets(Path(folder, "secret").read_text()))
service = Service(Settings(redis_url, secrets, database_url, Path(folder), "main", f"{folder}/blobs"))
service.start()
content = Path(packed).read_bytes()
digest = hashlib.sha256(content).hexdigest()
snapshots.keep(service.blobs, digest, [content])
wait_until(lambda: service.roster.slots("k80"))
service.submit(grid(1, "bash code; : :a:", snapshot=digest, cwd=""), "ada", dry_run=False)
wait_until(lambda: states(service, 1) == ["building"])
print("building", flush=True)
time.sleep(1000)
"""


def test_a_server_killed_by_force_while_a_run_is_built_finds_it_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        cluster.url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "packed").write_bytes(packed(code=b"echo it ran"))
    words = [cluster.redis_url, cluster.database_url, str(cluster.folder), str(tmp_path / "packed")]
    server = subprocess.Popen([sys.executable, "-c", _SERVER, *words], stdout=subprocess.PIPE, cwd=ROOT)
    cluster.processes.append(server)
    cluster.worker("K80", SLOTS)
    assert server.stdout is not None
    assert server.stdout.readline() == b"building\n"
    server.kill()
    server.wait()
    again = cluster.serve()
    cluster.listen(again)
    wait_until(lambda: states(again, 1) == ["complete"])
    assert output(again, 1) == "it ran\n"
    assert run_of(again).attempts == 1


def test_a_worker_killed_while_it_builds_loses_the_attempt_and_the_run_is_built_again(
    cluster: Cluster,
) -> None:
    service, _ = _building(cluster)
    worker = psutil.Process(cluster.processes[-1].pid)
    for process in [*worker.children(recursive=True), worker]:
        os.kill(process.pid, signal.SIGKILL)
    cluster.listen(service)
    cluster.worker("K80", SLOTS)
    wait_until(lambda: states(service, 1) == ["complete"])
    assert run_of(service).attempts == 2
    assert history(service) == ["building", "queued", "building", "running", "complete"]
    left = [path.name for path in (cluster.folder / "worker/main/snapshots").iterdir()]
    assert not [name for name in left if name.endswith(".new")]


def test_editing_the_unpacked_tree_changes_only_its_own_search(cluster: Cluster, tmp_path: Path) -> None:
    service, token = with_worker(cluster)
    digest = uploaded(cluster, token, a=b"one")
    for _ in range(2):
        service.submit(
            grid(1, "cat a; echo changed > a; touch :a:", snapshot=digest, cwd=""), "ada", dry_run=False
        )
    wait_until(lambda: search_state(service, 1) == search_state(service, 2) == "finished")
    assert [output(service, run) for run in (1, 2)] == ["one", "one"]
