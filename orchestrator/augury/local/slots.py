"""How many slots the local worker is to have: `AUGURY_SLOTS`, kept in the home for the starts to come."""

from __future__ import annotations

from collections.abc import Mapping

from augury.local.home import Home, locate

#: Sets the slots of the local worker; this value goes back to the default.
SLOTS_VARIABLE, AUTO_SLOTS = "AUGURY_SLOTS", "auto"


def settled_slots(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with the `AUGURY_SLOTS` that holds: the one given, else the one kept in the home.

    One that is given and can be used is kept for the starts to come; `auto` forgets it.
    """
    settled = dict(environment)
    given = settled.pop(SLOTS_VARIABLE, "").strip()
    if given.lower() == AUTO_SLOTS:
        home.slots_file.unlink(missing_ok=True)
        return settled
    if given.isdecimal() and int(given) > 0:
        home.slots_file.write_text(f"{int(given)}\n")
    slots = given or kept_slots(home)
    return settled | {SLOTS_VARIABLE: slots} if slots else settled


def kept_slots(home: Home) -> str:
    """Return the `AUGURY_SLOTS` kept in the home, "" when there is none."""
    try:
        return home.slots_file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def asked_in_vain(environment: Mapping[str, str]) -> str | None:
    """Return the `AUGURY_SLOTS` of this shell when the instance that lives was started with another one."""
    asked = environment.get(SLOTS_VARIABLE, "").strip()
    kept = kept_slots(locate(environment, make=False))
    return asked if asked and asked != (kept or AUTO_SLOTS) else None
