"""Where secrets are not: in what a training sees, in logs, and in the lists of processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.lab import PASSWORD, Lab, wait_until

pytestmark = pytest.mark.integration

LOOK = """
import json, os, pathlib, time
found = {"env": dict(os.environ), "fds": {}}
for name in os.listdir("/proc/self/fd"):
    try:
        found["fds"][name] = os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        pass
fresh = pathlib.Path(os.environ["HOME"], "fresh")
fresh.write_text(json.dumps(found))
fresh.rename(fresh.with_name("seen"))
time.sleep(3)
"""


def test_a_training_has_neither_the_secrets_nor_the_connections_of_its_worker(lab: Lab) -> None:
    lab.serve()
    token = (lab.state / "token").read_text().strip()
    lab.worker(
        "K80",
        1,
        AUGURY_TOKEN=token,
        AUGURY_DATABASE_URL=lab.database_url,
        AUGURY_FLOWER_PASSWORD="barley",
        MINE="kept",
    )
    lab.wait_for_slots(1)
    script = lab.folder / "look.py"
    script.write_text(LOOK)
    search = lab.ok("hyper", "grid", "--param", "a=1", "-q", "--", f"python {script} :a:").strip()
    seen = lab.home("worker-k80") / "seen"
    wait_until(seen.exists, "the training looked around")
    key = (lab.state / "secret").read_text().split()[1]
    secrets = {"password": PASSWORD, "key": key, "token": token, "flower": "barley"}
    shown = _process_lists()
    assert lab.ok("hyper", "wait", search) is not None

    found = json.loads(seen.read_text())
    assert found["env"]["MINE"] == "kept"
    ours = {name for name in found["env"] if name.startswith("AUGURY_")}
    assert ours == {
        *("AUGURY_RUN_ID", "AUGURY_SEARCH_ID", "AUGURY_ATTEMPT", "AUGURY_METRICS", "AUGURY_OUTPUT_DIR"),
        *("AUGURY_PARAMS", "AUGURY_PARAM_A", "AUGURY_TAG"),
    }
    text = json.dumps(found["env"])
    for what, secret in {**secrets, "database": lab.database_url}.items():
        assert secret not in text, what
    places = {number: place for number, place in found["fds"].items() if "/proc/" not in place}
    assert set(places) == {"0", "1", "2"}, places
    assert places["0"] == "/dev/null"
    assert not any("socket:" in place for place in places.values()), places

    for what, secret in secrets.items():
        assert not [line for line in shown if secret in line], what
    logs = [path for path in lab.folder.rglob("*") if path.is_file() and not _is_secret(path)]
    assert len(logs) > 3
    for path in logs:
        content = path.read_bytes()
        for what, secret in secrets.items():
            assert secret.encode() not in content, (what, path)


def _is_secret(path: Path) -> bool:
    return path.name in ("secret", "augury.secret", "token")


def _process_lists() -> list[str]:
    """Return what `ps` shows of every process but the broker, which the lab starts with its password."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "requirepass" not in line and "valkey-server" not in line:
                found.append(line)
    return found
