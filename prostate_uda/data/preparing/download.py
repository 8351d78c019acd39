"""Floor 2: one file over HTTP. A broken transfer is resumed; the file has its name only once it is whole.

MONAI's and pooch's downloaders begin again after a break, which hurts at hundreds of megabytes; the standard library
is enough.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Literal, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from prostate_uda import __version__
from prostate_uda.errors import DataError, SettingsError

CHUNK = 1 << 16
LONGEST_PAUSE_S = 30.0
AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be another one a little later."""


class NotOnServerError(DataError):
    """The server answers, and has no such file."""


class _BrokenOffError(Exception):
    """The transfer ended before the file did; another attempt may go on."""


@dataclass(frozen=True)
class Checksum:
    """What a file's bytes must add up to.

    Args:
        kind: The algorithm.
        value: Its hexadecimal digest, lower case.
    """

    kind: Literal["md5", "sha256"]
    value: str

    def of(self, path: Path) -> str:
        """The file's own digest."""
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(self.kind, usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class _Transfer:
    """One file under way: its bytes in ``NAME.partial``, and beside them which version of the file they are of."""

    url: str
    to: Path
    checksum: Checksum | None
    timeout_s: float

    @property
    def partial(self) -> Path:
        return self.to.with_name(f"{self.to.name}.partial")

    @property
    def version(self) -> Path:
        return self.to.with_name(f"{self.to.name}.partial.version")

    @property
    def arrived(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def condition(self) -> dict[str, str] | None:
        """The headers that ask for the rest of the same version; None where it cannot be told from another.

        Without a version, a checksum tells.
        """
        if not self.arrived or not self.version.exists():
            return None
        known = self.version.read_text(encoding="utf-8")
        if not known and self.checksum is None:
            return None
        return {"Range": f"bytes={self.arrived}-"} | ({"If-Range": known} if known else {})

    def forget(self) -> None:
        """Begin anew next time."""
        self.version.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)


def fetch(
    url: str,
    to: Path,
    *,
    checksum: Checksum | None = None,
    timeout_s: float = 30.0,
    attempts: int = 5,
    pause_s: float = 1.0,
) -> Iterator[tuple[int, int]]:
    """Download a file, piece by piece as the caller iterates; at the end it is there, whole and checked.

    What has arrived survives a break, an error and Ctrl-C in ``NAME.partial``; the next call asks for the rest only
    (``Range``, guarded by ``If-Range``). A file that is there already and adds up is not fetched again.

    Args:
        url: ``http`` or ``https``.
        to: The file's final name; its folder is made.
        checksum: Compared before the file gets its name.
        timeout_s: Longest silence of the server.
        attempts: Attempts in a row that bring nothing before giving up.
        pause_s: Before the second attempt; doubled each time, at most half a minute.

    Yields:
        ``(received, total)`` bytes; total is 0 where the server does not say. Received falls back to 0 where the
        server cannot resume.

    Raises:
        NotOnServerError: The server has no such file.
        DataError: The server cannot be reached, the disk is full, or the checksum is another; bytes that do not add
            up are removed, so that the next call begins anew.
        SettingsError: The address is of another kind.
    """
    _check_address(url)
    if to.exists() and (checksum is None or checksum.of(to) == checksum.value):
        yield to.stat().st_size, to.stat().st_size
        return
    transfer = _Transfer(url, to, checksum, timeout_s)
    with _disk_errors(transfer.partial):
        to.parent.mkdir(parents=True, exist_ok=True)
        yield from _attempts(transfer, attempts, pause_s)
        _check(transfer)
        transfer.partial.replace(to)
        transfer.version.unlink(missing_ok=True)


def _check_address(url: str) -> None:
    """Refuse what no server can be asked for, before anything waits for an answer.

    Raises:
        SettingsError: so it is.
    """
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:
        whole = False
    if not whole:
        raise SettingsError(f"{url!r} is no address to download from; allowed are http:// and https:// with a server")
    if not parts.path.isascii() or not parts.query.isascii() or any(sign <= " " for sign in url):
        raise SettingsError(f"{url!r} has a sign that no address may hold; write it as %20 and so on")


def _attempts(transfer: _Transfer, attempts: int, pause_s: float) -> Iterator[tuple[int, int]]:
    """Receive until the file is whole; a break after progress counts as the first."""
    failed = 0
    while True:
        before = transfer.arrived
        try:
            yield from _receive(transfer)
            return
        except _BrokenOffError as error:
            failed = 1 if transfer.arrived > before else failed + 1
            if failed >= attempts:
                raise DataError(
                    f"{transfer.url}: {error}; {transfer.arrived} bytes are kept; run the same command again to go on"
                ) from error
            time.sleep(min(pause_s * 2 ** (failed - 1), LONGEST_PAUSE_S))


def _receive(transfer: _Transfer) -> Iterator[tuple[int, int]]:
    """One request, for everything or for the rest.

    Raises:
        _BrokenOffError: It ended before the file did.
    """
    have = transfer.arrived
    condition = transfer.condition()
    with _open(transfer, condition) as response:
        if condition is None or response.status != 206:
            have = 0
            transfer.forget()
            transfer.version.write_text(_version(response), encoding="utf-8")
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            transfer.forget()
            raise _BrokenOffError("the server sent another part of the file than the one asked for")
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with transfer.partial.open("ab") as file:
            yield have, total
            while piece := _read(response):
                file.write(piece)
                have += len(piece)
                yield have, total
    if have < total:
        raise _BrokenOffError(f"the server broke off after {have} of {total} bytes")


def _open(transfer: _Transfer, condition: dict[str, str] | None) -> HTTPResponse:
    """Ask.

    Raises:
        NotOnServerError: The server has no such file.
        _BrokenOffError: There is no answer, or one that may change.
    """
    headers = {"User-Agent": f"prostate-uda/{__version__}", "Accept-Encoding": "identity", **(condition or {})}
    try:
        return cast("HTTPResponse", urlopen(Request(transfer.url, headers=headers), timeout=transfer.timeout_s))
    except HTTPError as error:
        error.close()
        answer = f"the server answers {error.code} {error.reason}".rstrip()
        if error.code == 416:  # less is there than is here
            transfer.forget()
        elif error.code not in AGAIN:
            raise NotOnServerError(
                f"{transfer.url}: {answer}; check the address, or fetch the file by hand and say where it is"
            ) from error
        raise _BrokenOffError(answer) from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise _BrokenOffError(f"the server cannot be reached ({_told(reason)})") from error


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _BrokenOffError(f"the server broke off ({_told(error)})") from error


def _version(response: HTTPResponse) -> str:
    """What names this version of the file; a weak ETag may not be used with ``If-Range``."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _check(transfer: _Transfer) -> None:
    wanted = transfer.checksum
    if wanted is None:
        return
    found = wanted.of(transfer.partial)
    if found != wanted.value:
        transfer.forget()
        raise DataError(
            f"{transfer.to.name} from {transfer.url} has {wanted.kind} {found}, expected {wanted.value}; it was "
            "removed: run the same command again, or fetch it from another mirror"
        )


def _told(reason: object) -> str:
    return " ".join(str(reason).split()) or type(reason).__name__


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); make room or name another folder"
        ) from error
