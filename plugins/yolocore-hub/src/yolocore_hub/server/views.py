"""What the pages look like: records in, HTML out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from yolocore_hub.server.charts import Chart, Series, charts_of, render, short, spark
from yolocore_hub.server.markup import EMPTY, Content, Markup, join, tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from yolocore_hub.server.records import Model, Overview, StoredFile

Trail = tuple[tuple[str, str], ...]

MOVING: Final = ("created", "training", "stalled")
COMPARED: Final = 6  # runs in the chart of a project
TILES: Final = (("mAP50-95", "mAP50-95"), ("mAP50", "mAP50"), ("precision", "precision"), ("recall", "recall"))
PICTURE_ORDER: Final = ("results", "val_batch", "train_batch", "Box", "confusion", "labels")
NOTHING: Final = "\u2013"
WEIGHTS: Final = {
    "final": "the best weights, stripped of what only a training needs",
    "best": "the best epoch so far",
    "last": "the newest epoch; a training can be resumed from it",
}


@dataclass(frozen=True)
class Body:
    """The inside of a page.

    Attributes:
        live: what the script exchanges when it has changed.
        fixed: what stays.
        seconds: how often the script asks, 0 for never.
    """

    live: Markup
    fixed: Markup = EMPTY
    seconds: int = 0


@lru_cache(maxsize=4)
def static_url(name: str) -> str:
    """Return the address of a packaged file, which changes with its content."""
    return f"/static/{name}?v={sha256(static_file(name)).hexdigest()[:12]}"


def static_file(name: str) -> bytes:
    """Return a packaged file."""
    return files("yolocore_hub.server").joinpath("static", name).read_bytes()


def project_url(name: str) -> str:
    """Return the address of a project's page."""
    return f"/projects/{quote(name, safe='')}"


# frame ---------------------------------------------------------------------------------------------------------


def document(title: str, trail: Trail, body: Body, *, signed_in: bool) -> Markup:
    """Return a whole page."""
    slash = tag("span", "/", class_="slash")
    links = [join((slash if place else None, tag("a", text, href=href))) for place, (text, href) in enumerate(trail)]
    sign_out = tag("form", tag("button", "Sign out", class_="plain"), method="post", action="/sign-out")
    theme = tag(
        "button",
        tag("span", "Switch between light and dark", class_="unseen"),
        type="button", id="theme", class_="plain", hidden=True, title="Light or dark",
    )  # fmt: skip
    header = tag(
        "header",
        tag("a", tag("i"), tag("b", "yolocore"), " hub", href="/", class_="brand"),
        tag("div", theme, sign_out if signed_in else None, class_="right"),
    )
    heading = tag("div", tag("nav", *links, aria_label="Where you are"), tag("h1", title), class_="title")
    live = tag("div", body.live, id="live", data_seconds=body.seconds)
    return _html(title, header, tag("main", heading, live, body.fixed), tag("dialog", id="large"))


def _html(title: str, *content: Content) -> Markup:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · yolocore hub"),
        tag("link", rel="icon", href=static_url("icon.svg"), type="image/svg+xml"),
        tag("link", rel="stylesheet", href=static_url("hub.css")),
        tag("script", src=static_url("hub.js")),
    )
    return Markup("<!doctype html>") + tag("html", head, tag("body", *content), lang="en")  # type: ignore[return-value]


def sign_in(message: str) -> Markup:
    """Return the page that asks for a token."""
    form = tag(
        "form",
        tag("label", "Token", for_="token"),
        tag("input", type="password", id="token", name="token", autocomplete="current-password", autofocus=True),
        tag("button", "Sign in"),
        method="post", action="/sign-in",
    )  # fmt: skip
    note = tag("p", "A token is made on the server with ", tag("code", "yolo hub token create NAME"), ".", class_="dim")
    wrong = tag("p", message, class_="wrong", role="alert") if message else None
    mark = tag("p", tag("i"), tag("b", "yolocore"), " hub", class_="brand")
    return _html("Sign in", tag("main", mark, wrong, form, note, class_="sign-in"))


def problem(status: int, message: str) -> Markup:
    """Return a page that says what went wrong."""
    back = tag("p", tag("a", "All projects", href="/"))
    return _html(str(status), tag("main", tag("h1", status), tag("p", message), back, class_="sign-in"))


# lists ---------------------------------------------------------------------------------------------------------


def projects(groups: Sequence[tuple[str, int, Sequence[Overview]]], address: str) -> Body:
    """Return the first page: each project with its newest runs."""
    if not groups:
        return Body(_welcome(address), seconds=5)
    sections = []
    for name, count, runs in groups:
        title = tag("h2", tag("a", name, href=project_url(name)), " ", tag("span", _count(count, "run"), class_="dim"))
        more = tag("p", tag("a", f"All {count} runs", href=project_url(name))) if count > len(runs) else None
        sections.append(tag("section", title, _table(runs), more))
    return Body(join(sections), seconds=5)


def _welcome(address: str) -> Markup:
    steps = f"yolo settings api_key=YOUR_TOKEN\nyolo train model=yolo11n.yaml data=data.yaml hub.address={address}"
    return tag(
        "section",
        tag("p", "Nothing is recorded here yet. On the machine that trains:"),
        tag("pre", steps),
        tag("p", "The run appears on this page as soon as it begins.", class_="dim"),
        class_="card",
    )


def project(runs: Sequence[Overview], count: int) -> Body:
    """Return the page of a project: how the newest runs compare, and the list; ``count`` runs there are in all."""
    curves = [Series(run.model.name, _course(run)) for run in runs[:COMPARED] if run.course]
    chart = Chart(_label(runs, "score"), curves, starts_at_zero=True, width=1120, height=260)
    compared = tag("div", render(chart), class_="wide") if curves else None
    older = tag("p", f"The newest {len(runs)} of {count} runs.", class_="dim small") if count > len(runs) else None
    return Body(join((compared, tag("section", _table(runs), older))), seconds=5)


def _label(runs: Iterable[Overview], instead: str) -> str:
    return next((run.score.removeprefix("metrics/").removesuffix("(B)") for run in runs if run.score), instead)


def _course(run: Overview) -> list[tuple[int, float]]:
    return [(epoch + 1, value) for epoch, value in run.course if value is not None]


def _table(runs: Sequence[Overview]) -> Markup:
    titles = ("Run", "Epochs", f"Best {_label(runs, 'score')}", "", "Started")
    head = tag("tr", *(tag("th", text, class_="number" if index == 2 else None) for index, text in enumerate(titles)))
    return tag(
        "div", tag("table", tag("thead", head), tag("tbody", *map(_row, runs)), class_="runs"), class_="card scroll"
    )


def _row(run: Overview) -> Markup:
    model = run.model
    link = tag("a", model.name, href=f"/models/{model.id}", title=model.name)
    state = tag("span", model.state, class_="word") if model.state != "finished" else None
    best = tag("b", f"{run.best:.3f}") if run.best is not None else tag("span", NOTHING, class_="dim")
    return tag(
        "tr",
        tag("td", tag("span", _dot(model.state), link, state, class_="name")),
        tag("td", _progress(model, run.last_epoch)),
        tag("td", best, class_="number"),
        tag("td", spark(_course(run))),
        tag("td", _moment(model.created)),
    )


def _dot(state: str) -> Markup:
    return tag("i", tag("span", state, class_="unseen"), class_=f"dot {state}", title=state)


def _progress(model: Model, last: int | None) -> Markup:
    done = 0 if last is None else last + 1
    planned = model.epochs
    bar = tag("progress", value=done, max=planned, aria_label="epochs done") if planned else None
    return tag("span", bar, tag("span", f"{done} of {planned}" if planned else str(done)), class_="progress")


# one run -------------------------------------------------------------------------------------------------------


def run(model: Model, metrics: Mapping[int, Mapping[str, float | None]], stored: Sequence[StoredFile]) -> Body:
    """Return the page of a run."""
    parts = [_summary(model, metrics), _tiles(model, metrics)]
    figures = [render(chart) for chart in charts_of(metrics)]
    if figures:
        parts.append(tag("section", tag("h2", "Curves"), tag("div", *figures, class_="charts")))
    else:
        parts.append(tag("section", tag("p", "The first numbers arrive at the end of the first epoch."), class_="card"))
    checkpoints = [file for kind in WEIGHTS for file in stored if file.kind == kind]
    if checkpoints:
        parts.append(_checkpoints(model, checkpoints))
    pictures = sorted((file for file in stored if file.kind == "image"), key=_picture_order)
    if pictures:
        shown = (_picture(model, file) for file in pictures)
        parts.append(tag("section", tag("h2", "Pictures"), tag("div", *shown, class_="pictures")))
    return Body(join(parts), _arguments(model), seconds=3 if model.state in MOVING else 0)


def _summary(model: Model, metrics: Mapping[int, Any]) -> Markup:
    state = tag("span", _dot(model.state), model.state, class_=f"state {model.state}")
    parts = [state, _progress(model, max(metrics, default=None)), tag("span", "started ", _moment(model.created))]
    if model.state in MOVING:
        parts.append(tag("span", "last heard of ", _moment(model.seen)))
    else:
        parts.append(tag("span", "took ", _duration(model.seen - model.created)))
    facts = metrics.get(0, {})
    if facts.get("model/parameters"):
        parts.append(tag("span", f"{facts['model/parameters'] / 1e6:.2f} M parameters"))
    if facts.get("model/GFLOPs"):
        parts.append(tag("span", f"{short(facts['model/GFLOPs'])} GFLOPs"))
    return tag("p", *parts, class_="summary")


def _tiles(model: Model, metrics: Mapping[int, Mapping[str, float | None]]) -> Markup:
    """Return the scores as tiles: of the best weights when the run is over, else of the best epoch so far."""
    numbers, caption = dict(model.final), "best weights, final evaluation"
    if not numbers and metrics:
        best = max(metrics, key=lambda epoch: _fitness(metrics[epoch]))
        numbers, caption = dict(metrics[best]), f"best epoch so far: {best + 1}"
    tiles = []
    for stem, title in TILES:
        found = next((v for k, v in numbers.items() if k.split("(")[0] == f"metrics/{stem}" and v is not None), None)
        if found is not None:
            tiles.append(tag("div", tag("span", title), tag("b", f"{found:.3f}"), class_="tile"))
    if not tiles:
        return EMPTY
    return tag("section", tag("div", *tiles, class_="tiles"), tag("p", caption, class_="dim small"))


def _fitness(values: Mapping[str, float | None]) -> float:
    found = [v for k, v in values.items() if "mAP50-95" in k or "accuracy" in k]
    return max((value for value in found if value is not None), default=-1.0)


def _checkpoints(model: Model, stored: Sequence[StoredFile]) -> Markup:
    rows = []
    for file in stored:
        url = f"/v1/models/{model.id}/checkpoints/{file.kind}"
        rows.append(
            tag(
                "tr",
                tag("td", tag("b", f"{file.kind}.pt"), tag("div", WEIGHTS[file.kind], class_="dim small")),
                tag("td", f"{'after' if file.kind == 'final' else ''} epoch {file.epoch + 1}".strip()),
                tag("td", _size(file.size), class_="number"),
                tag("td", tag("code", file.sha256[:16], title=f"SHA-256 {file.sha256}"), class_="hash"),
                tag("td", tag("a", "Download", href=url, class_="button", download=True), class_="number"),
            )
        )
    table = tag("table", tag("tbody", *rows))
    return tag("section", tag("h2", "Checkpoints"), tag("div", table, class_="card scroll"))


def _picture_order(file: StoredFile) -> tuple[int, str]:
    place = next((i for i, word in enumerate(PICTURE_ORDER) if file.name.startswith(word)), len(PICTURE_ORDER))
    return place, file.name


def _picture(model: Model, file: StoredFile) -> Markup:
    url = f"/v1/models/{model.id}/images/{quote(file.name, safe='')}?v={file.sha256[:12]}"
    picture = tag("img", src=url, alt=file.name, loading="lazy")
    return tag("a", picture, tag("span", file.name), href=url)


def _arguments(model: Model) -> Markup:
    values = {**model.config, **model.args} if model.args else dict(model.config)
    if not values:
        return EMPTY
    rows = (tag("div", tag("dt", key), tag("dd", _shown(value))) for key, value in sorted(values.items()))
    summary = tag("summary", "Arguments ", tag("span", str(len(values)), class_="dim"))
    return tag("details", summary, tag("dl", *rows), class_="card")


def _shown(value: object) -> str:
    if value is None or value == "":
        return NOTHING
    return str(value)[:400]


# words ---------------------------------------------------------------------------------------------------------


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _moment(seconds: float) -> Markup:
    moment = datetime.fromtimestamp(seconds, UTC)
    return tag("time", f"{moment:%Y-%m-%d %H:%M} UTC", datetime=f"{moment:%Y-%m-%dT%H:%M:%SZ}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _size(size: int) -> str:
    value, units = float(size), ["bytes", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{size} bytes" if units[0] == "bytes" else f"{value:.1f} {units[0]}"
