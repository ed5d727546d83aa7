"""Whether a Redis or Valkey server is fit to be the broker, asked before a server starts on it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import redis

from augury.errors import UnavailableError, UsageError
from augury_workers.protocol import distrust

SETTING = "AUGURY_REDIS_URL"
OLDEST = (6, 2)
SCHEMES = ("redis", "rediss", "unix")
_TIMEOUT_SECONDS = 5


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "")


def without_password(redis_url: str) -> str:
    """Return a broker's URL fit to be shown."""
    parts = urlsplit(redis_url)
    if parts.password is None:
        return redis_url
    return redis_url.replace(f":{parts.password}@", ":…@", 1)


def check(redis_url: str, *, insecure: bool) -> list[str]:
    """See that the broker answers and can be trusted; return what its admin should know.

    `insecure` allows one without a password on the network.

    Raises:
        UsageError: the URL is no broker's, its password is wrong, or it needs one.
        UnavailableError: nothing answers there, or it is too old.
    """
    parts = urlsplit(redis_url)
    if parts.scheme not in SCHEMES:
        raise UsageError(
            f"{SETTING}: '{parts.scheme}' is no scheme of a broker: use redis://:PASSWORD@HOST:6379/0"
        )
    on_network = parts.scheme != "unix" and not is_loopback(parts.hostname or "")
    if on_network and not parts.password and not insecure:
        raise UsageError(
            f"{SETTING}: the broker {redis_url} is on the network without a password, everybody there could "
            "use it: set one (requirepass), or allow it with --insecure"
        )
    shown = without_password(redis_url)
    try:
        with redis.Redis.from_url(
            redis_url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS, retry=None
        ) as client:
            information = client.info()
    except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        fix = (
            "its password is another" if parts.password else "it needs one, as redis://:PASSWORD@HOST:6379/0"
        )
        raise UsageError(f"{SETTING}: {shown} refuses the login: {fix}") from error
    except (redis.RedisError, OSError) as error:
        if (fault := distrust(error)) is not None:
            raise UsageError(f"{SETTING}: {fault}") from error
        raise UnavailableError(f"{SETTING}: no broker answers at {shown}: {error}") from error
    return _judge(information, shown)


def _judge(information: dict[str, object], shown: str) -> list[str]:
    version = str(information.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise UnavailableError(f"{SETTING}: {shown} is Redis {version}: use 6.2 or newer, or Valkey")
    policy = information.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return [f"the broker forgets when its memory is full ({policy}): set maxmemory-policy noeviction"]
    return []
