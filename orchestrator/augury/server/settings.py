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
    secrets: tuple[Secret, ...]
    """Of the key file: the first signs, all verify."""
    database_url: str
    home: Path
    instance: str
    blob_url: str
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def local(self) -> bool:
        """Whether this is a private local instance."""
        return self.instance == LOCAL_INSTANCE

    @property
    def blobs_folder(self) -> str | None:
        """Folder of the blobs, which the local worker reads and writes itself; None on a cluster."""
        return self.blob_url if self.local else None

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
        secrets = tuple(parse_secrets(secret_file.read_text()))
    except (OSError, ValueError) as error:
        raise UsageError(f"AUGURY_SECRET_FILE={secret_file}: {error}") from error
    database_url = os.environ.get("AUGURY_DATABASE_URL") or f"sqlite:///{home / 'store.db'}"
    instance = LOCAL_INSTANCE if local else os.environ.get("AUGURY_INSTANCE", DEFAULT_INSTANCE)
    # Of the local instance it is a folder in any case: its worker has no other way to it.
    blob_url = (not local and os.environ.get("AUGURY_BLOB_URL")) or str(home / "blobs")
    return Settings(redis_url, secrets, database_url, home, instance, blob_url)


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UsageError(f"{name} is not set")
    return value
