"""Workers: list, drain, undrain; queues, for whoever starts and ends workers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from augury.server.api.common import Owner, TheService

router = APIRouter(tags=["workers"])


class Names(BaseModel):
    """Names of workers."""

    names: Annotated[list[str], Field(min_length=1, max_length=1000)]


class Drains(Names):
    """Names of workers, and why they shall take nothing new."""

    reason: Annotated[str, Field(max_length=500)] = ""


@router.get("/workers")
def list_workers(service: TheService) -> dict[str, Any]:
    """List the workers, those that are gone too, and what each queue has to do."""
    return {"workers": service.workers.listing(), "queues": service.workers.queues()}


@router.post("/workers/drain")
def drain(body: Drains, service: TheService, owner: Owner) -> dict[str, Any]:
    """Let workers finish what they run and take nothing new, until they are undrained."""
    return {"workers": service.workers.drain(body.names, body.reason, owner)}


@router.post("/workers/undrain")
def undrain(body: Names, service: TheService) -> dict[str, Any]:
    """Let workers take runs again."""
    return {"workers": service.workers.undrain(body.names)}


@router.get("/queues")
def list_queues(service: TheService) -> dict[str, Any]:
    """Return queued and running runs, slots and busy slots of each queue: what an autoscaler needs."""
    return {"queues": service.workers.queues()}
