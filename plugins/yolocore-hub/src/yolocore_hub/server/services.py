"""What the routes work with, and the checks they depend on."""

# no "from __future__ import annotations" here: FastAPI reads the annotations of the dependencies

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Body, Depends, Request

from yolocore_hub.server.access import Access, SignInError
from yolocore_hub.server.blobs import Blobs
from yolocore_hub.server.limits import Limits
from yolocore_hub.server.records import Records
from yolocore_hub.server.tokens import Tickets


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one server."""

    access: Access
    blobs: Blobs
    limits: Limits
    records: Records
    tickets: Tickets


def services(request: Request) -> Services:
    """Return the parts of the server that a request came to."""
    found: Services = request.app.state.services
    return found


def program(request: Request) -> str:
    """Let programs with a right key pass, and return the id of their token."""
    return services(request).access.program(request)


def reader(request: Request) -> None:
    """Let programs with a right key pass, and browsers that may look."""
    access = services(request).access
    if not access.may_look(request):
        access.program(request)


def visitor(request: Request) -> None:
    """Let browsers pass that may look; send others to the sign-in page."""
    if not services(request).access.may_look(request):
        raise SignInError


Parts = Annotated[Services, Depends(services)]
Program = Annotated[str, Depends(program)]
Reader = Annotated[None, Depends(reader)]
Visitor = Annotated[None, Depends(visitor)]
Json = Annotated[dict[str, Any], Body()]
