"""`Client`: the routes of a server plus the Python API on top of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from augury.client.connection import Address, Notify, find_address
from augury.client.hyper import HyperService
from augury.client.routes import Routes
from augury.client.runs import RunsService
from augury.errors import UsageError

if TYPE_CHECKING:
    import httpx


class Client(Routes):
    """The door to an instance.

    Without arguments it is the one of `AUGURY_URL` and `AUGURY_TOKEN` (or of the settings file), else
    this user's private local instance, started by the first request unless `start` is false; `notify` gets
    a line for people when that takes long. `transport` replaces the network in tests.

    Example:
        >>> from augury import Client, RangeSpec
        >>> client = Client()
        >>> search = client.hyper.new_random_search(
        ...     {"rate": RangeSpec(0.001, 1.0, scaling="log")}, num_runs=10,
        ...     command="python train.py --learning_rate :rate:", metric="val_acc")
        >>> search.wait().best().hyper_params
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        start: bool = True,
        notify: Notify | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if (url is None) != (token is None):
            raise UsageError("give both url and token, or neither")
        if url is not None and token is not None:
            fixed = Address(url.rstrip("/"), token)
            super().__init__(lambda verify: fixed, transport)
        else:
            super().__init__(lambda verify: find_address(verify, notify, start), transport)

    @cached_property
    def hyper(self) -> HyperService:
        """Hyperparameter searches: create, get, list."""
        return HyperService(self)

    @cached_property
    def runs(self) -> RunsService:
        """Single runs: create, get, list."""
        return RunsService(self)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
