"""`python -m augury.dispatch.flower`: Flower, set up to look at the Celery side of one instance.

What `augury flower` becomes. Flower's own command is not used: it executes a `flowerconfig.py` of the
current directory, takes its password from a command line that everybody can read, and listens everywhere.
Nothing else imports this module, since Flower is an extra.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

import redis
from celery import Celery
from flower.app import Flower
from flower.options import default_options
from flower.urls import settings as pages
from flower.views.monitor import Metrics
from tornado import web

from augury.errors import AuguryError, UnavailableError, UsageError
from augury_workers.protocol import DEFAULT_INSTANCE, Keys, celery_url, distrust

USER = "augury"
PASSWORD_VARIABLE = "AUGURY_FLOWER_PASSWORD"
COLUMNS = "uuid,state,routing_key,kwargs,result,received,started,runtime,worker"
"""Of the page of tasks. The name is always the same and there are no positional arguments."""


@dataclass(frozen=True)
class Settings:
    """Which instance to look at, and where and to whom to show it."""

    redis_url: str
    instance: str
    address: str
    port: int
    password: str
    drawn: bool
    """Whether the password was made up at this start, so that it has to be told."""


def read(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read command line and environment.

    Raises:
        UsageError: a setting is missing or cannot be used; the text names it.
    """
    parser = argparse.ArgumentParser(prog="augury flower")
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args(argv)
    redis_url = environment.get("AUGURY_REDIS_URL", "")
    if not redis_url:
        raise UsageError("AUGURY_REDIS_URL is not set: give the broker's URL, as in redis://host:6379/0")
    password = environment.get(PASSWORD_VARIABLE, "")
    if not password.isascii() or any(letter.isspace() for letter in password):
        raise UsageError(f"{PASSWORD_VARIABLE} may hold ASCII letters, digits and signs only, and no blanks")
    instance = environment.get("AUGURY_INSTANCE") or DEFAULT_INSTANCE
    return Settings(
        redis_url,
        instance,
        arguments.address,
        arguments.port,
        password or secrets.token_urlsafe(18),
        drawn=not password,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Show the instance until asked to end; returns the exit code of the process."""
    try:
        settings = read(sys.argv[1:] if argv is None else argv, os.environ)
        _check_broker(settings.redis_url)
        flower = make(settings)
        port = _listen(flower, settings)
    except AuguryError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    _announce(settings, port)
    return _serve(flower)


def make(settings: Settings) -> Flower:
    """Return Flower for an instance: behind a password, and without any way to change something."""
    default_options.address = settings.address
    default_options.port = settings.port
    default_options.basic_auth = [f"{USER}:{settings.password}"]
    default_options.read_only = True
    default_options.tasks_columns = COLUMNS
    # Flower would show its API to everybody under this variable.
    os.environ.pop("FLOWER_UNAUTHENTICATED_API", None)
    app = Celery("augury", broker=celery_url(settings.redis_url), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        event_serializer="json",
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "global_keyprefix": Keys(settings.instance).prefix,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 5,
        },
    )
    flower = Flower(capp=app, options=default_options, **pages)
    flower.add_handlers(".*", [(r"/metrics", _Metrics)])
    return flower


class _Metrics(Metrics):  # type: ignore[misc]  # Flower has no types
    """Flower's figures for Prometheus, for those who know the password as everything else."""

    @web.authenticated
    async def get(self) -> None:
        await super().get()


def _check_broker(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=5) as connection:
            connection.ping()
    except ValueError as error:
        raise UsageError(f"AUGURY_REDIS_URL: {error}") from error
    except redis.AuthenticationError as error:
        raise UnavailableError(f"AUGURY_REDIS_URL: the broker refuses its password: {error}") from error
    except (redis.RedisError, OSError) as error:
        if (fault := distrust(error)) is not None:
            raise UsageError(f"AUGURY_REDIS_URL: {fault}") from error
        raise UnavailableError(f"AUGURY_REDIS_URL: the broker does not answer: {error}") from error


def _listen(flower: Flower, settings: Settings) -> int:
    try:
        return int(flower.start_http_server())
    except OSError as error:
        place = f"{settings.address}:{settings.port}"
        raise UnavailableError(
            f"cannot listen at {place} ({error.strerror}): choose others with --address and --port"
        ) from error


def _announce(settings: Settings, port: int) -> None:
    host = f"[{settings.address}]" if ":" in settings.address else settings.address
    print(f"Flower shows the instance '{settings.instance}' at http://{host}:{port}")
    if settings.drawn:
        print(f"User: {USER}  password: {settings.password}  ({PASSWORD_VARIABLE} sets another)", flush=True)
    else:
        print(f"User: {USER}  password: as {PASSWORD_VARIABLE} says", flush=True)


def _serve(flower: Flower) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It warns at each look at workers while there is none.
    logging.getLogger("flower.inspector").setLevel(logging.ERROR)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    codes: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        codes.append(130 if number == signal.SIGINT else 0)
        flower.io_loop.add_callback_from_signal(flower.stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    # Flower itself asks the workers for their events after 5 s for the first time.
    flower.io_loop.add_callback(flower.events.on_enable_events)
    flower.start()
    # Its threads may wait for a broker that is gone, and nothing of theirs is worth the wait.
    sys.stdout.flush()
    os._exit(codes[0] if codes else 0)


if __name__ == "__main__":
    sys.exit(main())
