"""What a start finds: uploads of processes that died, manifests missing or behind their directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from receiver.dump.facts import Facts, facts_untrusted
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.stream import WRAPPERS
from receiver.durable import locked, make_directory
from receiver.spool import attempts, incoming, manifest, parts, prune, store
from receiver.spool.clock import iso
from receiver.spool.disk import reader
from receiver.spool.dumps import Spool
from receiver.spool.incoming import Incoming
from receiver.spool.manifest import Manifest, ManifestError, StoredFile
from receiver.wire.paths import parse_untrusted
from receiver.wire.refused import Refused

KILLED: Final = "the server stopped while it was being received"
BROKE_OFF: Final = "it had broken off before"
OLD_SECONDS: Final = 3600.0  # after which nobody still writes a file aside


@dataclass(frozen=True, slots=True)
class Mended:
    """A dump whose manifest tells the truth again."""

    dump: Manifest
    tidied: tuple[StoredFile, ...] = ()  # uploads of killed processes that are stored now


def mend(spool: Spool, directory: Path, now: float) -> Mended | None:
    """Bring one directory in order: its manifest, the uploads that died in it, what was left lying about.

    A file whose lock somebody holds is being received by a living process, and left alone.
    None where the directory holds no dump.

    Raises OSError.
    """
    with ExitStack() as stack:
        with spool.changing(directory.name):
            known = _read_or_adopt(spool, directory, now)
            dead = list(_dead(directory, stack))
            if known is None and dead:
                known = adopt(directory, now)
                spool.write(known)
        mended = Mended(known) if known else None
        for path, fd in dead:
            if mended is not None:
                dump, file = _store(spool, mended.dump, path, fd, now)
                mended = Mended(dump, (*mended.tidied, file))
    with spool.changing(directory.name):
        _drop_leftovers(directory)
    return mended


def _dead(directory: Path, stack: ExitStack) -> Iterator[tuple[Path, int]]:
    """The uploads whose process died, now ours."""
    for path in incoming.growing(directory):
        fd = stack.enter_context(incoming.opened(path))
        if incoming.hold(fd):
            yield path, fd


def _store(spool: Spool, begun: Manifest, path: Path, fd: int, now: float) -> tuple[Manifest, StoredFile]:
    note = incoming.read(path)
    os.fsync(fd)
    size = os.fstat(fd).st_size
    kind = sniff_untrusted(reader(fd)(0, 4096))
    noted = Kind(note.kind) if note and note.kind != "empty" else None
    sent = noted or kind
    arrived = store.Arrived(
        path=path,
        fd=fd,
        kind=sent,
        wrapper=Kind(note.wrapper) if note and note.wrapper in WRAPPERS else None,
        ended=False if noted in {None, Kind.FLATTENED} else None,  # so early it may have been any stream
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
    return store.commit(spool, begun, arrived)


def _drop_leftovers(directory: Path) -> None:
    """Notes without their file, and files that were being written aside by a process that died."""
    for path in directory.glob(".*"):
        if path.name.startswith(f".{incoming.PREFIX}") or path.name.endswith(incoming.NOTE):
            upload = path.name.lstrip(".").partition(incoming.NOTE)[0]
            abandoned = not path.with_name(f".{upload}").exists()
        else:  # written aside only while the directory is held, as it is now
            abandoned = any(path.name.startswith(f".{ours}.") for ours in manifest.OURS)
        if abandoned:
            path.unlink(missing_ok=True)


def sweep(spool: Spool, now: float) -> None:
    """Drop what killed processes were writing aside in the state directory, and half-removed dumps."""
    prune.sweep(spool)
    for folder in (spool.state, *spool.state.glob("names/*/dumps")):
        for path in folder.glob(".*"):
            with suppress(FileNotFoundError):
                if path.is_file() and now - path.stat().st_mtime > OLD_SECONDS:
                    path.unlink()


def _read_or_adopt(spool: Spool, directory: Path, now: float) -> Manifest | None:
    """The directory's manifest, made anew where it is missing, broken or behind the files."""
    try:
        known = manifest.load(directory)
    except (FileNotFoundError, ManifestError):
        if not any(_stored_files(directory)):
            return None
        known = adopt(directory, now)
        spool.write(known)
        return known
    settled = _settled(spool, directory, known, now)
    if any(gone.pending for gone in settled.removed):
        if settled != known:
            spool.write(settled)
        known = settled = prune.finish(spool, directory)
    matched = _matched(directory, settled, now)
    if matched != known:
        spool.write(matched)
    return matched


def _settled(spool: Spool, directory: Path, known: Manifest, now: float) -> Manifest:
    """`known`, also when an operator gave its directory another name, or copied it."""
    if known.directory == directory.name:
        return known
    copied = (spool.root / known.directory / manifest.NAME).exists()
    what, id_ = ("copied", secrets.token_hex(5)) if copied else ("moved", known.id)
    return replace(known, directory=directory.name, id=id_).noted(iso(now), what, f"from {known.directory}")


def bind_names(spool: Spool, dump: Manifest) -> None:
    """Let the dump's owner find it again under the path it used."""
    if dump.how == "adopted":
        return
    try:
        path = parse_untrusted(dump.requested)
    except Refused:
        return
    names = spool.names(dump.host)
    make_directory(names.directory)
    with locked(names.directory):
        bound = names.dump(path)
        if bound is None or not (spool.root / bound / manifest.NAME).exists():
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
    """`known` with exactly the files that lie there; a crash may have come between a rename and it."""
    by_inode = {(file.inode, file.bytes): file for file in known.files if file.inode is not None}
    by_name = {(file.name, file.bytes): file for file in known.files}
    notes = _orphaned_notes(directory)
    lying = [(path, path.stat()) for path in _stored_files(directory)]
    present = {(status.st_ino, status.st_size) for _, status in lying}
    places = {file.name: place for place, file in enumerate(known.files)}
    placed: list[tuple[int, StoredFile]] = []
    for path, status in lying:
        file = by_inode.get((status.st_ino, status.st_size))
        if file is None:
            file = by_name.get((path.name, status.st_size))
            if file is not None and (file.inode, file.bytes) in present:
                file = None  # that one lies there under another name
        place = places[file.name] if file else len(places)
        found = replace(file or _describe(path, notes), name=path.name, inode=status.st_ino)
        placed.append((place, found))
    files = [file for _, file in sorted(placed, key=lambda entry: entry[0])]
    if tuple(files) == known.files:
        return known
    matched = replace(known, files=tuple(files)).noted(iso(now), "matched", "to the files in the directory")
    core = attempts.best([file for file in files if file.core])
    facts = Facts()
    if core is not None:
        with open(directory / core.name, "rb") as opened:
            read = reader(opened.fileno())
            facts = facts_untrusted(read, sniff_untrusted(read(0, 4096)))
    return parts.together(directory, store.summed_up(matched, core, facts))


def _orphaned_notes(directory: Path) -> dict[int, Incoming]:
    """The notes of uploads that a crash left between their rename and the manifest, by inode."""
    found = {}
    for path in directory.glob(f"{incoming.PREFIX}*{incoming.NOTE}"):
        growing = path.with_name(path.name.removesuffix(incoming.NOTE))
        note = None if growing.exists() else incoming.read(growing)
        if note is not None and note.inode is not None:
            found[note.inode] = note
    return found


def _describe(path: Path, notes: Mapping[int, Incoming]) -> StoredFile:
    """A file that no manifest knows, from its bytes; its note says how it came, if there is one."""
    with open(path, "rb") as opened:
        fd = opened.fileno()
        status = os.fstat(fd)
        note = notes.get(status.st_ino)
        cut = path.name.endswith(attempts.INCOMPLETE)
        arrived = store.Arrived(
            path=path,
            fd=fd,
            kind=sniff_untrusted(reader(fd)(0, 4096)),
            wrapper=None,
            ended=False if cut else None,
            size=status.st_size,
            wire_bytes=note.wire_bytes if note else status.st_size,
            wire_sha256="",
            requested=note.requested if note else (path.name.removesuffix(attempts.INCOMPLETE),),
            tool=note.tool if note else "unknown",
            peer=note.peer if note else "",
            started=note.started if note else iso(status.st_mtime),
            finished=iso(status.st_mtime),
            seconds=note.seconds if note else 0.0,
            broken=BROKE_OFF if cut else None,
            malformed=False,
            records=None,
            trailing=0,
        )
        return store.describe(arrived, store.judge(arrived))


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
