"""Who may work at all: a worker of this version of the wire, with a key of ours, that is not drained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from augury.ingest.messages import Claim, Hello, Mark
from augury_workers import protocol
from augury_workers.protocol import Secret

Refusal: TypeAlias = Literal["version", "key", "drained"]


class Admission:
    """Judges claims and hellos. `drained` is replaced as a whole, so any thread may read it."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        self._secrets = secrets
        self.drained: frozenset[str] = frozenset()

    def claim(self, claim: Claim) -> Refusal | None:
        """Return why a worker gets no run, None when it may have one.

        Without a key of ours it could not verify the order: a run granted to it would be nobody's.
        """
        refused = self._refused(claim.version, claim.mark)
        if refused is None and claim.worker in self.drained:
            return "drained"
        return refused

    def hello(self, hello: Hello) -> Refusal | None:
        """Return why a worker cannot work here whatever it is asked, None when it can."""
        return self._refused(hello.version, hello.mark)

    def _refused(self, version: int, mark: Mark) -> Refusal | None:
        if version != protocol.VERSION:
            return "version"
        known = {secret.kid: secret for secret in self._secrets}
        return None if protocol.is_signed(mark.text, mark.kid, mark.mac, known) else "key"
