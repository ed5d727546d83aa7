"""The keeper: one small process per local instance that starts its parts and starts them again.

`python -m augury.local.keeper --home DIR`. It holds `<home>/keeper.lock` for its life, so there is one. It
has one thread, on purpose: the kernel ties the broker's life to the thread that started it.

The broker ends with the keeper; server and worker live on when it is killed, trainings included. The server
then starts a new keeper, which adopts what lives and starts what does not.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from augury.errors import AuguryError
from augury.local import broker, locks
from augury.local.home import Home, own_version
from augury.local.life import Event, Life
from augury.local.parts import Part, default_parts, make_secret
from augury.local.slots import settled_slots

#: Signals that a starter may have ignored or blocked.
RESET_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

PartsOf = Callable[[Home, Mapping[str, str]], list[Part]]

#: Longest sleep of the keeper, in seconds: it looks at adopted parts and at the broker's socket that often.
TICK = 1.0

#: How often a broker that starts is asked whether it answers, in seconds.
BROKER_PING = 0.005

#: A first broker that failed this often will not come; nothing else has been started yet.
BROKER_FAILURES = 6

#: A living broker whose socket nobody answers for so many ticks has lost its socket file.
LOST_SOCKET_TICKS = 3


def main(arguments: Sequence[str] | None = None, parts_of: PartsOf = default_parts) -> int:
    """Keep the instance of `--home` until it is asked to end; returns the exit code."""
    parser = argparse.ArgumentParser(prog="augury.local.keeper")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    options = parser.parse_args(arguments)
    os.umask(0o077)
    home = Home(options.home)
    try:
        home.prepare()
        lock = locks.try_lock_for(home.lock("keeper"), 0.1)
        if lock is None:
            return 0
        locks.write_holder(lock, os.getpid())
        say(f"keeper {own_version()} started, pid {os.getpid()}, home {home.path}")
        wakeups = take_signals()
        make_secret(home)
        keeper = Keeper(home, parts_of(home, settled_slots(home, os.environ)), lock, wakeups)
        if options.ready_fd is not None:
            os.close(options.ready_fd)
        return keeper.run()
    except (AuguryError, OSError) as error:
        say(f"keeper cannot go on: {error}")
        return 1


def say(text: str) -> None:
    """Write a line into the keeper's log."""
    print(time.strftime("%Y-%m-%dT%H:%M:%S%z"), text, file=sys.stderr, flush=True)


def take_signals() -> int:
    """Undo what the starter ignored or blocked, and return a descriptor that wakes a `select`.

    `nohup`, and the shell that left the keeper behind, ignore signals, and every child down to the trainings
    would inherit that. A handler is not inherited, so it is what ignores SIGHUP here.
    """
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    wakeups, writer = os.pipe()
    os.set_blocking(wakeups, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, _ignore)
    return wakeups


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing: the wakeup descriptor has told already."""


class Keeper:
    """The loop around the lives of the parts; the first part is the broker."""

    def __init__(self, home: Home, parts: Sequence[Part], lock: int, wakeups: int) -> None:
        self._home = home
        self._lock = lock
        self._wakeups = wakeups
        self._lives = [Life(home, part) for part in parts]
        self._socket = home.socket()
        self._asked_to_end = False
        self._ticks_without_socket = 0
        self._next_tick = 0.0
        self._written: dict[str, Any] = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)

    def run(self) -> int:
        """Start or adopt the parts and look after them until the instance ends."""
        if not self._bring_broker_up():
            return self._end("the broker does not start", 1)
        while not self._asked_to_end:
            for life in self._lives:
                if self._told(life, life.check(time.monotonic())) == "ended":
                    return self._end(f"{life.part.name} ended the instance", 0)
            if time.monotonic() >= self._next_tick:
                self._next_tick = time.monotonic() + TICK
                if not locks.is_same_file(self._lock, self._home.lock("keeper")):
                    return self._end("the home folder is gone", 1)
                self._look_for_socket()
                self._write_report()
            self._sleep()
        return self._end("asked to end", 0)

    def _bring_broker_up(self) -> bool:
        """Start the broker and wait until it answers; False when it fails again and again.

        Not waited for without end when server or worker live already: they have a longer breath.
        """
        life = self._lives[0]
        while not self._asked_to_end:
            self._told(life, life.check(time.monotonic()))
            if life.is_up and self._broker_answers():
                return True
            if life.failures >= BROKER_FAILURES:
                return any(locks.is_held(self._home.lock(other.part.name)) for other in self._lives[1:])
            time.sleep(BROKER_PING)
        return True

    def _broker_answers(self) -> bool:
        try:
            return broker.ping(self._socket)
        except OSError:
            return False

    def _look_for_socket(self) -> None:
        """Start the broker again when its socket file was removed under it: nobody can reach it any more."""
        life = self._lives[0]
        try:
            broker.ping(self._socket, timeout=0.5)
            self._ticks_without_socket = 0
        except OSError:
            self._ticks_without_socket += 1
        if life.is_up and self._ticks_without_socket >= LOST_SOCKET_TICKS:
            say("the broker lives but nobody answers at its socket: starting it again")
            self._ticks_without_socket = 0
            life.stop()

    def _sleep(self) -> None:
        """Sleep until a signal comes, a part is due, or the next tick."""
        now = time.monotonic()
        times = [self._next_tick, *(life.due for life in self._lives if not life.is_child)]
        if select.select([self._wakeups], [], [], max(0.0, min(times) - now))[0]:
            os.read(self._wakeups, 4096)

    def _end(self, reason: str, code: int) -> int:
        """End all parts, the broker last: until then the others may have something to report."""
        say(f"ending: {reason}")
        for life in (*self._lives[1:], self._lives[0]):
            life.stop()
        self._home.keeper_file.unlink(missing_ok=True)
        self._home.leave_socket_folder()
        say("ended")
        return code

    def _told(self, life: Life, event: Event) -> Event:
        """Write what happened to a part into the log and into `keeper.json`."""
        if event != "nothing":
            found = life.report()
            details = f"pid {found['pid']}" if found["pid"] else found["last_end"]
            say(f"{life.part.name} {event} {details}")
            self._write_report()
        return event

    def _write_report(self) -> None:
        report: dict[str, Any] = {"pid": os.getpid(), "version": own_version()}
        report["parts"] = {life.part.name: life.report() for life in self._lives}
        if report == self._written:
            return
        fresh = self._home.keeper_file.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(report))
            fresh.replace(self._home.keeper_file)
            self._written = report
        except OSError as error:
            say(f"cannot write {self._home.keeper_file}: {error}")

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        self._asked_to_end = True


if __name__ == "__main__":
    sys.exit(main())
