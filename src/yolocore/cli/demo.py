"""``yolo demo``: the main job on the built-in dataset, from nothing to an exported model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

EPOCHS = 45
IMGSZ = 160


def demo(
    folder: Annotated[Path, typer.Option(help="Where the run goes.")] = Path("demo"),
    epochs: Annotated[int, typer.Option(help="Passes over the 64 training pictures.")] = EPOCHS,
) -> None:
    """Train, validate, predict and export on the built-in shapes; a few minutes on a laptop's CPU."""
    from yolocore import YOLO
    from yolocore.data.shapes import ensure_shapes

    started = time.monotonic()
    data = ensure_shapes("detect")
    model = YOLO("yolo11n.yaml")
    model.train(
        data="shapes.yaml",
        imgsz=IMGSZ,
        epochs=epochs,
        batch=8,
        nbs=8,
        workers=0,
        close_mosaic=4,
        device="cpu",
        plots=True,
        project=str(folder),
        name="train",
    )
    assert model.trainer is not None
    best = model.trainer.best
    metrics = YOLO(best).val(data="shapes.yaml", imgsz=IMGSZ, plots=True, project=str(folder), name="val")
    pictures = sorted((data.parent / "images" / "val").iterdir())[:4]
    results = list(YOLO(best).predict(pictures, imgsz=IMGSZ, save=True, project=str(folder), name="predict"))
    exported = YOLO(best).export(format="onnx", imgsz=IMGSZ)
    again = list(YOLO(exported).predict(pictures[0], imgsz=IMGSZ))

    table = Table(title=f"yolo demo: {time.monotonic() - started:.0f} s", show_header=False, title_justify="left")
    table.add_row("dataset", str(data))
    table.add_row("run", str(model.trainer.save_dir))
    table.add_row("best weights", str(best))
    table.add_row("validation", f"mAP50 {metrics.box.map50:.3f}, mAP50-95 {metrics.box.map:.3f}")
    table.add_row("predictions", f"{results[0].save_dir} ({sum(len(r) for r in results)} objects in 4 pictures)")
    table.add_row("ONNX", f"{exported} ({len(again[0])} objects in the first picture)")
    Console(width=100).print(table)
