"""The faults: each does one thing to a stand and says what, or returns None when it cannot be done now."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Mapping
from random import Random
from uuid import uuid4

import psutil
import redis

from augury.dispatch.doorbells import Doorbell, Doorbells
from augury_workers import protocol
from tests.torture.stand import MACHINE_TYPE, Frozen, Stand, send

Fault = Callable[[Stand, Random], str | None]

_KEYS = protocol.Keys(protocol.DEFAULT_INSTANCE)
_QUEUE = protocol.queue_name(MACHINE_TYPE)
_LIST = _KEYS.prefix + _QUEUE
_GARBAGE = (b"not json", b"{}", b"[1, 2]")


def _some_worker(stand: Stand, dice: Random) -> str | None:
    names = [name for name in stand.worker_names if stand.usable(name)]
    return dice.choice(names) if names else None


def _kill_one(stand: Stand, dice: Random, find: Callable[[str], list[int]]) -> str | None:
    name = _some_worker(stand, dice)
    pids = find(name) if name else []
    return name if pids and send(dice.choice(pids), signal.SIGKILL) else None


def kill_worker(stand: Stand, dice: Random) -> str | None:
    """SIGKILL the main process of a worker."""
    return _kill_one(stand, dice, lambda name: [stand.parts[name].pid])


def kill_pool_child(stand: Stand, dice: Random) -> str | None:
    """SIGKILL a pool child."""
    return _kill_one(stand, dice, stand.pool_children)


def kill_supervisor(stand: Stand, dice: Random) -> str | None:
    """SIGKILL a supervisor."""
    return _kill_one(stand, dice, stand.supervisors)


def kill_worker_and_supervisors(stand: Stand, dice: Random) -> str | None:
    """SIGKILL a worker, its pool children and its supervisors in one instant: only the trees of runs stay."""
    name = _some_worker(stand, dice)
    if name is None:
        return None
    pids = [*stand.supervisors(name), *stand.pool_children(name), stand.parts[name].pid]
    for pid in pids:
        send(pid, signal.SIGSTOP)  # nobody sees the other die
    for pid in pids:
        send(pid, signal.SIGKILL)
    return name


def _kill_part(name: str) -> Fault:
    def fault(stand: Stand, dice: Random) -> str | None:
        return name if stand.usable(name) and send(stand.parts[name].pid, signal.SIGKILL) else None

    return fault


def _seconds(dice: Random) -> float:
    return dice.uniform(0.5, 3.0) if dice.random() < 0.6 else dice.uniform(3.0, 12.0)


def freeze_worker(stand: Stand, dice: Random) -> str | None:
    """SIGSTOP a worker with all below it, trainings included, for 0.5 to 12 s."""
    name = _some_worker(stand, dice)
    if name is None:
        return None
    stopped: list[int] = []
    while fresh := [one.pid for one in stand.tree(name) if one.pid not in stopped]:
        for pid in fresh:
            send(pid, signal.SIGSTOP)
        stopped += fresh
    return _frozen(stand, name, stopped, _seconds(dice))


def _freeze_part(name: str) -> Fault:
    def fault(stand: Stand, dice: Random) -> str | None:
        if not stand.usable(name) or not send(stand.parts[name].pid, signal.SIGSTOP):
            return None
        return _frozen(stand, name, [stand.parts[name].pid], _seconds(dice))

    return fault


def _frozen(stand: Stand, name: str, pids: list[int], seconds: float) -> str:
    stand.frozen.append(Frozen(name, pids, time.monotonic() + seconds))
    return f"{name} {seconds:.1f} s"


def _on_broker(do: Callable[[redis.Redis, Stand, Random], str | None]) -> Fault:
    def fault(stand: Stand, dice: Random) -> str | None:
        if not stand.usable("broker"):
            return None
        with contextlib.suppress(redis.RedisError), stand.redis() as connection:
            return do(connection, stand, dice)
        return None

    return fault


def _cut(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """CLIENT KILL of every connection."""
    return f"{connection.client_kill_filter(_type='normal', skipme=True)} connections"


def _flush(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """FLUSHALL."""
    connection.flushall()
    return "all"


def _delete(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """DEL of one key, kinds alike."""
    kinds: dict[bytes, list[bytes]] = {}
    for key in connection.scan_iter(_KEYS.prefix + "*"):
        kinds.setdefault(key.split(b":")[2], []).append(key)
    if not kinds:
        return None
    kind = dice.choice(sorted(kinds))
    connection.delete(dice.choice(sorted(kinds[kind])))
    return kind.decode()


def _ring(connection: redis.Redis, stand: Stand, run: int, token: int) -> None:
    doorbells = Doorbells(stand.lab.redis_url, _KEYS)
    connection.lpush(_LIST, json.dumps(doorbells._message(Doorbell(run, token, _QUEUE))))


def _rows(stand: Stand, statement: str) -> list[tuple[int, int, str]]:
    reader = stand.reader()
    try:
        return [(int(run), int(token), str(nonce)) for run, token, nonce in reader.rows(statement)]
    finally:
        reader.close()


def _forge(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """A doorbell for a run that is not to be had: an older or a later token, or a run that is none."""
    known = _rows(stand, "SELECT id, token, nonce FROM runs")
    run, token, _ = dice.choice(known)
    run, token = dice.choice([(run, token + 1), (run, token - 1), (10**9 + run, 1)])
    _ring(connection, stand, run, token)
    return f"run {run} token {token}"


def _garbage(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """Something that is no message on the queue."""
    text = dice.choice(_GARBAGE)
    connection.rpush(_LIST, text)
    return text.decode()


def _duplicate(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """Copies of doorbells: of runs that are held, and of what waits on the queue."""
    held = _rows(stand, "SELECT id, token, nonce FROM runs WHERE state = 'running'")
    for run, token, _ in held[:2]:
        _ring(connection, stand, run, token)
    waiting = connection.lrange(_LIST, 0, 0)
    for message in waiting:  # type: ignore[union-attr]
        connection.lpush(_LIST, message)
    return f"{len(held[:2])} held, {len(waiting)} waiting"  # type: ignore[arg-type]


def _replay(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """Orders of earlier attempts, rightly signed, and forged ones, in the boxes of runs under way."""
    old = _rows(stand, "SELECT run_id, token, nonce FROM attempts WHERE state <> 'running'")
    held = _rows(stand, "SELECT id, token, nonce FROM runs WHERE state = 'running'")
    if not old or not held:
        return None
    run, token, nonce = dice.choice(old)
    secrets = protocol.parse_secrets((stand.lab.state / "secret").read_text())
    mark = str(stand.folder / "evil")
    order = {
        "v": protocol.VERSION, "instance": _KEYS.instance, "run": run, "search": 1, "token": token,
        "nonce": nonce, "attempt": 1, "queue": _QUEUE, "argv": ["touch", mark], "cwd": "/",
        "env": {"file": None, "set": {}}, "params": {}, "param_env": {}, "metric_regex": [], "grace": 1,
        "timeout": None, "lost_after": None, "prepare": None, "outputs": False,
    }  # fmt: skip
    forger = protocol.Secret(secrets[0].kid, b"x" * 32)
    for _, _, current in held:
        connection.rpush(_KEYS.box(current), protocol.seal_order(order, secrets[0]))
        connection.rpush(_KEYS.box(current), protocol.seal_order({**order, "nonce": current}, forger))
        connection.expire(_KEYS.box(current), 60)
    return f"order of {run}.{token} in {len(held)} boxes"


def _lose(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """LPOP of a doorbell that waits."""
    return "popped" if connection.lpop(_LIST) is not None else None


def _claim(connection: redis.Redis, stand: Stand, dice: Random) -> str | None:
    """A claim by somebody without the key."""
    held = _rows(stand, "SELECT id, token, nonce FROM runs WHERE state IN ('queued', 'running')")
    if not held:
        return None
    run, token, _ = dice.choice(held)
    fields = protocol.claim_fields(run, token, uuid4().hex, "w0", 0)
    fields = protocol.sign_fields(fields, protocol.Secret("0000", b"x" * 32))
    connection.xadd(_KEYS.reports, dict(fields))
    return f"run {run} token {token}"


FAULTS: Mapping[str, tuple[int, Fault]] = {
    "SIGKILL of a worker": (12, kill_worker),
    "SIGKILL of a pool child": (12, kill_pool_child),
    "SIGKILL of a supervisor": (12, kill_supervisor),
    "SIGKILL of a worker and its supervisors at once": (8, kill_worker_and_supervisors),
    "SIGKILL of the server": (10, _kill_part("server")),
    "SIGKILL of the broker, nothing kept": (8, _kill_part("broker")),
    "all connections cut": (8, _on_broker(_cut)),
    "freeze of a worker with its trees": (10, freeze_worker),
    "freeze of the server": (5, _freeze_part("server")),
    "freeze of the broker": (5, _freeze_part("broker")),
    "FLUSHALL": (6, _on_broker(_flush)),
    "DEL of a key": (8, _on_broker(_delete)),
    "forged doorbell": (6, _on_broker(_forge)),
    "forged claim": (3, _on_broker(_claim)),
    "doubled doorbells": (8, _on_broker(_duplicate)),
    "replayed and forged orders": (6, _on_broker(_replay)),
    "lost doorbell": (6, _on_broker(_lose)),
    "garbage on the queue": (3, _on_broker(_garbage)),
}


def deck(number: int, dice: Random) -> list[str]:
    """Return that many kinds of faults in random order: each once if there is room, the rest by weight."""
    names = list(FAULTS)
    dice.shuffle(names)
    weights = [FAULTS[name][0] for name in names]
    cards = [*names, *dice.choices(names, weights, k=max(0, number - len(names)))][:number]
    dice.shuffle(cards)
    return cards


def inject(kind: str, stand: Stand, dice: Random) -> str | None:
    """Do one fault; return what it hit, None when it cannot be done now."""
    try:
        return FAULTS[kind][1](stand, dice)
    except psutil.NoSuchProcess:
        return None
