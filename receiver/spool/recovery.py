"""What a start finds: uploads of processes that died, manifests missing or behind their directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from receiver.dump.facts import facts_untrusted
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.stream import WRAPPERS
from receiver.spool import attempts, incoming, manifest, store
from receiver.spool.clock import iso
from receiver.spool.disk import reader
from receiver.spool.dumps import Spool
from receiver.spool.manifest import Manifest, ManifestError, StoredFile
from receiver.wire.paths import parse_untrusted

KILLED = "the server stopped while it was being received"


def tidy(spool: Spool, now: float) -> Iterator[tuple[Manifest, StoredFile]]:
    """Store what killed processes left; give each dump and file as they are then.

    A file whose lock somebody holds is being received by a living worker, and left alone.
    """
    for directory in spool.directories():
        for path in incoming.growing(directory):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if incoming.hold(fd) and path.exists():
                    yield _store(spool, directory, path, fd, now)
            finally:
                os.close(fd)
        _drop_leftovers(directory)


def _store(spool: Spool, directory: Path, path: Path, fd: int, now: float) -> tuple[Manifest, StoredFile]:
    if not (directory / manifest.NAME).exists():
        manifest.store(spool.root, adopt(directory, now))
    note = incoming.read(path)
    os.fsync(fd)
    size = os.fstat(fd).st_size
    kind = sniff_untrusted(reader(fd)(0, 4096))
    sent = Kind(note.kind) if note and note.kind != "empty" else kind
    arrived = store.Arrived(
        path=path,
        fd=fd,
        kind=sent,
        wrapper=Kind(note.wrapper) if note and note.wrapper in WRAPPERS else None,
        ended=False if sent is Kind.FLATTENED else None,
        size=size,
        wire_bytes=note.wire_bytes if note else size,
        wire_sha256="",  # it went with the process that was counting
        requested=note.requested if note else (attempts.CORE,),
        tool=note.tool if note else "unknown",
        peer=note.peer if note else "",
        started=note.started if note else iso(now),
        finished=iso(now),
        seconds=note.seconds if note else 0.0,
        broken=KILLED,
        malformed=False,
        records=None,
        trailing=0,
    )
    return store.commit(spool, directory.name, arrived)


def _drop_leftovers(directory: Path) -> None:
    """Notes without their file, and files that were being written aside."""
    for path in directory.glob(f"{incoming.PREFIX}*{incoming.NOTE}"):
        if not path.with_name(path.name.removesuffix(incoming.NOTE)).exists():
            path.unlink(missing_ok=True)
    for path in directory.glob(f".{manifest.NAME}.*"):
        path.unlink(missing_ok=True)


def read_or_adopt(spool: Spool, directory: Path, now: float) -> Manifest | None:
    """The directory's manifest, made anew where it is missing, broken or behind the files.

    None where the directory holds no dump.
    """
    try:
        known = manifest.load(directory)
    except (FileNotFoundError, ManifestError):
        if not any(_stored_files(directory)):
            return None
        known = adopt(directory, now)
        manifest.store(spool.root, known)
        return known
    matched = _matched(directory, known, now)
    if matched != known:
        manifest.store(spool.root, matched)
    return matched


def bind_names(spool: Spool, dump: Manifest) -> None:
    """Let the dump's owner find it again under the path it used."""
    names = spool.names(dump.host)
    path = parse_untrusted(dump.requested)
    if names.dump(path) is None:
        names.bind(path, dump.directory)


def adopt(directory: Path, now: float) -> Manifest:
    """A manifest for a directory that has none, from its files alone; whose it was is not known."""
    begun = Manifest(
        id=secrets.token_hex(5),
        host="unknown",
        how="adopted",
        peer="",
        client="unknown",
        directory=directory.name,
        requested=f"/{directory.name}",
        date=iso(min((path.stat().st_mtime for path in _stored_files(directory)), default=now)),
    ).noted(iso(now), "adopted", "there was no manifest")
    return _matched(directory, begun, now)


def _matched(directory: Path, known: Manifest, now: float) -> Manifest:
    """`known` with exactly the files that lie there."""
    described = {file.name: file for file in known.files}
    inodes: set[int] = set()
    files: list[StoredFile] = []
    changed = False
    for path in _stored_files(directory):
        status = path.stat()
        if status.st_ino in inodes:  # a move aside that a crash left half done
            path.unlink()
            changed = True
            continue
        inodes.add(status.st_ino)
        file = described.get(path.name)
        if file is None or file.bytes != status.st_size:
            file, changed = _describe(path, now), True
        files.append(file)
    if not changed and len(files) == len(known.files):
        return known
    order = {file.name: place for place, file in enumerate(known.files)}
    files.sort(key=lambda file: order.get(file.name, len(order)))
    matched = replace(known, files=tuple(files)).noted(iso(now), "matched", "to the files in the directory")
    core = attempts.best([file for file in files if file.core])
    facts = None
    if core is not None:
        with suppress(FileNotFoundError), open(directory / core.name, "rb") as opened:
            read = reader(opened.fileno())
            facts = facts_untrusted(read, sniff_untrusted(read(0, 4096)))
    return store.summed_up(matched, facts)


def _describe(path: Path, now: float) -> StoredFile:
    with open(path, "rb") as opened:
        fd = opened.fileno()
        status = os.fstat(fd)
        arrived = store.Arrived(
            path=path,
            fd=fd,
            kind=sniff_untrusted(reader(fd)(0, 4096)),
            wrapper=None,
            ended=None,
            size=status.st_size,
            wire_bytes=status.st_size,
            wire_sha256="",
            requested=(path.name.removesuffix(attempts.INCOMPLETE),),
            tool="unknown",
            peer="",
            started=iso(status.st_mtime),
            finished=iso(status.st_mtime),
            seconds=0.0,
            broken=KILLED if path.name.endswith(attempts.INCOMPLETE) else None,
            malformed=False,
            records=None,
            trailing=0,
        )
        file = store.describe(arrived, store.judge(arrived))
        return replace(file, name=path.name, sha256=store.digest(fd))


def _stored_files(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.iterdir()
        if path.is_file()
        and not path.is_symlink()
        and not path.name.startswith(".")
        and path.name not in manifest.OURS
    )


def document(dump: Manifest) -> str:
    """The manifest as the catalogue keeps it, to see whether that is behind."""
    return manifest.as_json(dump).decode()
