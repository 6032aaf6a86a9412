"""Small JSON files, a record each: hosts, tokens and pins on the disk.

Several processes read and write them at once, so a file is replaced whole and readers take
no lock. What is wrong with a file is said with its path: somebody has to look at it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from receiver.durable import make_directory, write_file
from receiver.failure import Failure

RECORD_MAX: Final = 256 << 10  # bytes; ours are far smaller


class StateError(Failure):
    """The state directory cannot be used."""

    exit_code = 74  # EX_IOERR


class Damaged(Exception):
    """A record that cannot be read, or does not hold what it should."""


def open_directory(directory: Path) -> Path:
    """`directory`, made where it is missing.

    Raises:
        StateError: it cannot be made or entered.
    """
    try:
        make_directory(directory)
        os.scandir(directory).close()
    except OSError as error:
        raise unusable(error, directory) from None
    return directory


def unusable(error: OSError, path: Path) -> StateError:
    """`error`, as a sentence for the operator."""
    where = error.filename or path
    return StateError(
        f"{where}: {error.strerror}; run this as the receiver's own user or as root, "
        "and see `root` and `state_dir` in the settings"
    )


def read(path: Path) -> dict[str, Any] | None:
    """The record at `path`; None where there is none.

    Raises:
        Damaged: it cannot be read, or is not a JSON object.
    """
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(RECORD_MAX))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}") from None
    except ValueError:
        raise Damaged(f"{path}: not JSON") from None
    if not isinstance(found, dict):
        raise Damaged(f"{path}: not a JSON object")
    return found


def write(path: Path, record: dict[str, Any]) -> None:
    """Replace the record at `path`; it is on the disk when this returns.

    Raises:
        StateError: it cannot be written.
    """
    try:
        write_file(path, json.dumps(record, indent=1).encode() + b"\n")
    except OSError as error:
        raise unusable(error, path) from None
