"""The private local instance: found, started on demand, kept alive, ended. Standard library only."""

from augury.local.broker import url as broker_url
from augury.local.diagnosis import Check, doctor
from augury.local.endpoint import Endpoint, connect, current, down, read, up
from augury.local.home import Home, locate, own_version
from augury.local.launch import ensure_keeper, keeper_is_alive
from augury.local.slots import asked_in_vain

__all__ = [
    "Check",
    "Endpoint",
    "Home",
    "asked_in_vain",
    "broker_url",
    "connect",
    "current",
    "doctor",
    "down",
    "ensure_keeper",
    "keeper_is_alive",
    "locate",
    "own_version",
    "read",
    "up",
]
