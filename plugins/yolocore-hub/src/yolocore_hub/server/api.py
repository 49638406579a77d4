"""The HUB wire format, and what this server adds to it: lists, numbers, pictures and downloads.

Answers are ``{"success": true, "data": …}`` or ``{"success": false, "message": "…"}``.
"""

# no "from __future__ import annotations" here: FastAPI reads the annotations of the routes

import json
import secrets
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from yolocore_hub import __version__
from yolocore_hub.server.records import KINDS, Model, StoredFile, UnfitError, clean, number
from yolocore_hub.server.services import Json, Parts, Program, Reader, Services

FEATURES: Final = ("args", "final", "images", "project", "status")
MODEL: Final = "/models/{model_id}"

router = APIRouter(prefix="/v1")


def success(data: Any = None) -> dict[str, Any]:
    """Return the answer to a request that was carried out."""
    return {"success": True} if data is None else {"success": True, "data": data}


def described(model: Model) -> dict[str, Any]:
    """Return a model as it goes over the wire."""
    return {
        "id": model.id,
        "meta": {"name": model.name, "project": model.project},
        "projectId": model.project,
        "datasetId": None,
        "config": dict(model.config),
        "args": dict(model.args),
        "final": dict(model.final),
        "status": model.state,
        "created": model.created,
        "seen": model.seen,
    }


# the documented calls ------------------------------------------------------------------------------------------


@router.post("/auth")
def authenticate(parts: Parts, _token: Program) -> dict[str, Any]:
    """Say that the key is right, and what this server can do."""
    data = {"server": f"yolocore-hub {__version__}", "features": FEATURES, "maxUpload": parts.limits.upload}
    return {**success(data), "message": "welcome"}


@router.post("/models")
def create(parts: Parts, token: Program, body: Json) -> dict[str, Any]:
    """Make a model."""
    meta, config = body.get("meta"), body.get("config")
    meta = meta if isinstance(meta, dict) else {}
    project = meta.get("project") or body.get("projectId")
    config = config if isinstance(config, dict) else {}
    return success({"id": parts.records.create(token, meta.get("name"), project, config)})


@router.get(MODEL)
def model(parts: Parts, _reader: Reader, model_id: str) -> dict[str, Any]:
    """Describe a model."""
    return success(described(parts.records.model(model_id)))


@router.post(MODEL)
def add_metrics(parts: Parts, _token: Program, model_id: str, body: Json) -> dict[str, Any]:
    r"""Take the numbers of epochs: ``{"metrics": {"0": "{\"train/box_loss\": 1.5}"}}``."""
    given = body.get("metrics")
    if not isinstance(given, dict):
        raise UnfitError('metrics: an object such as {"0": "{…}"} is needed')
    parts.records.add_metrics(model_id, dict(map(_entry, given.items())))
    return success()


@router.patch(MODEL)
def update(parts: Parts, _token: Program, model_id: str, body: Json) -> dict[str, Any]:
    """Change what is known about a model."""
    parts.records.update(model_id, body)
    return success()


@router.delete(MODEL)
def delete(parts: Parts, _token: Program, model_id: str, hard: bool = False) -> dict[str, Any]:
    """Hide a model, or remove it."""
    parts.records.delete(model_id, hard=hard)
    return success()


@router.post("/agent/heartbeat" + MODEL)
def heartbeat(parts: Parts, _token: Program, model_id: str, body: Json) -> dict[str, Any]:
    """Note that a training lives."""
    parts.records.beat(model_id, body.get("agent"))
    return success({"agentId": clean(body.get("agentId"), secrets.token_hex(8))})


@router.post(MODEL + "/upload")
async def upload(parts: Parts, request: Request, _token: Program, model_id: str) -> dict[str, Any]:
    """Take a checkpoint: fields ``type`` (epoch or final), ``epoch``, ``isBest`` or ``map``, and ``file``."""
    await run_in_threadpool(parts.records.model, model_id)  # no file is read for a model that does not exist
    async with request.form(max_files=1, max_fields=8) as form:
        fields = {key: value for key, value in form.items() if isinstance(value, str)}
        kind = fields.get("type")
        if kind not in ("epoch", "final"):
            raise UnfitError(f"type {kind!r:.40}: epoch or final")
        score = number(_number(fields["map"])) if "map" in fields else None
        best = ("best",) if fields.get("isBest", "").lower() == "true" else ()
        kinds = ("final",) if kind == "final" else ("last", *best)
        await run_in_threadpool(store, parts, model_id, kinds, form.get("file"), _epoch(fields), score)
    if kind == "final":
        await run_in_threadpool(parts.records.update, model_id, {"status": "finished"})
    return success()


# what this server adds -----------------------------------------------------------------------------------------


@router.post(MODEL + "/images")
async def add_image(parts: Parts, request: Request, _token: Program, model_id: str) -> dict[str, Any]:
    """Take a PNG or JPEG picture: fields ``epoch`` and ``file``."""
    known = await run_in_threadpool(_images_of, parts, model_id)
    async with request.form(max_files=1, max_fields=8) as form:
        file, fields = form.get("file"), {key: value for key, value in form.items() if isinstance(value, str)}
        if len(known) >= parts.limits.pictures and picture_name(file) not in known:
            raise HTTPException(413, f"this model has {parts.limits.pictures} pictures, no more are taken")
        await run_in_threadpool(store, parts, model_id, ("image",), file, _epoch(fields), None)
    return success()


@router.get("/projects")
def projects(parts: Parts, _reader: Reader) -> dict[str, Any]:
    """List the projects."""
    found = parts.records.projects()
    return success([{"name": name, "models": count, "seen": seen} for name, count, seen in found])


@router.get("/models")
def models(parts: Parts, _reader: Reader, project: str | None = None) -> dict[str, Any]:
    """List the models, of one project or all."""
    return success([described(found) for found in parts.records.models(project)])


@router.get(MODEL + "/metrics")
def metrics(parts: Parts, _reader: Reader, model_id: str) -> dict[str, Any]:
    """Return epoch → name → number."""
    found = parts.records.model(model_id)
    return success(parts.records.metrics(found.id))


@router.get(MODEL + "/files")
def files(parts: Parts, _reader: Reader, model_id: str) -> dict[str, Any]:
    """List checkpoints and pictures."""
    found = parts.records.model(model_id)
    return success(
        [{key: getattr(file, key) for key in StoredFile.__slots__} for file in parts.records.files(found.id)]
    )


@router.get(MODEL + "/checkpoints/{kind}")
def checkpoint(parts: Parts, _reader: Reader, model_id: str, kind: str) -> FileResponse:
    """Send a checkpoint: ``last``, ``best`` or ``final``."""
    found = parts.records.model(model_id)
    file, path = parts.records.file(found.id, kind if kind in KINDS else "", kind)
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=f"{clean(found.name)}-{kind}.pt",
        headers={"etag": f'"{file.sha256}"', "x-sha256": file.sha256},
    )


@router.get(MODEL + "/images/{name}")
def image(parts: Parts, _reader: Reader, model_id: str, name: str) -> FileResponse:
    """Send a picture."""
    found = parts.records.model(model_id)
    file, path = parts.records.file(found.id, "image", name)
    return FileResponse(path, media_type=file.type, headers={"etag": f'"{file.sha256}"'})


# helpers -------------------------------------------------------------------------------------------------------


def store(
    parts: Services, model_id: str, kinds: tuple[str, ...], file: object, epoch: int, score: float | None
) -> None:
    """Store an uploaded file.

    Raises:
        UnfitError: there is no file, it is empty, or it is no picture where one is needed.
    """
    if not isinstance(file, UploadFile):
        raise UnfitError("file: an uploaded file is needed")
    blob = parts.blobs.stage(file.file)
    try:
        if blob.size == 0:
            raise UnfitError("file: it is empty")
        if kinds == ("image",) and not blob.picture:
            raise UnfitError("file: neither PNG nor JPEG")
        parts.records.add_file(model_id, kinds, blob, name=picture_name(file), epoch=epoch, score=score)
    finally:
        parts.blobs.discard(blob)


def picture_name(file: object) -> str:
    """Return the last part of an uploaded file's name, for showing only: it never becomes a path."""
    name = file.filename if isinstance(file, UploadFile) else None
    return clean(PurePosixPath(str(name or "").replace("\\", "/")).name, "file")


def _images_of(parts: Services, model_id: str) -> set[str]:
    found = parts.records.model(model_id)
    return {file.name for file in parts.records.files(found.id, "image")}


def _entry(item: tuple[str, Any]) -> tuple[int, Mapping[str, object]]:
    epoch, text = item
    if not (epoch.isdecimal() and len(epoch) < 10):
        raise UnfitError(f"epoch {epoch!r:.40}: an index from 0")
    try:
        values = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise UnfitError(f"epoch {epoch}: its numbers are no JSON object")
    return int(epoch), values


def _epoch(fields: Mapping[str, str]) -> int:
    text = fields.get("epoch", "0")
    if not (text.isdecimal() and len(text) < 10):
        raise UnfitError(f"epoch {text!r:.40}: an index from 0")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UnfitError(f"{text!r:.40} is no number") from None
