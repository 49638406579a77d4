"""From a model file to modules. Names are looked up in tables; nothing in a file is ever evaluated."""

from __future__ import annotations

import inspect
import logging
import math
import re
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from torch import nn

from yolocore.errors import MissingFileError, ModelError, closest, did_you_mean
from yolocore.nn import modules
from yolocore.nn.modules import Conv, Row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

logger = logging.getLogger(__name__)

LAYERS: Mapping[str, type] = MappingProxyType(
    {
        "A2C2f": modules.A2C2f,
        "Bottleneck": modules.Bottleneck,
        "C2PSA": modules.C2PSA,
        "C2f": modules.C2f,
        "C2fCIB": modules.C2fCIB,
        "C3": modules.C3,
        "C3k": modules.C3k,
        "C3k2": modules.C3k2,
        "CIB": modules.CIB,
        "Classify": modules.Classify,
        "Concat": modules.Concat,
        "Conv": modules.Conv,
        "DWConv": modules.DWConv,
        "Detect": modules.Detect,
        "OBB": modules.OBB,
        "PSA": modules.PSA,
        "Pose": modules.Pose,
        "SCDown": modules.SCDown,
        "SPPF": modules.SPPF,
        "Segment": modules.Segment,
        "nn.Identity": modules.Identity,
        "nn.MaxPool2d": modules.MaxPool2d,
        "nn.Upsample": modules.Upsample,
        "v10Detect": modules.V10Detect,
    }
)
ACTIVATIONS: Mapping[str, type[nn.Module]] = MappingProxyType(
    {
        layer.__name__: layer
        for layer in (
            *(nn.SiLU, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.Mish),
            *(nn.ELU, nn.CELU, nn.GELU, nn.SELU, nn.PReLU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Identity),
        )
    }
)
REQUIRED_KEYS = ("backbone", "head")
KEYS = frozenset(
    {
        *REQUIRED_KEYS,
        *("nc", "scales", "scale", "kpt_shape", "reg_max", "end2end", "activation", "depth_multiple", "width_multiple"),
        *("yaml_file", "ch", "channels", "names", "task", "inplace", "strides"),
    }
)
NOT_OPTIONS = frozenset({*REQUIRED_KEYS, "scales"})
MAX_REPEATS = 1000
MAX_FILE_BYTES = 1_000_000
_SCALED_NAME = re.compile(r"(yolov?\d+)([nsmblx])(?=$|[-_.])")
_ACTIVATION = re.compile(r"(?:torch\.)?(?:nn\.)?(\w+)(?:\(([^()]*)\))?")


class BuiltinModules:
    """The plugin that registers the layers of this package."""

    def register_modules(self, register: Any) -> None:
        """Name every layer that a model file may use."""
        for name, layer in LAYERS.items():
            register.register(name, layer)


# ---------------------------------------------------------------------------------------------------------- reading


def packaged_models() -> list[str]:
    """Return the names of the model files that come with this package."""
    return sorted(f.name for f in _packaged().iterdir() if f.name.endswith(".yaml"))


def split_scale(name: str) -> tuple[str, str]:
    """Return the file name without its scale letter, and the letter: ``yolo11n-seg.yaml`` -> ``yolo11-seg.yaml``, n."""
    match = _SCALED_NAME.search(name)
    if match is None:
        return name, ""
    return name[: match.start(2)] + name[match.end(2) :], match.group(2)


def load_model_yaml(name: str | Path) -> dict[str, Any]:
    """Read a model file and note the scale that its name asks for.

    Args:
        name: a path, or the name of a packaged file. ``yolo11n.yaml`` reads ``yolo11.yaml`` unless a file of exactly
            that name exists.

    Returns:
        The content, with ``scale`` (a letter or "") and ``yaml_file`` added.

    Raises:
        MissingFileError: there is no such file.
        ModelError: the file is empty, no mapping, not YAML, or too large.
    """
    path = Path(name)
    unscaled, letter = split_scale(path.name)
    source = _find(path, unscaled)
    if isinstance(source, Path) and source.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{source}: larger than {MAX_FILE_BYTES} bytes; this is no model file.")
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ModelError(f"{name}: not a UTF-8 text file ({error.reason} at byte {error.start}).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ModelError(f"{name}{where}: {getattr(error, 'problem', None) or 'not valid YAML'}.") from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ModelError(f"{name}: the file {found}; a mapping with the keys nc, backbone and head is needed.")
    return {**content, "scale": letter or content.get("scale", ""), "yaml_file": str(name)}


def _packaged() -> Traversable:
    """Return the folder of the packaged model files."""
    return files("yolocore.nn").joinpath("models")


def _find(path: Path, unscaled: str) -> Path | Traversable:
    """Return the file for ``path``: itself, the one without the scale letter beside it, or a packaged one."""
    candidates: list[Path | Traversable] = [path, path.with_name(unscaled)]
    if path.parent == Path():
        candidates += [_packaged().joinpath(path.name), _packaged().joinpath(unscaled)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    known = packaged_models()
    raise MissingFileError(
        f"model file '{path}' not found; looked for {', '.join(dict.fromkeys(map(str, candidates[:2])))} in {Path.cwd()} "
        f"and among the packaged {', '.join(known)} (with a scale letter after the number)."
        f"{did_you_mean(unscaled, known)}"
    )


# --------------------------------------------------------------------------------------------------------- building


def parse_model(
    description: Mapping[str, Any], ch: int = 3, registry: Mapping[str, Any] | None = None
) -> tuple[nn.Sequential, list[int]]:
    """Build the layers of a model file.

    Args:
        description: content of the file; ``scale`` picks an entry of ``scales``, the first without it.
        ch: channels of the input image.
        registry: name -> layer with a ``from_yaml`` as in :class:`yolocore.nn.modules.ScaledLayer`, or a function
            like it; None for the built-in ones.

    Returns:
        The layers, each with ``i`` (index), ``f`` (inputs), ``type`` and ``np`` (parameters), and the indices whose
        outputs other layers need.

    Raises:
        ModelError: the description is wrong; the text names the layer and what would work.
    """
    registry = LAYERS if registry is None else registry
    check_description(description)
    scale, depth, width, max_channels = _scaling(description)
    options = {k: v for k, v in description.items() if k not in NOT_OPTIONS}
    rows = [_columns(i, row) for i, row in enumerate([*description["backbone"], *description["head"]])]
    names = frozenset(row[2] for row in rows)
    layers: list[nn.Module] = []
    channels: list[int] = []
    save: set[int] = set()
    for i, (source, repeats, name, args) in enumerate(rows):
        n = max(round(repeats * depth), 1) if repeats > 1 else repeats
        row = Row(i, name, n, scale, width, max_channels, options, names)
        inputs = _inputs(row, source)
        channels_in = [channels[j] if j >= 0 else channels[-1] if channels else ch for j in inputs]
        layer, c_out = _build(registry, channels_in, [_resolve(a, options) for a in args], row)
        _annotate(layer, i, inputs if isinstance(source, list) else inputs[0], name)
        save.update(j for j in inputs if j >= 0)
        layers.append(layer)
        channels.append(c_out)
    model = nn.Sequential(*layers)
    _activate(model, description.get("activation"))
    return model, sorted(save)


def head_task(description: Mapping[str, Any], registry: Mapping[str, Any] | None = None) -> str | None:
    """Return the task of the last layer of a model file, None when that layer does not state one."""
    registry = LAYERS if registry is None else registry
    try:
        return getattr(registry[description["head"][-1][2]], "task", None)
    except (LookupError, TypeError):
        return None


def check_description(description: Mapping[str, Any]) -> None:
    """Refuse a description without layers or with a misspelt key; warn of keys that mean nothing here.

    Raises:
        ModelError: see above.
    """
    for key in description:
        if key in KEYS:
            continue
        if closest(str(key), KEYS):
            raise ModelError(f"model file: unknown key {key!r}.{did_you_mean(str(key), KEYS)}")
        logger.warning("model file: the key %r is not known and not used", key)
    for key in REQUIRED_KEYS:
        rows = description.get(key)
        if not isinstance(rows, list) or not rows:
            raise ModelError(
                f"model file: '{key}' is {rows!r}; a list of rows [from, repeats, layer, arguments] is needed, "
                "such as - [-1, 1, Conv, [64, 3, 2]]."
            )


def _scaling(description: Mapping[str, Any]) -> tuple[str, float, float, float]:
    """Return scale letter, depth, width and the bound on channels."""
    scales = description.get("scales")
    if not scales:
        depth, width = description.get("depth_multiple", 1.0), description.get("width_multiple", 1.0)
        return str(description.get("scale") or ""), float(depth), float(width), math.inf
    scale = description.get("scale")
    if not scale:
        scale = next(iter(scales))
        logger.warning("no scale in the model's name: %r, the first of %s, is used", scale, ", ".join(scales))
    if scale not in scales:
        raise ModelError(f"model file: scale {scale!r} is not among its scales {', '.join(map(str, scales))}.")
    values = scales[scale]
    if not isinstance(values, list) or len(values) != 3 or not all(_is_positive(v) for v in values):
        raise ModelError(
            f"model file: scale {scale!r} is {values!r}; three positive numbers [depth, width, max_channels] are "
            "needed, such as [0.50, 0.25, 1024]."
        )
    return str(scale), *values


def _is_positive(value: object) -> bool:
    """Tell whether ``value`` is a positive finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _columns(index: int, row: object) -> tuple[int | list[int], int, str, list[Any]]:
    """Check the form of one row and return its four columns."""
    expected = "expected [from, repeats, layer, arguments], such as [-1, 1, Conv, [64, 3, 2]]"
    if not isinstance(row, list | tuple) or len(row) != 4:
        raise ModelError(f"layer {index}: {row!r}; {expected}.")
    source, repeats, name, args = row
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources or not all(isinstance(s, int) and not isinstance(s, bool) for s in sources):
        raise ModelError(f"layer {index} ({name}): 'from' is {source!r}; a layer index or a list of them is needed.")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or not 1 <= repeats <= MAX_REPEATS:
        raise ModelError(f"layer {index} ({name}): repeats is {repeats!r}; 1 to {MAX_REPEATS} are allowed.")
    if not isinstance(name, str) or not isinstance(args, list | tuple):
        raise ModelError(f"layer {index}: {row!r}; {expected}.")
    return (list(source) if isinstance(source, list | tuple) else source), repeats, name, list(args)


def _inputs(row: Row, source: int | list[int]) -> list[int]:
    """Return the layers that feed this one: absolute indices, -1 for the previous one."""
    sources = source if isinstance(source, list) else [source]
    for s in sources:
        if s >= row.index or (s < -row.index and s != -1):
            allowed = f"-{row.index} to {row.index - 1}" if row.index else "-1, the image,"
            raise row.error(f"'from' is {s}, out of range; {allowed} is possible here.")
    return [s if s >= -1 else row.index + s for s in sources]


def _resolve(value: object, options: Mapping[str, Any]) -> Any:
    """Return the value that an argument names: ``None``, or another top-level key of the file."""
    if value == "None":
        return None
    return options[value] if isinstance(value, str) and value in options else value


def _build(registry: Mapping[str, Any], channels_in: list[int], args: list[Any], row: Row) -> tuple[nn.Module, int]:
    """Build one layer, repeated in a sequence unless it repeats itself."""
    if row.name not in registry:
        known = ", ".join(sorted(registry))
        raise row.error(f"there is no such layer.{did_you_mean(row.name, registry)} Known are {known}.")
    layer = registry[row.name]
    build = layer if inspect.isfunction(layer) else getattr(layer, "from_yaml", None)
    if build is None:
        raise row.error("the layer has no classmethod from_yaml(channels_in, args, row) -> (module, channels_out).")
    times = 1 if getattr(layer, "takes_repeats", False) else row.repeats
    built: list[nn.Module] = []
    for _ in range(times):
        try:
            module, c_out = build(channels_in, args, row)
        except ModelError:
            raise
        except (TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError) as error:
            signature = inspect.signature(layer) if inspect.isclass(layer) else ""
            raise row.error(f"arguments {args} do not fit {row.name}{signature}: {error}") from error
        built.append(module)
        channels_in = [c_out]
    return (built[0] if times == 1 else nn.Sequential(*built)), c_out


def _annotate(layer: Any, index: int, inputs: int | list[int], name: str) -> None:
    """Note on the layer where it stands in the network."""
    layer.i, layer.f, layer.type = index, inputs, name
    layer.np = sum(p.numel() for p in layer.parameters())


def _activate(model: nn.Module, wanted: str | None) -> None:
    """Replace every default activation by the one that the file names."""
    if wanted is None:
        return
    match = _ACTIVATION.fullmatch(wanted.strip()) if isinstance(wanted, str) else None
    if match is None or match[1] not in ACTIVATIONS:
        raise ModelError(
            f"model file: activation {wanted!r} is not known.{did_you_mean(str(wanted), ACTIVATIONS)} "
            f"Accepted are {', '.join(ACTIVATIONS)}, with numbers in brackets if need be: LeakyReLU(0.1)."
        )
    try:
        numbers = [float(part) for part in (match[2] or "").split(",") if part.strip()]
    except ValueError as error:
        raise ModelError(f"model file: activation {wanted!r}: only numbers may stand in the brackets.") from error
    for module in model.modules():
        if isinstance(module, Conv) and module.default_act:
            activation: Any = ACTIVATIONS[match[1]](*numbers)
            if hasattr(activation, "inplace"):
                activation.inplace = True
            module.act = activation
