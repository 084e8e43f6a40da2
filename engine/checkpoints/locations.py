"""Where weights are: a path, a URL, or a name that torchvision knows; and the file, once here."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import uuid
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch

from ..errors import StateError, nearest

__all__ = ["fetched"]

_NAMED = re.compile(r"-([0-9a-f]{8,64})\.[^.]+$")  # torch.hub's way to say the digest in a name
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})", re.IGNORECASE)
_SILENCE = 30.0  # seconds in which a server must say something
_CHUNK = 1 << 20


def fetched(
    location: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    digest: str | None = None,
    progress: bool = False,
) -> Path:
    """The file or folder at a location, downloaded if it is not here yet.

    A download appears in the cache whole or not at all, and is not repeated. Its digest is
    checked: the one given, or the one that its name ends in, by torch.hub's convention
    ``<name>-<first 8 or more hexadecimal digits of its SHA-256>.pth``.

    Args:
        location: a path, in which ``~`` is the home folder; ``http://…`` or ``https://…``;
            ``torchvision://resnet18.IMAGENET1K_V1``, and ``torchvision://resnet18`` for the first
            weights that torchvision lists for the model.
        cache: the folder for downloads; by default torch.hub's, as ``TORCH_HOME`` says.
        digest: the SHA-256 that the file must have, or its first 8 or more digits:
            ``"sha256:…"``.
        progress: whether a download shows a bar on stderr.

    Returns:
        the path of the file; a local path is returned as it is.

    Raises:
        FileNotFoundError: if a local path does not exist.
        StateError: if the digest differs.
        OSError: if a download fails, naming the place where the file could be put by hand.
        ImportError: for ``torchvision://`` without torchvision.
        ValueError: for another scheme, a name that torchvision does not know, and a digest that
            is none.

    Example:
        >>> import hashlib, tempfile
        >>> file = Path(tempfile.mkdtemp()) / "weights.pth"
        >>> _ = file.write_bytes(b"weights")
        >>> fetched(file, digest=hashlib.sha256(b"weights").hexdigest()) == file
        True
    """
    place, wanted = os.fspath(location), None if digest is None else _checked(digest)
    scheme, divider, rest = place.partition("://")
    if not divider:
        return _local(Path(place).expanduser(), wanted)
    if scheme == "torchvision":
        place = _torchvision_url(rest)
    elif scheme not in ("http", "https"):
        raise ValueError(
            f"{place!r} can't be fetched: a location is a path, http://…, https://… or "
            f"torchvision://…, and what lies elsewhere has to be copied to a path before."
        )
    folder = Path(cache).expanduser() if cache is not None else _default_cache()
    return _cached(place, folder, wanted, progress)


def _checked(digest: str) -> str:
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise ValueError(
            f"a digest is 'sha256:' and the first 8 to 64 hexadecimal digits, given {digest!r}."
        )
    return found[1].lower()


def _local(path: Path, wanted: str | None) -> Path:
    if not path.exists():
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f"there is no {path}.{nearest(path.name, beside)}")
    if wanted is not None:
        if path.is_dir():
            raise ValueError(f"{path} is a folder; a digest is that of a file.")
        if not (found := _digest(path)).startswith(wanted):
            raise StateError(f"{path} has the SHA-256 {found}, and {wanted}… is asked for.")
    return path


def _default_cache() -> Path:
    return Path(torch.hub.get_dir()).expanduser() / "checkpoints"


def _cached(url: str, folder: Path, wanted: str | None, progress: bool) -> Path:
    name = PurePosixPath(urlsplit(url).path).name.strip(".") or "weights"
    named = _NAMED.search(name)
    if wanted is None and named:
        wanted = named[1]
    if named and wanted and wanted.startswith(named[1]):
        path = folder / name  # the same wherever it is from; torch.hub and torchvision look here
    else:
        path = folder / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    if not path.is_file() or (wanted and not _digest(path).startswith(wanted)):
        _download(url, path, wanted, progress)
    return path


def _download(url: str, path: Path, wanted: str | None, progress: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        found = _receive(url, part, progress)
        if wanted is not None and not found.startswith(wanted):
            raise StateError(
                f"{url} has the SHA-256 {found}, and {wanted}… was expected, so it is not kept. "
                f"If that is the file you want, give digest='sha256:{found}'."
            )
        part.replace(path)
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise OSError(
            f"{url} could not be fetched: {error}. Without a connection, put the file at {path}."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, part: Path, progress: bool) -> str:
    """Write what a URL gives to a file, durably; return its digest."""
    from rich.console import Console
    from rich.progress import Progress

    request = Request(url, headers={"User-Agent": "footplate"})
    bars = Progress(console=Console(file=sys.stderr), disable=not progress)
    digest, size = hashlib.sha256(), 0
    with urlopen(request, timeout=_SILENCE) as response, part.open("xb") as file, bars:
        said = response.headers.get("Content-Length")
        length = int(said) if said is not None else None
        bar = bars.add_task(part.name.split(".")[1], total=length)
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            bars.update(bar, completed=size)
        if length is not None and size != length:  # read() takes a lost connection for the end
            raise OSError(f"the connection ended at {size} of {length} bytes")
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _torchvision_url(name: str) -> str:
    try:
        from torchvision.models import get_model_weights, list_models
    except (ImportError, RuntimeError) as error:  # the latter of a build for another torch
        raise ImportError(
            f"'torchvision://{name}' needs torchvision, which knows where the file is: "
            f"pip install 'footplate[torchvision]', in the build that fits the installed torch. "
            f"Importing it gave: {error}"
        ) from error
    model, _, weights = name.partition(".")
    if model not in (models := list_models()):
        raise ValueError(f"torchvision has no model {model!r}.{nearest(model, models)}")
    known = get_model_weights(model).__members__
    if weights and weights not in known:
        raise ValueError(
            f"torchvision has no weights {weights!r} for {model!r}, but {', '.join(known)}."
            f"{nearest(weights, known)}"
        )
    url: str = known[weights or next(iter(known))].url
    return url
