"""The application: routes, limits and the headers that every answer carries."""

# no "from __future__ import annotations" here: FastAPI reads the annotations of the routes

import errno
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yolocore_hub.server import api, pages, views, webhooks
from yolocore_hub.server.access import Access, SignInError
from yolocore_hub.server.blobs import Blobs
from yolocore_hub.server.database import Database
from yolocore_hub.server.limits import BodyLimit, Limits
from yolocore_hub.server.records import MissingError, Records, UnfitError
from yolocore_hub.server.services import Services
from yolocore_hub.server.tokens import Tickets, Tokens

DATABASE: Final = "hub.sqlite"
FILES: Final = "files"
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_ROOM_WAIT: Final = "60"  # seconds after which a client may try again
TYPES: Final = {"hub.css": "text/css", "hub.js": "text/javascript", "icon.svg": "image/svg+xml"}
SAFETY: Final = {
    b"content-security-policy": b"default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


def create_app(
    data_dir: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    is_public: bool = False,
) -> FastAPI:
    """Return the application that keeps its records below ``data_dir``.

    Args:
        data_dir: folder of database and files; created when it does not exist.
        limits: how much clients may send.
        is_public: whether anybody who reaches the server may look without signing in.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(data_dir / DATABASE)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = FastAPI(
        title="yolocore hub", docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json", lifespan=lifespan
    )
    blobs = Blobs(data_dir / FILES)
    app.state.services = Services(
        access=Access.make(Tokens(database), limits, is_public=is_public),
        blobs=blobs,
        limits=limits,
        records=Records(database, blobs),
        tickets=Tickets(database),
    )
    app.include_router(api.router)
    app.include_router(webhooks.router)
    app.include_router(pages.router)
    app.add_api_route("/static/{name}", static, include_in_schema=False)
    _handle_errors(app)
    _handle_faults(app)
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(SafetyHeaders)
    return app


def static(name: str) -> Response:
    """Return a packaged file; its address changes with its content, so browsers may keep it."""
    if name not in TYPES:
        raise HTTPException(404, "no such file")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(views.static_file(name), media_type=TYPES[name], headers=headers)


class SafetyHeaders:
    """Adds the headers that keep what clients uploaded from doing anything in a browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back with more headers."""

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                extra = [(name, value) for name, value in SAFETY.items() if name not in headers]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await self.app(scope, receive, safe)


def _handle_errors(app: FastAPI) -> None:
    """Answer what is wrong with a request."""

    @app.exception_handler(SignInError)
    def to_sign_in(_request: Request, _error: SignInError) -> Response:
        return RedirectResponse("/sign-in", 303)

    @app.exception_handler(AnyHTTPException)
    def refused(request: Request, error: AnyHTTPException) -> Response:
        return _answer(request, error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(MissingError)
    def missing(request: Request, error: MissingError) -> Response:
        return _answer(request, 404, str(error))

    @app.exception_handler(UnfitError)
    def unfit(request: Request, error: UnfitError) -> Response:
        return _answer(request, 422, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        return _answer(request, 422, faults)


def _handle_faults(app: FastAPI) -> None:
    """Answer what is no fault of a request: a connection that breaks, a full disk."""

    @app.exception_handler(ClientDisconnect)
    def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it; without it, every broken upload is a traceback in the log

    @app.exception_handler(OSError)
    def cannot_store(request: Request, error: OSError) -> Response:
        if error.errno not in NO_ROOM:
            raise error
        return _no_room(request)

    @app.exception_handler(sqlite3.OperationalError)
    def cannot_record(request: Request, error: sqlite3.OperationalError) -> Response:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
            raise error
        return _no_room(request)


def _no_room(request: Request) -> Response:
    return _answer(request, 507, "the disk of the server is full", {"retry-after": NO_ROOM_WAIT})


def _answer(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an error as a page to a browser, as JSON to everybody else."""
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(("/v1/", "/api/")):
        return HTMLResponse(views.problem(status, message), status, headers)
    return JSONResponse({"success": False, "message": message}, status, headers)
