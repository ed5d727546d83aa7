"""What the server is told at start: by its environment, and by its command line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augury.errors import UsageError
from augury.server.keys import KeyFile
from augury_workers.protocol import DEFAULT_INSTANCE, LOCAL_INSTANCE, Secret


@dataclass(frozen=True)
class Settings:
    """Where everything is. `home` is the folder of the local instance, or the state folder of a server."""

    redis_url: str
    secrets: Sequence[Secret]
    """Of the key file, as it is now: the first signs; workers that have any other are still let in."""
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


def read_local(home: Path) -> Settings:
    """Return the settings of the local instance in `home`, as its keeper has set them.

    Raises:
        UsageError: one is missing or cannot be used; the text names it.
    """
    return Settings(
        redis_url=_required("AUGURY_REDIS_URL", ""),
        secrets=KeyFile(Path(_required("AUGURY_SECRET_FILE", ""))),
        database_url=f"sqlite:///{home / 'store.db'}",
        home=home,
        instance=LOCAL_INSTANCE,
        blob_url=str(home / "blobs"),
    )


def read_cluster(state: Path, listen: str) -> Settings:
    """Return the settings of a shared server that keeps its files in `state` and listens at HOST:PORT.

    The key file is `secret` in `state` unless AUGURY_SECRET_FILE says otherwise.

    Raises:
        UsageError: one is missing or cannot be used; the text names it.
    """
    host, port = parse_listen(listen)
    instance = os.environ.get("AUGURY_INSTANCE") or DEFAULT_INSTANCE
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", instance) or instance == LOCAL_INSTANCE:
        raise UsageError(
            f"AUGURY_INSTANCE: '{instance}' may hold only letters, digits, '.', '_', '-', and not be 'local'"
        )
    return Settings(
        redis_url=_required("AUGURY_REDIS_URL", ": give the broker's URL, as redis://:PASSWORD@HOST:6379/0"),
        secrets=KeyFile(secret_file(state)),
        database_url=_required(
            "AUGURY_DATABASE_URL", ": give the database's URL, as postgresql://USER:PASSWORD@HOST/NAME"
        ),
        home=state,
        instance=instance,
        blob_url=os.environ.get("AUGURY_BLOB_URL") or str(state / "blobs"),
        host=host,
        port=port,
    )


def secret_file(state: Path) -> Path:
    """Return where the key file of a shared server is."""
    return Path(os.environ.get("AUGURY_SECRET_FILE") or state / "secret")


def parse_listen(text: str) -> tuple[str, int]:
    """Read HOST:PORT, an IPv6 address in brackets; raises `UsageError`."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        raise UsageError(f"--listen '{text}' is not HOST:PORT, as 0.0.0.0:8800")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise UsageError(f"--listen '{text}': put an IPv6 address in brackets, as [::]:8800")
    return host, int(port)


def _required(name: str, fix: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UsageError(f"{name} is not set{fix}")
    return value
