"""The pages: what a browser gets, complete without scripts."""

# no "from __future__ import annotations" here: FastAPI reads the annotations of the routes

import hashlib
from typing import Final

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from yolocore_hub.server import views
from yolocore_hub.server.access import COOKIE
from yolocore_hub.server.services import Parts, Services, Visitor
from yolocore_hub.server.tokens import VISIT

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

NEWEST: Final = 8  # runs of a project on the first page
LISTED: Final = 300  # and on its own


@router.get("/")
def home(parts: Parts, request: Request, _visitor: Visitor) -> Response:
    """Show every project with its newest runs."""
    known = parts.records
    groups = []
    for name, count, _ in known.projects():
        newest = [known.overview(model) for model in known.models(name, most=NEWEST)]
        groups.append((name, count, newest))
    return _page(parts, request, "Projects", (), views.projects(groups, str(request.base_url).rstrip("/")))


@router.get("/projects/{name:path}")
def project(parts: Parts, request: Request, _visitor: Visitor, name: str) -> Response:
    """Show every run of a project, and how they compare."""
    known = parts.records
    count = next((count for found, count, _ in known.projects() if found == name), 0)
    if not count:
        raise HTTPException(404, "no such project")
    runs = [known.overview(model) for model in known.models(name, most=LISTED)]
    return _page(parts, request, name, (("Projects", "/"),), views.project(runs, count))


@router.get("/models/{model_id}")
def model(parts: Parts, request: Request, _visitor: Visitor, model_id: str) -> Response:
    """Show one run: curves, pictures, checkpoints, arguments."""
    known = parts.records
    found = known.model(model_id)
    body = views.run(found, known.metrics(found.id), known.files(found.id))
    trail = (("Projects", "/"), (found.project, views.project_url(found.project)))
    return _page(parts, request, found.name, trail, body)


@router.get("/sign-in")
def sign_in(parts: Parts, request: Request) -> Response:
    """Ask for a token."""
    if parts.access.may_look(request):
        return RedirectResponse("/", 303)
    return HTMLResponse(views.sign_in(""))


@router.post("/sign-in")
def begin_visit(parts: Parts, request: Request, token: str = Form("")) -> Response:
    """Sign a browser in that shows a right token."""
    rules = parts.access
    token_id = rules.known_key(request, token.strip())
    if token_id is None:
        return HTMLResponse(views.sign_in("This server does not know that token."), 401)
    answer = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    secret = rules.tokens.begin_visit(token_id)
    answer.set_cookie(COOKIE, secret, max_age=int(VISIT), httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out")
def end_visit(parts: Parts, request: Request) -> Response:
    """Sign a browser out."""
    parts.access.tokens.end_visit(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _page(parts: Services, request: Request, title: str, trail: views.Trail, body: views.Body) -> Response:
    """Return a page; to the script of an open one only the part that changes, and only when it has changed."""
    tag = f'"{hashlib.sha256(body.live.encode()).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "no-cache", "vary": "x-part, cookie"}
    if request.headers.get("x-part") == "live":
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body.live, headers=headers)
    is_visitor = parts.access.visitor(request) is not None
    return HTMLResponse(views.document(title, trail, body, signed_in=is_visitor), headers=headers)
