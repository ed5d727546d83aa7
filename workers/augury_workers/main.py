"""The worker's start: check the settings, clear what died here, say hello, consume."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from augury_sdk._layout import folder_name, layout
from augury_workers import settings as worker_settings
from augury_workers import slot, trees
from augury_workers.handover import SlotSetting
from augury_workers.secret import SETTING, SettingError
from augury_workers.settings import Settings
from augury_workers.slot import SlotBusyError

BUSY_SECONDS = 10.0
"""How long to wait for supervisors of an earlier worker of this name to end their trees."""

NAME_SECONDS = 2.0
"""How long to wait for the pool children of an earlier worker of this name, killed with it, to be gone."""

END_SECONDS = 35.0
"""How long to wait at the end until the supervisors have ended theirs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker; returns the exit code of the process: 2 for a wrong setting, 1 for an absent broker."""
    try:
        settings = worker_settings.parse(sys.argv[1:] if argv is None else argv, os.environ)
    except SettingError as error:
        print(f"augury worker: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        slots = _prepare(settings)
        if not (_wait_name(settings) and _wait_free(settings, BUSY_SECONDS)):
            text = f"another worker named {settings.name} runs on this host; give this one a --name"
            print(f"augury worker: {text}", file=sys.stderr)
            return 1
        slot.sweep(settings.state_dir, settings.instance, settings.name, settings.slots)
        trees.sweep(trees.folder_of(f"{slots.folders}/{settings.name}.0"))
    except OSError as error:
        print(f"augury worker: --state-dir: {error}", file=sys.stderr)
        return 2
    print(settings.describe(), flush=True)
    try:
        return _serve(settings, slots)
    except KeyboardInterrupt:
        return 130


def _serve(settings: Settings, slots: SlotSetting) -> int:
    # Celery costs half a second: a wrong setting is told before.
    from augury_workers import app
    from augury_workers.hello import BrokerAwayError, Hello

    os.environ[SETTING] = settings.secret_file
    hello = Hello(settings)
    try:
        hello.first()
    except SettingError as error:
        print(f"augury worker: {error}", file=sys.stderr)
        return 2
    except BrokerAwayError as error:
        print(f"augury worker: {error}", file=sys.stderr)
        return 1
    code = app.serve(settings, slots, hello)
    hello.close()
    _wait_free(settings, END_SECONDS)
    return code


def _prepare(settings: Settings) -> SlotSetting:
    """Make the state folder and what trainings find on their PYTHONPATH."""
    folder = slot.slots_folder(settings.state_dir, settings.instance)
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    python_folder = f"{settings.state_dir}/python/{folder_name()}"
    layout(python_folder)
    return SlotSetting(
        instance=settings.instance,
        worker=settings.name,
        folders=folder,
        python_folder=python_folder,
        pins=settings.pins,
    )


def _wait_name(settings: Settings) -> bool:
    end = time.monotonic() + NAME_SECONDS
    while True:
        try:
            slot.lock_name(settings.state_dir, settings.instance, settings.name)
            return True
        except SlotBusyError:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)


def _wait_free(settings: Settings, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while slot.busy_slots(settings.state_dir, settings.instance, settings.name, settings.slots):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
