"""Tokens of the users of a shared server: the admin makes them, lists them and revokes them."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from augury.errors import NotFoundError, RefusedError, UsageError
from augury.server.api.common import Owner, TheService
from augury.server.service import ADMIN, Service
from augury.server.views import iso

router = APIRouter(prefix="/tokens", tags=["tokens"])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class NewToken(BaseModel):
    """Whom a token is to speak for."""

    name: str


@router.get("")
def list_tokens(service: TheService, owner: Owner) -> dict[str, Any]:
    """List whom there are tokens for."""
    _check_admin(service, owner)
    return {"tokens": [{"name": name, "created_at": iso(at)} for name, at in service.token_names()]}


@router.post("", status_code=201)
def create(body: NewToken, service: TheService, owner: Owner) -> dict[str, Any]:
    """Make a token; it is told this once."""
    _check_admin(service, owner)
    if not _NAME.fullmatch(body.name):
        raise UsageError(f"'{body.name}' cannot be a user's name: use letters, digits, '.', '_', '-' and '@'")
    if body.name in dict(service.token_names()):
        raise RefusedError(
            f"{body.name} has a token: end it with `augury token revoke {body.name}`, then make another"
        )
    return {"name": body.name, "token": service.make_token(body.name)}


@router.delete("/{name}")
def revoke(name: str, service: TheService, owner: Owner) -> dict[str, Any]:
    """Make a user's token worthless; searches and runs of the user go on."""
    _check_admin(service, owner)
    if name == ADMIN:
        raise RefusedError("the admin's token ends when its file in the server's state folder is removed")
    if not service.revoke_token(name):
        raise NotFoundError(f"there is no token of {name}: see `augury token list`")
    return {"name": name}


def _check_admin(service: Service, owner: str) -> None:
    if service.settings.local:
        raise RefusedError("the local instance has one user: tokens are for a server started with --listen")
    if owner != ADMIN:
        raise RefusedError(f"only the admin's token makes and revokes tokens, and this one is of {owner}")
