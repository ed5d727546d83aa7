"""Everything behind the HTTP API, wired together: one object that starts, answers and stops."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any

from augury.blobs import Blobs
from augury.controller.loop import Controller, Ending
from augury.controller.submission import Plan, plan
from augury.dispatch.broker import Broker
from augury.dispatch.doorbells import Doorbells
from augury.errors import NotFoundError, RefusedError, UsageError
from augury.ingest.admission import Admission
from augury.ingest.loop import Ingest
from augury.ingest.messages import Hello
from augury.ingest.roster import Roster
from augury.logs import LogFiles
from augury.private_file import write_private
from augury.reaper import LOST_AFTER_SECONDS, Reaper
from augury.run import HELD_STATES, OPEN_SEARCH_STATES, OPEN_STATES, Want
from augury.server import snapshots
from augury.server.hints import Hints
from augury.server.outputs import OutputFiles
from augury.server.settings import Settings
from augury.server.workers import Workers
from augury.spec import SearchSpec
from augury.store import access, runs, searches
from augury.store.database import Connection, Store
from augury.store.records import RunRecord, SearchRecord
from augury_workers import protocol
from augury_workers.protocol import LOCAL_INSTANCE, Keys, queue_name

ADMIN = "admin"
"""The name that the first token of a shared server speaks for: it makes and revokes the others."""


@dataclass(frozen=True)
class Submitted:
    """A stored search, or, for a dry run, what it would be (`search_id` None)."""

    search_id: int | None
    plan: Plan
    notices: list[str]


class Service:
    """One running server without its HTTP door."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.database_url)
        keys = Keys(settings.instance)
        self.broker = Broker(settings.redis_url, keys, settings.secrets, self.store.epoch)
        self.blobs = Blobs(settings.blob_url)
        self.outputs = OutputFiles(self.blobs)
        self.logs = LogFiles(settings.home / "runs")
        self.hints = Hints()
        self.started_at = time.time()
        self._last_request = time.monotonic()
        self.controller = Controller(self.store, self.broker, Doorbells(settings.redis_url, keys))
        self.roster = Roster(self.controller.slots_changed)
        self.admission = Admission(settings.secrets)
        self.workers = Workers(self.store, self.broker, self.roster, self.admission)
        lost_after = None if settings.local else LOST_AFTER_SECONDS
        self.ingest = Ingest(
            self.store,
            self.broker,
            self.controller,
            self.logs,
            instance=settings.instance,
            environments=settings.environments,
            lost_after=lost_after,
            blobs=settings.blobs_folder,
            admit=self.admission.claim,
            on_hello=self._hello,
            on_told=self.hints.tell,
        )
        self.reaper = Reaper(
            self.store,
            self.broker,
            self.controller,
            self.ingest,
            self.roster,
            lost_after=lost_after,
            tell_workers=self.workers.tell,
        )

    def start(self) -> None:
        """Start all threads."""
        self.blobs.sweep()
        self.workers.load()
        self.controller.start()
        self.ingest.start()
        self.reaper.start()

    def stop(self) -> None:
        """Finish what is at hand and end all threads; open searches go on at the next start."""
        self.reaper.stop()
        self.ingest.stop()
        self.controller.stop()
        self.store.close()
        self.broker.close()

    def _hello(self, hello: Hello) -> None:
        refused = self.admission.hello(hello)
        if refused is None and not self.roster.knows(hello.worker):
            now = time.time()

            def work(connection: Connection) -> None:
                for name in hello.types:
                    access.see_machine_type(connection, now, name, queue_name(name))

            # Its type is known before its slots count.
            self.store.writer.call(work)
        self.roster.hello(hello, time.monotonic(), refused)

    # --- users ---

    def make_local_token(self) -> str:
        """Make the token of the one user of the local instance."""
        return self.make_token(user_name())

    def make_token(self, name: str) -> str:
        """Make a token that speaks for `name`, in place of any earlier one."""
        return self.store.writer.call(lambda c: access.create_token(c, time.time(), name))

    def revoke_token(self, name: str) -> bool:
        """Make the token of `name` worthless; False when there is none."""
        return self.store.writer.call(lambda c: access.revoke_token(c, name))

    def token_names(self) -> list[tuple[str, float]]:
        """Return whom there are tokens for, and since when."""
        with self.store.read() as connection:
            return access.tokens_by_name(connection)

    def owner_of(self, token: str) -> str | None:
        """Return whom a token speaks for, None when it is unknown."""
        with self.store.read() as connection:
            return access.owner_of(connection, token)

    def attempt_of(self, method: str, path: str, header: str) -> RunRecord | None:
        """Return the run that the attempt which signed a request holds; None when it holds none."""
        try:
            claim = protocol.parse_authorization(header)
        except ValueError:
            return None
        if not any(protocol.is_authorized(method, path, claim, key) for key in self.settings.secrets):
            return None
        with self.store.read() as connection:
            run = runs.get(connection, claim.run) if 0 < claim.run < 2**62 else None
        if run is None or run.state not in HELD_STATES:
            return None
        return run if (run.token, run.nonce) == (claim.token, claim.nonce) else None

    # --- activity ---

    def touch(self) -> None:
        """A user asked for something: the instance is not idle."""
        self._last_request = time.monotonic()

    def idle_seconds(self) -> float:
        """Return how long nobody has asked for anything and nothing was going on."""
        if self.going_on():
            self.touch()
        return time.monotonic() - self._last_request

    def open_searches(self) -> list[SearchRecord]:
        """Return the searches that have not ended."""
        with self.store.read() as connection:
            return searches.open_searches(connection)

    def going_on(self) -> dict[int, int]:
        """Return how many runs are under way in each open search; paused ones with none are left out."""
        with self.store.read() as connection:
            opened = searches.open_searches(connection)
            counts = searches.counts(connection, [search.id for search in opened])
        held = {search.id: sum(counts[search.id].get(state, 0) for state in HELD_STATES) for search in opened}
        return {
            search.id: held[search.id] for search in opened if held[search.id] or search.state != "paused"
        }

    # --- submitting ---

    def submit(self, spec: SearchSpec, owner: str, *, dry_run: bool) -> Submitted:
        """Check a request and start it.

        Raises:
            UsageError: the request is wrong; nothing was stored.
        """
        environment = spec.environment
        machine_type, queue, notice = self._machine_type(spec.machine_type)
        self._check_snapshot(spec)
        planned = plan(replace(spec, machine_type=machine_type, environment=None))
        notices = [*([notice] if notice else []), *self._slots_notice(planned, queue), *planned.notices]
        if self.settings.local and spec.lost_after is not None:
            notices.append(
                "--lost-after has no effect here: on one machine a lock tells whether a worker lives"
            )
        if dry_run:
            return Submitted(None, planned, notices)
        name = self._keep_environment(environment) if environment is not None else None
        search_id = self.controller.submit(
            planned, owner=owner, environment=name, queue_name=queue, notices=notices
        )
        return Submitted(search_id, planned, notices)

    def _check_snapshot(self, spec: SearchSpec) -> None:
        """Refuse a snapshot that is not here, or a directory outside it."""
        if spec.snapshot is None:
            return
        if spec.cwd.startswith("/") or ".." in spec.cwd.split("/"):
            raise UsageError(f"with a snapshot, cwd is a directory inside it, but not {spec.cwd}")
        if snapshots.size(self.blobs, spec.snapshot) is None:
            raise UsageError(f"there is no snapshot {spec.snapshot}: PUT it to /snapshots first")

    def _machine_type(self, asked: str | None) -> tuple[str, str, str | None]:
        """Return the machine type, its queue, and a notice where the user should know something."""
        if self.settings.local:
            notice = None
            if asked is not None and asked.lower() != LOCAL_INSTANCE:
                notice = f"machine type {asked} is served by the local worker on this machine"
            drained = self.workers.drained_notice(LOCAL_INSTANCE, LOCAL_INSTANCE)
            return asked or LOCAL_INSTANCE, LOCAL_INSTANCE, drained or notice
        with self.store.read() as connection:
            known = access.known_machine_types(connection)
        if not known:
            raise RefusedError("no worker was ever seen: start one with `augury worker -t TYPE`")
        if asked is None:
            if len(known) > 1:
                raise UsageError(f"name a machine type with -t: one of {', '.join(known)}")
            asked = known[0]
        spelled = {name.lower(): name for name in known}.get(asked.lower())
        if spelled is None:
            raise UsageError(f"unknown machine type '{asked}': use one of {', '.join(known)}")
        queue = queue_name(spelled)
        return spelled, queue, self.workers.waiting_notice(spelled, queue)

    def _slots_notice(self, planned: Plan, queue: str) -> list[str]:
        """Tell the user of a local instance that fewer runs than asked for go side by side."""
        slots, asked = self.roster.slots(queue), planned.spec.parallel_runs or 0
        if not self.settings.local or not 0 < slots < min(asked, planned.num_runs):
            return []
        has = f"{slots} slot{'s' if slots > 1 else ''}"
        return [
            f"only {slots} of {asked} runs at a time: this machine's worker has {has}; "
            f"`augury down` and `AUGURY_SLOTS={asked} augury up` give it more"
        ]

    def _keep_environment(self, environment: Any) -> str:
        """Write the submitter's variables to a 0600 file named by its content, and return that name."""
        text = json.dumps(dict(environment), sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        folder = self.settings.home / "environments"
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / f"{name}.json"
        if not target.exists():
            write_private(target, text)
        return name

    # --- looking up ---

    def search(self, search_id: int) -> SearchRecord:
        """Return a search; raises `NotFoundError`."""
        with self.store.read() as connection:
            found = searches.find(connection, search_id) if 0 < search_id < 2**62 else None
        if found is None:
            raise NotFoundError(f"there is no search {search_id}: see `augury hyper list`")
        return found

    def run(self, run_id: int) -> RunRecord:
        """Return a run; raises `NotFoundError`."""
        with self.store.read() as connection:
            found = runs.get(connection, run_id) if 0 < run_id < 2**62 else None
        if found is None:
            raise NotFoundError(f"there is no run {run_id}: see `augury ps --all`")
        return found

    # --- ending ---

    def end_search(self, search_id: int, want: Want) -> Ending:
        """Stop or kill a search; one that has ended is left as it is."""
        search = self.search(search_id)
        if search.state not in OPEN_SEARCH_STATES:
            with self.store.read() as connection:
                members = runs.of_search(connection, search_id)
            return Ending([], [], [run.id for run in members])
        return self.controller.end_search(search_id, want)

    def end_runs(self, run_ids: list[int], want: Want) -> tuple[Ending, list[int]]:
        """Stop or kill runs of any searches; also return the ids that do not exist."""
        with self.store.read() as connection:
            known = runs.get_many(connection, [one for one in run_ids if 0 < one < 2**62])
        ending = Ending([], [], [])
        by_search: dict[int, list[int]] = {}
        for run_id in run_ids:
            if run_id not in known:
                continue
            if known[run_id].state in OPEN_STATES:
                by_search.setdefault(known[run_id].search_id, []).append(run_id)
            else:
                ending.final.append(run_id)
        for search_id, members in by_search.items():
            # A single run is a search of one: when it ends, so does that.
            part = self.controller.end_runs(search_id, members, want)
            ending.stopped.extend(part.stopped)
            ending.killed.extend(part.killed)
            ending.final.extend(part.final)
        return ending, [one for one in run_ids if one not in known]


def user_name() -> str:
    """Return the name of the account this process runs as; its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
