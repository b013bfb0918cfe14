"""Fetch the weights that authors publish: with progress, going on where it stopped, checked.

Nothing is ever fetched unless the user asks for it by name.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pooch
import requests

from .._files import move_into_place, sha256_of
from ..errors import ModelError
from ..progress import Progress
from . import weights
from .weights import KnownModel

#: Overrides the address where files are: a folder on a server that has them by their own names.
MIRROR_VARIABLE = "ALPS_GEO_MODELS_URL"
_BLOCK = 1 << 18
_MIB = 1 << 20
#: Seconds to wait for a connection, and for the next bytes.
_TIMEOUT = (10.0, 60.0)
_TRIES = 3
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def download(model: KnownModel, progress: Progress) -> Path:
    """Fetch a model's weights into the folder of weights; a file that is there already stays.

    Parameters
    ----------
    model : KnownModel
    progress : Progress
        Is told of every MiB; what arrived stays when it raises `Cancelled`.

    Returns
    -------
    Path
        The file, whose checksum is right.

    Raises
    ------
    ModelError
        If the server cannot be reached, the file there is another, or the disk is full.
    """
    folder = weights.folder()
    target = folder / model.file
    if target.is_file() and sha256_of(target) == model.sha256:
        progress.message(f"{model.name} is installed already: {target}")
        return target
    _make_room(folder, model)
    progress.stage(f"download {model.name}")
    pooch.get_logger().setLevel("WARNING")
    fetcher = _Fetcher(model, folder / f"{model.file}.part", progress)
    try:
        pooch.retrieve(
            address_of(model), f"sha256:{model.sha256}", model.file, folder, downloader=fetcher
        )
    except ValueError as error:
        raise ModelError(
            f"what {address_of(model)} gave is not {model.file}: its checksum is wrong; check the"
            " address and the proxy, then download it again"
        ) from error
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def address_of(model: KnownModel) -> str:
    """Return where a model's file is fetched from: its authors, or the mirror that is set."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{model.file}" if mirror else model.url


def _make_room(folder: Path, model: KnownModel) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ModelError(
            f"the folder for weights, {folder}, cannot be made: {error.strerror};"
            f" set {weights.FOLDER_VARIABLE} to another"
        ) from error
    if free < model.size:
        raise ModelError(
            f"{model.name} needs {model.size / _MIB:.0f} MiB, but {folder} has"
            f" {free / _MIB:.0f} MiB free; set {weights.FOLDER_VARIABLE} to another folder"
        )


class _Fetcher:
    """A pooch downloader that keeps what arrived and goes on from there."""

    def __init__(self, model: KnownModel, part: Path, progress: Progress) -> None:
        self._model = model
        self._part = part
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch_: object) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                self._go_on(url)
                break
            except requests.RequestException as error:
                # A server that breaks off in the middle is asked again; one that says no is not.
                broke_off = isinstance(error, _BROKEN) and self._arrived > 0
                if attempt == _TRIES or not broke_off:
                    raise ModelError(self._explain(url, error)) from error
        move_into_place(self._part, output_file)

    @property
    def _arrived(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _go_on(self, url: str) -> None:
        start = self._arrived
        headers = {"Range": f"bytes={start}-"} if start else {}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                if start != self._model.size:
                    self._part.unlink()
                    self._go_on(url)
                return
            answer.raise_for_status()
            partial = answer.status_code == requests.codes.partial_content
            self._receive(answer, start if partial else 0)

    def _receive(self, answer: requests.Response, start: int) -> None:
        total = start + int(answer.headers.get("Content-Length", self._model.size - start))
        done = start
        with self._part.open("ab" if start else "wb") as file:
            for block in answer.iter_content(_BLOCK):
                file.write(block)
                done += len(block)
                self._progress.step(done // _MIB, -(-total // _MIB))
        if done < total:
            raise requests.ConnectionError("the server closed the connection")

    def _explain(self, url: str, error: requests.RequestException) -> str:
        remedy = f"or fetch it elsewhere and give {self._model.file} as `checkpoint`"
        if self._arrived:
            return (
                f"the download of {self._model.name} broke off after"
                f" {self._arrived / _MIB:.0f} MiB: download it again to go on, {remedy}"
            )
        if isinstance(error, requests.exceptions.ProxyError):
            return f"the proxy does not let {url} through: check HTTPS_PROXY and NO_PROXY, {remedy}"
        if isinstance(error, requests.exceptions.SSLError):
            return (
                f"the certificate of {url} cannot be checked: set REQUESTS_CA_BUNDLE to your"
                f" network's certificates, {remedy}"
            )
        if isinstance(error, requests.HTTPError) and error.response is not None:
            code = error.response.status_code
            return f"{url} answers {code}: try again later, {remedy}"
        if isinstance(error, requests.Timeout | requests.ConnectionError):
            return f"{url} cannot be reached: check the network or set HTTPS_PROXY, {remedy}"
        return f"{url} cannot be fetched ({type(error).__name__}): check the address, {remedy}"
