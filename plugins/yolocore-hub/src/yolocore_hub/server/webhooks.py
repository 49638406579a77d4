"""The wire format of the platform plugin: events of a training, and tickets to upload files with.

What is sent inside ``data`` is not published anywhere; this server takes what yolocore's own plugin sends.
"""

# no "from __future__ import annotations" here: FastAPI reads the annotations of the routes

import re
from collections.abc import Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from yolocore_hub.server.api import success
from yolocore_hub.server.records import Model, UnfitError, clean
from yolocore_hub.server.services import Json, Parts, Program, Services

ENDS: Final = {"training_complete": "finished", "training_failed": "failed"}

PARTS: Final = ("metrics", "lr", "model")  # of an epoch
RUN: Final = "x-yolocore-run"  # header of yolocore's own plugin: tells runs of the same project and name apart
RUN_ID: Final = re.compile(r"[0-9a-f]{32}")

router = APIRouter(prefix="/api")


@router.post("/webhooks/training/metrics")
def event(parts: Parts, request: Request, token: Program, body: Json) -> dict[str, Any]:
    """Take one event of a training."""
    kind, data = body.get("event"), _mapping(body, "data")
    known = parts.records
    model = _model(parts, request, token, body)
    if kind == "training_started":
        known.update(model.id, {"args": _mapping(data, "args"), "status": "training"})
    elif kind == "epoch_end":
        epoch = data.get("epoch")
        if not isinstance(epoch, int) or isinstance(epoch, bool):
            raise UnfitError("data.epoch: an index from 0")
        known.add_metrics(
            model.id, {epoch: {key: value for part in PARTS for key, value in _mapping(data, part).items()}}
        )
    elif kind in ENDS:
        known.update(model.id, {"status": ENDS[kind], "final": _mapping(data, "metrics")})
    else:
        known.beat(model.id)
    return {**success({"modelId": model.id}), "stop": False}


@router.post("/webhooks/models/upload")
def announce(parts: Parts, request: Request, token: Program, body: Json) -> dict[str, Any]:
    """Return the address that a file may be put to, once."""
    size = body.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise UnfitError("size: the number of bytes")
    if size > parts.limits.upload:
        raise HTTPException(413, f"larger than the {parts.limits.upload} bytes allowed here")
    model = _model(parts, request, token, body)
    secret = parts.tickets.issue(model.id, clean(body.get("filename"), "best.pt"))
    return success({"uploadUrl": f"/api/uploads/{secret}"})


@router.put("/uploads/{secret}")
async def put(parts: Parts, request: Request, secret: str) -> dict[str, Any]:
    """Take the file of a ticket."""
    found = await run_in_threadpool(parts.tickets.redeem, secret)
    if found is None:
        raise HTTPException(403, "this ticket is not good any more")
    with SpooledTemporaryFile(1 << 20) as file:
        async for piece in request.stream():
            await run_in_threadpool(file.write, piece)
        file.seek(0)
        await run_in_threadpool(_store, parts, *found, file)
    return success()


def _store(parts: Services, model_id: str, name: str, file: IO[bytes]) -> None:
    blob = parts.blobs.stage(file)
    try:
        if blob.size == 0:
            raise UnfitError("the file is empty")
        last = max(parts.records.metrics(model_id), default=0)
        kind = "last" if name.startswith("last") else "final"
        parts.records.add_file(model_id, (kind,), blob, name=name, epoch=last)
    finally:
        parts.blobs.discard(blob)


def _model(parts: Services, request: Request, token: str, body: Mapping[str, Any]) -> Model:
    """Return the model of a request: known by the header, else by project and name; made when it is new."""
    known, data, run = parts.records, _mapping(body, "data"), request.headers.get(RUN, "")
    has_id = RUN_ID.fullmatch(run) is not None
    if not has_id:
        run = f"{clean(body.get('project'), 'yolocore')}\n{clean(body.get('name'))}"
    model = known.model_of_run(run)
    starts = body.get("event") == "training_started" and not data.get("resumed")
    if model is not None and starts and not has_id:
        known.forget_run(run)  # a new training under the name of an older one
        model = None
    if model is None:
        args = _mapping(data, "args")
        config = {"epochs": args["epochs"]} if "epochs" in args else {}
        model = known.model(known.create(token, body.get("name"), body.get("project"), config, run))
    return model


def _mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
