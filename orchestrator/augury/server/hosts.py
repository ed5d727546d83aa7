"""Which host names requests may carry: a foreign one means a browser that was lured here (DNS rebinding)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Hosts:
    """The names of one server. Any address in numbers is let in: rebinding needs a name."""

    def __init__(self, names: Collection[str] = ()) -> None:
        """Let in `names` besides loopback; none at all: only loopback."""
        self._names = _LOOPBACK | set(names)
        self._numbers = bool(names)

    def allows(self, header: str) -> bool:
        """Tell whether a request with this Host header may come in."""
        host = header.strip().lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
        if host in self._names:
            return True
        if not self._numbers:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True
