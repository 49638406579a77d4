"""What arguments mean for each other: contradictions are errors, consequences are drawn and said."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from yolocore.errors import ConfigError

if TYPE_CHECKING:
    from yolocore.config.schema import Config

LOGGER = logging.getLogger(__name__)
KERAS_FORMATS: Final = ("saved_model", "tensorflow", "tf")


def settle(config: Config) -> Config:
    """Return ``config`` with consequences drawn; values that follow from others do not become explicit.

    Raises:
        ConfigError: two arguments contradict each other.
    """
    config = _unify_precision(config)
    check_contradictions(config)
    changes: dict[str, Any] = {}
    if config.mode == "train" and config.rect and config.mosaic > 0:
        LOGGER.info("rect=True keeps images whole, so mosaic is set to 0")
        changes["mosaic"] = 0.0
    if config.mode in {"train", "val"} and isinstance(config.imgsz, tuple):
        changes["imgsz"] = max(config.imgsz)
        LOGGER.warning("imgsz=%s: %s is square; taking %d", config.imgsz, config.mode, changes["imgsz"])
    if config.time is not None and {"time", "epochs"} <= config.explicit:
        LOGGER.info("time=%g hours replaces epochs=%d", config.time, config.epochs)
    if config.save_conf and not config.save_txt:
        LOGGER.warning("save_conf=True has no effect without save_txt=True")
    return config.replace(**changes) if changes else config


def check_contradictions(config: Config) -> None:
    """Refuse arguments that cannot hold together; to be called again once task and device are certain.

    Raises:
        ConfigError: names the arguments and what to change.
    """
    if config.int8 and config.half:
        raise ConfigError("int8=True and half=True contradict each other; choose one precision")
    if config.mode == "export":
        _check_export(config)
    if config.mode == "train":
        _check_devices(config)


def _check_export(config: Config) -> None:
    if config.keras and config.format not in KERAS_FORMATS:
        raise ConfigError(f"keras=True belongs to format='saved_model', not to format={config.format!r}")
    if config.optimize and any(_is_gpu(device) for device in device_list(config.device)):
        raise ConfigError(f"optimize=True works on the CPU only, and device={config.device!r}; use device='cpu'")
    if config.nms and config.task == "classify":
        raise ConfigError("nms=True makes no sense for task='classify', which has no boxes; leave nms out")


def _check_devices(config: Config) -> None:
    count = len(device_list(config.device))
    batch = config.batch
    if count < 2:
        return
    if not isinstance(batch, int) or batch < 1:
        raise ConfigError(
            f"batch={batch!r} (automatic) works with one device, and device={config.device!r} names {count}; "
            f"give a number, for example batch={16 * count}"
        )
    if batch % count:
        nearest = max(round(batch / count), 1) * count
        raise ConfigError(f"batch={batch} cannot be shared by {count} devices; the nearest multiple is batch={nearest}")


def device_list(device: int | str | list[int | str] | None) -> list[int | str]:
    """Return the devices that the argument ``device`` names, one item each; empty for None."""
    if isinstance(device, str):
        return [part.strip() for part in device.strip("[]() ").split(",") if part.strip()]
    if isinstance(device, list):
        return [part for item in device for part in device_list(item)]
    return [] if device is None else [device]


def _is_gpu(device: int | str) -> bool:
    return str(device).lstrip("-").isdigit() or str(device).startswith("cuda")


def _unify_precision(config: Config) -> Config:
    """Spell ``quantize`` out as ``half`` and ``int8``."""
    if config.quantize is None:
        return config
    wanted = {"half": config.quantize == 16, "int8": config.quantize == 8}
    for name, value in wanted.items():
        if name in config.explicit and bool(getattr(config, name)) != value:
            raise ConfigError(f"quantize={config.quantize} and {name}={getattr(config, name)} contradict each other")
    return config.replace(**wanted)
