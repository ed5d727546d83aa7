"""What the server is told at start: by its environment, and by the keeper of the local instance."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from augury.errors import UsageError
from augury_workers.protocol import DEFAULT_INSTANCE, LOCAL_INSTANCE, Secret, parse_secrets


@dataclass(frozen=True)
class Settings:
    """Where everything is. `home` is the folder of the local instance."""

    redis_url: str
    secret: Secret
    database_url: str
    home: Path
    instance: str
    host: str = "127.0.0.1"
    port: int = 0
    older_secrets: tuple[Secret, ...] = ()
    """Keys that sign nothing any more; workers that have one of them are still let in."""

    @property
    def local(self) -> bool:
        """Whether this is a private local instance."""
        return self.instance == LOCAL_INSTANCE

    @property
    def environments(self) -> Path | None:
        """Folder of the submitters' environments; None on a cluster."""
        return self.home / "environments" if self.local else None


def read(home: Path, *, local: bool) -> Settings:
    """Read the settings from the environment.

    Raises:
        UsageError: one is missing or cannot be used; the text names it.
    """
    redis_url = _required("AUGURY_REDIS_URL")
    secret_file = Path(_required("AUGURY_SECRET_FILE"))
    try:
        secret, *older = parse_secrets(secret_file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"AUGURY_SECRET_FILE={secret_file}: {error}") from error
    database_url = os.environ.get("AUGURY_DATABASE_URL") or f"sqlite:///{home / 'store.db'}"
    instance = LOCAL_INSTANCE if local else os.environ.get("AUGURY_INSTANCE", DEFAULT_INSTANCE)
    return Settings(redis_url, secret, database_url, home, instance, older_secrets=tuple(older))


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UsageError(f"{name} is not set")
    return value
