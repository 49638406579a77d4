"""Arguments of every mode: what to run, on what, and where the results go."""

from __future__ import annotations

from typing import Any, Literal

from yolocore.config.fields import MODES, Arguments, Batch, Device, ImageSize, LabelText, PathText, arg

Mode = Literal["train", "val", "predict", "track", "export", "benchmark"]


class CommonArguments(Arguments):
    """General."""

    task: str = arg(
        "detect",
        "What the network predicts; normally read from the model. Plugins may add tasks.",
        modes="all",
        bounds="'detect', 'segment', 'classify', 'pose', 'obb', or a plugin's task",
    )
    mode: Mode = arg("train", f"What to do: {', '.join(MODES)}.", modes="all")
    model: PathText | None = arg(
        None,
        "The network: a .yaml starts from random weights, a .pt brings its weights; val, predict, track and "
        "benchmark also open exported files.",
        modes="all",
        example="yolo11n.pt",
    )
    data: PathText | None = arg(
        None,
        "The dataset: a YAML description, or for classification a folder of class folders.",
        modes="TVEB",
        example="coco8.yaml",
    )
    imgsz: ImageSize = arg(
        640,
        "Size of the network's input in pixels, rounded up to a multiple of the model's largest stride. "
        "Training and validation are square; the other modes take (height, width) as well.",
        modes="all",
        bounds=">= 32",
    )
    batch: Batch = arg(
        16,
        "Images per step over all devices; -1 fills about 60 % of the GPU memory, a fraction that share.",
        modes="TVEB",
        bounds=">= 1, -1, or between 0 and 1",
    )
    device: Device = arg(
        None,
        "Where to compute: 'cpu', 'mps', a GPU number, or several to train on; -1 is the most idle GPU.",
        modes="all",
        bounds="'cpu', 'mps', 'cuda:1', 0, -1, '0,1' or [0, 1]",
        example="cpu",
    )
    workers: int = arg(
        8, "Processes per device that load and augment images; 0 loads in the main one.", modes="TV", ge=0
    )
    project: LabelText | None = arg(
        None,
        "Folder that holds the run directories; by default one per task below the setting runs_dir.",
        modes="TVPK",
        example="runs/experiments",
    )
    name: LabelText | None = arg(
        None,
        "Name of the run directory; by default the mode. A taken name gets a number: train, train2, train3.",
        modes="TVPKE",
        example="baseline",
    )
    exist_ok: bool = arg(False, "Write into an existing run directory instead of numbering a new one.", modes="TVPK")
    save: bool = arg(
        True,
        "Train: write checkpoints. Predict and track: write the annotated images and videos.",
        modes="TPK",
    )
    verbose: bool = arg(False, "Say more: layer table, per-class metrics, a line per image.", modes="all")
    plots: bool = arg(False, "Draw figures: curves, confusion matrix, sample batches.", modes="TV")
    half: bool | None = arg(
        None,
        "Compute or export in 16-bit floats; None: on for train and val where the device can, else off.",
        modes="VPKEB",
        example=True,
    )
    cfg: PathText | None = arg(
        None, "A YAML file of arguments; keys given directly win over it.", modes="all", example="my.yaml"
    )


class HouseArguments(Arguments):
    """Plugins and policies."""

    channels_last: bool | None = arg(
        None,
        "Memory format of images and weights; None chooses what is fast on the device.",
        modes="all",
        example=True,
    )
    strict: bool = arg(
        False,
        "Treat every fault of a dataset (a bad label row, an unreadable image) as an error.",
        modes="TV",
    )
    plugins: str | None = arg(
        None,
        "Plugins of this run, a comma list: 'wandb' runs only that one, '-wandb' all but that one, 'none' no one.",
        modes="all",
        example="wandb,-clearml",
        none_is_text=True,
    )
    plugin_errors: Literal["isolate", "raise"] = arg(
        "isolate", "What an exception in a plugin does: switch the plugin off, or stop the run.", modes="all"
    )
    plugin_args: dict[str, dict[str, Any]] = arg(
        {},
        "Arguments of plugins, a mapping for each; usually given as dotted keys such as wandb.project=x.",
        modes="all",
        example={"wandb": {"project": "demo"}},
    )
    save_dir: PathText | None = arg(
        None,
        "The run directory itself, used as it is; set, it overrides project, name and exist_ok.",
        modes="all",
        example="runs/here",
    )
