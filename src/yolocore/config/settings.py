"""The user's settings: a mapping stored as JSON, read on first use, written only when a person changes it.

Precedence: environment (``YOLOCORE_<KEY>``) > ``yolocore.toml`` or ``settings.json`` in the working directory
> the user's file > default.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import platformdirs
from filelock import FileLock

from yolocore.config.settings_keys import LAYOUT_VERSION, SETTINGS, unknown_setting
from yolocore.errors import ConfigError, ConfigTypeError

LOGGER = logging.getLogger(__name__)
CONFIG_VARIABLE: Final = "YOLOCORE_CONFIG_DIR"
FILE_NAME: Final = "settings.json"
LOCK_SECONDS: Final = 30.0

_Stamp = tuple[int, int, int] | None


class SettingsManager(Mapping[str, Any]):
    """A mapping of the settings that persists what is assigned.

    Reading looks at environment, project file and user's file, so the changes of other processes are seen.
    Writing locks the user's file, merges into what is there now and replaces it in one step: concurrent
    writers lose nothing and a reader never sees half a file.

    Args:
        file: the user's file; by default in ``$YOLOCORE_CONFIG_DIR`` or the system's configuration folder.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = Path(file) if file is not None else config_dir() / FILE_NAME
        self._fresh = {"uuid": SETTINGS["uuid"].default()}  # as long as the file holds none
        self._user: tuple[_Stamp, dict[str, Any]] | None = None
        self._project: tuple[Path, _Stamp, dict[str, Any]] | None = None

    def __getitem__(self, key: str) -> Any:
        """Return the value that is in force.

        Raises:
            SettingsKeyError: there is no such setting.
            ConfigTypeError: the environment or the project file holds a value of the wrong type.
        """
        return self.lookup(key)[0]

    def lookup(self, key: str) -> tuple[Any, str]:
        """Return the value in force and where it comes from: environment, a file name, user or default."""
        if key not in SETTINGS:
            raise unknown_setting([key])
        variable = f"YOLOCORE_{key.upper()}"
        if variable in os.environ:
            return SETTINGS[key].parse(os.environ[variable], f" in {variable}"), "environment"
        path, project = self._project_values()
        if key in project:
            return project[key], path.name
        user = self._user_values()
        if key in user:
            return user[key], "user"
        return self._fresh[key] if key in self._fresh else SETTINGS[key].default(), "default"

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in documented order."""
        return iter(SETTINGS)

    def __len__(self) -> int:
        """Return the number of settings."""
        return len(SETTINGS)

    def __setitem__(self, key: str, value: Any) -> None:
        """Persist one setting; see :meth:`update`."""
        self.update({key: value})

    def update(self, values: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Check all values, then persist them together.

        Raises:
            SettingsKeyError: a setting does not exist; nothing is written.
            ConfigTypeError: a value has the wrong type; nothing is written.
        """
        changes = {**(values or {}), **more}
        unknown = [key for key in changes if key not in SETTINGS]
        if unknown:
            raise unknown_setting(unknown)
        checked = {key: SETTINGS[key].check(value) for key, value in changes.items()}
        with self._lock():
            known = self._load_or_put_aside()
            self._write({**self._fresh, **known, **checked, "settings_version": LAYOUT_VERSION})
        self._warn_hidden(checked)

    def reset(self) -> None:
        """Forget every change of the user's file; environment and project file keep their say."""
        self._fresh = {"uuid": SETTINGS["uuid"].default()}
        with self._lock():
            self._write({**self._fresh, "settings_version": LAYOUT_VERSION})

    def __repr__(self) -> str:
        """Return path and content, secrets hidden."""
        shown = {k: "***" if SETTINGS[k].is_secret and v else v for k, v in self.items()}
        return f"settings in {self.file}:\n{json.dumps(shown, indent=2)}"

    def _user_values(self) -> dict[str, Any]:
        stamp = _stamp(self.file)  # taken first, so that a change during the read is seen next time
        if self._user is None or self._user[0] != stamp:
            stored = self._load()
            if stored is None:
                stored = self._repair()
            self._user = (stamp, {k: v for k, v in stored.items() if k in SETTINGS and self._is_right(k, v)})
        return self._user[1]

    def _is_right(self, key: str, value: Any) -> bool:
        try:
            SETTINGS[key].check(value, f" in {self.file}")
        except (ConfigTypeError, ConfigError) as error:
            LOGGER.warning("%s; the default is used", error)
            return False
        return True

    def _load(self) -> dict[str, Any] | None:
        """Return what the file holds, keys of other versions included; None when it is damaged."""
        try:
            text = self.file.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            LOGGER.warning("%s: cannot be read (%s); default settings are used", self.file, error.strerror)
            return {}
        try:
            values = json.loads(text)
        except ValueError:
            return None
        return values if isinstance(values, dict) else None

    def _repair(self) -> dict[str, Any]:
        """Put a damaged file aside, unless another process has written a good one by now."""
        try:
            with self._lock():
                return self._load_or_put_aside()
        except OSError as error:
            LOGGER.warning("%s: not a JSON object, and cannot be put aside: %s", self.file, error)
            return {}

    def _load_or_put_aside(self) -> dict[str, Any]:
        values = self._load()
        if values is None:
            backup = self.file.with_name(f"{self.file.name}.bak")
            self.file.replace(backup)
            LOGGER.warning("%s: not a JSON object; kept as %s, default settings are used", self.file, backup.name)
        return values or {}

    def _write(self, values: Mapping[str, Any]) -> None:
        handle, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=self.file.parent)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(values, stream, indent=2)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).replace(self.file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _lock(self) -> FileLock:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.file}.lock", timeout=LOCK_SECONDS)

    def _project_values(self) -> tuple[Path, dict[str, Any]]:
        path = next((p for p in (Path("yolocore.toml"), Path(FILE_NAME)) if p.is_file()), Path())
        absolute = path.absolute()
        stamp = _stamp(absolute)
        if path == Path() or absolute == self.file.absolute():
            return path, {}
        if self._project is None or self._project[:2] != (absolute, stamp):
            self._project = (absolute, stamp, _read_project(path))
        return path, self._project[2]

    def _warn_hidden(self, changes: Mapping[str, Any]) -> None:
        for key in changes:
            source = self.lookup(key)[1]
            if source != "user":
                LOGGER.warning("setting %s is stored, but %s overrides it here", key, source)


def config_dir() -> Path:
    """Return the folder of the user's settings; nothing is created."""
    given = os.environ.get(CONFIG_VARIABLE)
    return Path(given).expanduser() if given else Path(platformdirs.user_config_dir("yolocore", appauthor=False))


def get_settings() -> SettingsManager:
    """Return the settings of this process: one object for each configuration folder."""
    return _settings_at(config_dir() / FILE_NAME)


@lru_cache(maxsize=8)
def _settings_at(file: Path) -> SettingsManager:
    return SettingsManager(file)


def _stamp(file: Path) -> _Stamp:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_project(path: Path) -> dict[str, Any]:
    """Return the settings of a project; a foreign ``settings.json`` contributes only what it happens to name.

    Raises:
        ConfigError: the file has a syntax error.
        SettingsKeyError: ``yolocore.toml`` names a setting that does not exist.
        ConfigTypeError: a value has the wrong type.
    """
    is_own = path.suffix == ".toml"
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = tomllib.loads(text) if is_own else json.loads(text)
    except ValueError as error:
        if is_own:
            raise ConfigError(f"{path}: {error}") from error
        return {}
    if is_own:
        values = values.get("settings", values)
        unknown = [key for key in values if key not in SETTINGS]
        if unknown:
            raise unknown_setting(unknown, f" in {path}")
    elif not isinstance(values, dict):
        return {}
    return {k: SETTINGS[k].check(v, f" in {path}") for k, v in values.items() if k in SETTINGS}
