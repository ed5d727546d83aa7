"""Users of a Redis 7 or Valkey broker with the rights that server, workers and Flower need, and no more.

What each needs was read off a broker that served all of them; a test runs a search with exactly these users.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from augury_workers.protocol import Keys, queue_name

#: A connection of redis-py, of hiredis and of Kombu before anything else, and transactions.
_CONNECTION = "ping client|setname client|setinfo select multi exec discard watch unwatch"

_SERVER = (
    "info eval evalsha script|load script|exists set get del expire persist hset hget hmget hgetall hincrby "
    "hlen llen lpush rpush sadd smembers xread xlen xdel time zadd zrangebyscore zrem"
)
_WORKER = (
    "eval evalsha script|load script|exists get set expire hset hget hmget hincrby hdel hlen llen "
    "lpush rpush brpop blpop sadd srem smembers sismember xadd xlen time zadd zrange zrevrangebyscore "
    "zrangebyscore zrem publish"
)
_FLOWER = (
    "evalsha script|load script|exists get set del llen brpop lpush sadd srem smembers hget time zadd zrange "
    "zrevrangebyscore zrangebyscore zrem psubscribe punsubscribe publish"
)


@dataclass(frozen=True)
class User:
    """A user of the broker: the command that makes it, and the URL by which the role logs in."""

    role: str
    rule: str
    url: str


def users(instance: str, types: Sequence[str], url: str) -> list[User]:
    """Return the users of an instance, with passwords drawn now.

    `types` are the machine types that workers serve: with them a worker reaches the queues of these only,
    without any all keys of the instance. `url` is the broker's; its login is replaced.
    """
    prefix = Keys(instance).prefix
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    address = parts.netloc.rpartition("@")[2]
    rules = {
        "server": [f"~{prefix}*", _allow(_SERVER)],
        "worker": _worker(prefix, types, database),
        "flower": _flower(prefix, database),
    }
    found = []
    for role, rule in rules.items():
        password = secrets.token_urlsafe(24)
        words = [f"ACL SETUSER {role} reset on >{password}", *rule, _allow(_CONNECTION)]
        own = parts._replace(netloc=f"{role}:{password}@{address}").geturl()
        found.append(User(role, " ".join(words), own))
    return found


def _worker(prefix: str, types: Sequence[str], database: str) -> list[str]:
    keys = Keys(prefix.split(":")[1])
    if types:
        # Kombu adds a few bytes that no queue's name has, for priorities.
        names = [prefix + queue_name(one) for one in types]
        queues = [pattern for name in names for pattern in (f"~{name}", f"~{name}[^-a-z0-9._]*")]
        own = [f"~{prefix}att:*", f"~{prefix}box:*", f"~{keys.reports}"]
        own += [f"%R~{keys.leader}", f"%R~{keys.drained}", f"%R~{keys.refused}"]
        celery = [f"~{prefix}unacked*", f"~{prefix}_kombu.*", f"~{prefix}*.celery.pidbox*"]
        patterns = [*own, *queues, *celery]
    else:
        patterns = [f"~{prefix}*"]
    # What it hears on the one channel, it may not say there: others would end at its word.
    hears = f"(+psubscribe +punsubscribe resetchannels &{prefix}/{database}.celery.pidbox)"
    forgets = f"(+del ~{prefix}*.celery.pidbox* ~{prefix}unacked*)"
    return [*patterns, f"&{prefix}/{database}.celeryev/*", _allow(_WORKER), hears, forgets]


def _flower(prefix: str, database: str) -> list[str]:
    keys = [f"~{prefix}*.celery.pidbox*", f"~{prefix}celeryev.*", f"~{prefix}unacked*", f"~{prefix}_kombu.*"]
    channels = [f"&{prefix}/{database}.celeryev/*", f"&{prefix}/{database}.celery.pidbox"]
    return [*keys, *channels, _allow(_FLOWER), f"(+llen ~{prefix}*)"]


def _allow(commands: str) -> str:
    return " ".join(f"+{command}" for command in commands.split())
