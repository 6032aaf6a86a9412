"""scp before OpenSSH 9: every byte arrives, and every failure is told to the right side."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.wire import rcp
from receiver.wire.commands import ScpSink
from receiver.wire.paths import parse_untrusted
from receiver.wire.rcp import (
    Data,
    DirectoryEnds,
    DirectoryStarts,
    Failed,
    FileEnds,
    FileStarts,
    Reply,
    Sent,
    Sink,
    SinkEvent,
    Source,
    Times,
    Trouble,
)

OK = Reply(b"\0")
FILE = ScpSink(parse_untrusted("/d/vmcore-incomplete"))
DIRECTORY = ScpSink(parse_untrusted("/d/"))
TREE = ScpSink(parse_untrusted("/d"), directory=True, recursive=True)
CORE = FILE.path
HALF = "the client stopped after 2 of 3 bytes"
UNCONFIRMED = "the client stopped before it confirmed the file"


def _joined(events: Iterable[SinkEvent]) -> list[SinkEvent | bytes]:
    """The events, with neighbouring data made one piece of bytes."""
    told: list[SinkEvent | bytes] = []
    for event in events:
        if not isinstance(event, Data):
            told.append(event)
        elif told and isinstance(told[-1], bytes):
            told[-1] += bytes(event.view)
        else:
            told.append(bytes(event.view))
    return told


def _session(
    sink: Sink, stream: bytes, cuts: Iterable[int] = (), *, end: bool = True
) -> list[SinkEvent | bytes]:
    edges = [0, *sorted({min(cut, len(stream)) for cut in cuts}), len(stream)]
    events: list[SinkEvent | bytes] = []
    for start, stop in itertools.pairwise(edges):
        events += _joined(sink.feed_untrusted(stream[start:stop]))
    if end:
        events += _joined(sink.end())
    joined: list[SinkEvent | bytes] = []
    for event in events:
        if isinstance(event, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += event
        else:
            joined.append(event)
    return joined


def test_a_core_arrives() -> None:
    """`scp /proc/vmcore host:D/vmcore-incomplete`: the target names the file, the client's name does not."""
    sink = Sink(FILE)
    assert list(sink.start()) == [OK]
    assert _session(sink, b"C0400 5 vmcore\nhello\0") == [
        FileStarts(CORE, "vmcore", 0o400, 5),
        OK,
        b"hello",
        FileEnds(),
        OK,
    ]
    assert sink.exit_status == 0


def test_the_largest_file_is_the_file_system_s() -> None:
    """Sizes up to 2^63-1; what is too much for this receiver is the caller's to refuse."""
    (start, *_) = Sink(FILE).feed_untrusted(b"C0600 9223372036854775807 vmcore\n")
    assert start == FileStarts(CORE, "vmcore", 0o600, (1 << 63) - 1)


def test_a_directory_keeps_the_client_s_names() -> None:
    """`scp kexec-dmesg.log host:D/`, and the same where the receiver knows that D is a directory."""
    log = parse_untrusted("/d/kexec-dmesg.log")
    for sink in (Sink(DIRECTORY), Sink(ScpSink(parse_untrusted("/d")), is_directory=True)):
        assert _session(sink, b"C0644 0 kexec-dmesg.log\n\0") == [
            FileStarts(log, "kexec-dmesg.log", 0o644, 0),
            OK,
            FileEnds(),
            OK,
        ]


def test_a_tree_and_its_times_arrive() -> None:
    """`scp -rp`: directories nest, times precede what they belong to."""
    stream = b"T7 0 8 0\nD0755 0 sub\nT5 0 6 0\nC0600 1 a\nx\0C0600 1 b\ny\0E\nC0600 0 c\n\0"
    sub = parse_untrusted("/d/sub")
    assert _session(Sink(TREE), stream) == [
        *(Times(7, 8), OK, DirectoryStarts(sub, "sub", 0o755), OK),
        *(Times(5, 6), OK, FileStarts(parse_untrusted("/d/sub/a"), "a", 0o600, 1, mtime=5), OK),
        *(b"x", FileEnds(), OK),
        *(FileStarts(parse_untrusted("/d/sub/b"), "b", 0o600, 1), OK, b"y", FileEnds(), OK),
        *(DirectoryEnds(sub), OK),
        *(FileStarts(parse_untrusted("/d/c"), "c", 0o600, 0), OK, FileEnds(), OK),
    ]


def test_the_promise_waits_for_the_disk() -> None:
    """Byte 0 after a file is yielded only once the caller, having stored it, asks for more."""
    events = Sink(FILE).feed_untrusted(b"C0600 1 a\nx\0")
    assert isinstance(next(events), FileStarts)
    assert next(events) == OK
    assert isinstance(next(events), Data)
    assert next(events) == FileEnds()
    assert next(events) == OK


def test_large_pieces_are_not_copied() -> None:
    """A 2 MB chunk passes as a view of itself."""
    sink = Sink(FILE)
    assert len(_session(sink, b"C0600 4194304 vmcore\n", end=False)) == 2
    for chunk in (bytes(2 << 20), bytearray(2 << 20)):
        (data,) = sink.feed_untrusted(chunk)
        assert isinstance(data, Data)
        assert data.view.obj is chunk
        assert data.view.nbytes == 2 << 20


def test_a_refused_file_is_skipped_by_the_client() -> None:
    """No byte of it follows; the next file is welcome, and scp will exit with 1."""
    sink = Sink(DIRECTORY)
    told: list[SinkEvent] = []
    for event in sink.feed_untrusted(b"C0600 5 a\nC0600 1 b\nx\0"):
        told.append(event)
        if isinstance(event, FileStarts) and event.name == "a":
            sink.refuse("/d/a: No space left on device")
    assert [event for event in told if isinstance(event, Reply)] == [
        Reply(b"\x01scp: /d/a: No space left on device\n"),
        OK,
        OK,
    ]
    assert [event for event in told if isinstance(event, FileEnds)] == [FileEnds()]
    assert sink.exit_status == 1


def test_a_refused_directory_is_skipped_by_the_client() -> None:
    """scp sends nothing of it, not even its end; what follows goes to the directory above."""
    sink = Sink(TREE)
    told: list[SinkEvent] = []
    for event in sink.feed_untrusted(b"D0755 0 sub\nC0600 0 a\n\0"):
        told.append(event)
        if isinstance(event, DirectoryStarts):
            sink.refuse("File exists")
    assert told[1] == Reply(b"\x01scp: File exists\n")
    assert told[2] == FileStarts(parse_untrusted("/d/a"), "a", 0o600, 0)
    assert list(sink.end()) == []


def test_a_tree_cut_off_between_files_is_noticed() -> None:
    """Directories still open say that more was to come."""
    sink = Sink(TREE)
    assert _session(sink, b"D0755 0 sub\n")[-1] == Failed("the client stopped in the middle of the protocol")
    assert sink.exit_status == 1


def test_a_disk_that_fills_on_the_way_swallows_the_rest() -> None:
    """The client cannot be stopped in the middle: the rest is read, dropped, and answered with the error."""
    sink = Sink(FILE)
    told: list[SinkEvent] = []
    for chunk in (b"C0600 6 a\n", b"abc", b"def", b"\0"):
        for event in sink.feed_untrusted(chunk):
            told.append(event)
            if isinstance(event, Data):
                sink.refuse("full")
    assert [bytes(event.view) for event in told if isinstance(event, Data)] == [b"abc"]
    assert told[-2:] == [FileEnds("full"), Reply(b"\x01scp: full\n")]


def test_a_file_that_could_not_be_stored_is_told() -> None:
    """fsync may fail at the very end."""
    sink = Sink(FILE)
    told: list[SinkEvent] = []
    for event in sink.feed_untrusted(b"C0600 1 a\nx\0"):
        told.append(event)
        if isinstance(event, FileEnds):
            sink.refuse("Input/output error")
    assert told[-1] == Reply(b"\x01scp: Input/output error\n")
    assert sink.exit_status == 1


def test_the_client_s_own_read_error_marks_the_file() -> None:
    """A /proc/vmcore that fails to read: scp pads with what it has and says so in place of byte 0."""
    sink = Sink(FILE)
    told = _session(sink, b"C0600 3 vmcore\nabc\x01scp: /proc/vmcore: Input/output error\n")
    assert told[-2:] == [FileEnds("scp: /proc/vmcore: Input/output error"), OK]
    assert sink.exit_status == 1


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"\x01scp: /nope: No such file\n", [Trouble("scp: /nope: No such file")]),
        (b"\x02scp: lost\n", [Failed("scp: lost")]),
        (b"C0600 3 v\nabc\x02scp: lost\n", [OK, b"abc", FileEnds("scp: lost"), Failed("scp: lost")]),
        (
            b"C0600 1 v\naC0600",
            [FileEnds(UNCONFIRMED), Failed(UNCONFIRMED)],
        ),
        (
            b"C0600 1 v\naC0600 1 w\n",
            [
                FileEnds("protocol error: C0600 1 w"),
                Reply(b"\x02scp: protocol error: C0600 1 w\n"),
                Failed("protocol error: C0600 1 w"),
            ],
        ),
        (b"C0600 3 v\nab", [FileEnds(HALF), Failed(HALF)]),
        (b"C0600 3 v\nabc", [FileEnds(UNCONFIRMED), Failed(UNCONFIRMED)]),
        (b"C0600 3", [Failed("the client stopped in the middle of the protocol")]),
    ],
)
def test_what_a_failing_client_leaves(stream: bytes, events: list[SinkEvent | bytes]) -> None:
    """Each way to fail, and what is known about the file then."""
    sink = Sink(FILE)
    assert _session(sink, stream)[-len(events) :] == events
    assert sink.exit_status == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "protocol error: "),
        (b"SSH-2.0-x", "protocol error: SSH-2.0-x"),
        (b"E", "protocol error: E"),
        (b"C600 1 a", "protocol error: C600 1 a"),
        (b"C0800 1 a", "protocol error: C0800 1 a"),
        (b"C0600 -1 a", "protocol error: C0600 -1 a"),
        (b"C0600 1 ", "protocol error: C0600 1 "),
        (b"T1 0 2", "protocol error: T1 0 2"),
        (b"C0600 99999999999999999999 a", "size out of range"),
        (b"C0600 9223372036854775808 a", "size out of range"),
        (b"C0600 1 ..", "unexpected filename: .."),
        (b"C0600 1 .", "unexpected filename: ."),
        (b"C0600 1 a/b", "unexpected filename: a/b"),
        (b"D0755 0 ..", "unexpected filename: .."),
        (b"D0755 0 sub", "received directory without -r"),
        (b"x" * 3000, "at most 2048 bytes"),
    ],
)
def test_what_is_not_the_protocol_ends_it(line: bytes, reason: str) -> None:
    """The client is told the fatal way, and nothing after it is read."""
    sink = Sink(DIRECTORY)
    told = _session(sink, line + b"\nC0600 1 a\nx\0")
    assert len(told) == 2
    reply, failed = told
    assert isinstance(failed, Failed)
    assert reason in failed.reason
    assert isinstance(reply, Reply)
    assert reply.data.startswith(b"\x02scp: ")
    assert reply.data.count(b"\n") == 1
    assert sink.exit_status == 1
    assert _session(sink, b"C0600 1 a\nx\0") == []


def test_a_name_we_cannot_store_fails_alone() -> None:
    """Bytes that are no text refuse that file; the session goes on."""
    told = _session(Sink(DIRECTORY), b"C0600 1 \xff\xfe\nC0600 1 b\nx\0")
    assert isinstance(told[0], Trouble)
    assert isinstance(told[1], Reply)
    assert told[1].data.startswith(b"\x01scp: ")
    assert told[-1] == OK


# What a client may say, by an inverse of the sink: each piece is a whole utterance.
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\n/\0"), min_size=1, max_size=8)
CONTENT = st.binary(max_size=40)


@st.composite
def _utterances(draw: st.DrawFn) -> bytes:
    match draw(st.sampled_from("CCCCDET12?")):
        case "C":
            content = draw(CONTENT)
            closing = draw(st.sampled_from([b"\0", b"\0", b"\0", b"\x01scp: bad\n"]))
            return b"C0600 %d %s\n%s%s" % (len(content), draw(NAMES).encode(), content, closing)
        case "D":
            return b"D0755 0 %s\n" % draw(NAMES).encode()
        case "E":
            return b"E\n"
        case "T":
            return b"T%d 0 %d 0\n" % (draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40)))
        case "1":
            return b"\x01scp: warned\n"
        case "2":
            return b"\x02scp: lost\n"
    return draw(st.binary(max_size=30))


STREAMS = st.lists(_utterances(), max_size=8).map(b"".join)
COMMANDS = st.sampled_from([FILE, DIRECTORY, TREE])


@given(COMMANDS, STREAMS, st.lists(st.integers(0, 400), max_size=12))
@example(FILE, b"C0600 3 v\nabc\x01" + b"x" * 3000, [20])
def test_any_cut_of_the_stream_gives_the_same_events(
    command: ScpSink, stream: bytes, cuts: list[int]
) -> None:
    """Packet boundaries carry no meaning."""
    assert _session(Sink(command), stream, cuts) == _session(Sink(command), stream)


@given(COMMANDS, st.one_of(STREAMS, st.binary(max_size=200)), st.sets(st.integers(0, 10)))
def test_every_file_that_starts_ends_once(command: ScpSink, stream: bytes, refused: set[int]) -> None:
    """Whatever comes and whatever is refused, the caller's open file is always closed by an event."""
    sink = Sink(command)
    is_open = False
    for number, event in enumerate(itertools.chain(sink.feed_untrusted(stream), sink.end())):
        match event:
            case FileStarts():
                assert not is_open
                if number in refused:
                    sink.refuse("no")
                else:
                    is_open = True
            case Data(view):
                assert is_open
                assert view.nbytes
                if number in refused:
                    sink.refuse("no")
            case FileEnds():
                assert is_open
                is_open = False
            case Reply(data):
                assert data == b"\0" or (
                    data[0] in {1, 2} and data.endswith(b"\n") and data.count(b"\n") == 1
                )
            case Failed(reason) | Trouble(reason):
                assert reason.isprintable()
    assert not is_open


def test_a_fetched_status_is_sent() -> None:
    """`kdumpctl status` after a test: go, header, go, content, go."""
    source = Source("vmcore-creation.status", b"success kdump_test_id=1-2\n")
    assert list(source.feed_untrusted(b"\0")) == [Reply(b"C0600 26 vmcore-creation.status\n")]
    assert list(source.feed_untrusted(b"\0")) == [Reply(b"success kdump_test_id=1-2\n\0")]
    assert list(source.feed_untrusted(b"\0")) == [Sent()]
    assert list(source.feed_untrusted(b"\0")) == list(source.end()) == []
    assert list(Source("a", b"", mtime=7).feed_untrusted(b"\0")) == [Reply(b"T7 0 7 0\n")]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (b"\0\x01scp: disk full\n", "scp: disk full"),
        (b"\x02gone\n", "gone"),
        (b"hello\n", "hello"),
        (b"\x01\n", "the client reports an error"),
        (b"\x01" + b"x" * 3000, "x"),
    ],
)
def test_a_client_that_cannot_take_it_is_heard(answers: bytes, reason: str) -> None:
    """Its error ends the transfer."""
    source = Source("a", b"abc")
    failed = [event for event in source.feed_untrusted(answers) if isinstance(event, Failed)]
    assert len(failed) == 1
    assert failed[0].reason.startswith(reason)
    assert list(source.end()) == []


def test_a_client_that_leaves_before_the_end_is_noticed() -> None:
    """The fetch counts only when confirmed."""
    source = Source("a", b"abc")
    list(source.feed_untrusted(b"\0"))
    assert list(source.end()) == [Failed("the client left before it confirmed the file")]


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
def test_any_answer_in_any_cut_is_taken(answers: bytes, cuts: list[int]) -> None:
    """The source raises nothing, whatever the client says."""

    def _told(edges: list[int]) -> list[rcp.SourceEvent]:
        source = Source("a", b"abc", mtime=1)
        pieces = itertools.pairwise([0, *sorted(min(edge, len(answers)) for edge in edges), len(answers)])
        return [event for start, stop in pieces for event in source.feed_untrusted(answers[start:stop])]

    assert _told(cuts) == _told([])


# The real scp, with our rcp in the place of ssh and the remote scp.


@pytest.fixture
def ssh(tmp_path: Path) -> Path:
    """A program for `scp -S`: it runs our side below tmp_path/root."""
    (tmp_path / "root" / "d").mkdir(parents=True)
    script = tmp_path / "ssh"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.builders.scp_end "{tmp_path}/root" "$@"\n')
    script.chmod(0o755)
    return script


def _scp(ssh: Path, *arguments: str | Path, chunk: int = 65536) -> subprocess.CompletedProcess[str]:
    # Subprocesses of the tests are measured by nobody: the path is ours, the warnings are not.
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "SCP_END_CHUNK": str(chunk),
    }
    return subprocess.run(
        ["scp", "-O", "-S", ssh, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("chunk", [7, 65536, 2 << 20])
def test_the_real_scp_sends_a_real_dump(ssh: Path, data: Path, chunk: int) -> None:
    """Byte for byte, under the name of the target."""
    dump = data / "vmcore.flat"
    if chunk == 7:  # tiny reads of 4.5 MB take minutes; their beginning will do
        dump = ssh.parent / "vmcore"
        dump.write_bytes((data / "vmcore.flat").read_bytes()[:20_000])
    done = _scp(ssh, "-q", dump, "kdump@host:/d/vmcore-incomplete", chunk=chunk)
    assert (done.returncode, done.stderr) == (0, "")
    assert (ssh.parent / "root/d/vmcore-incomplete").read_bytes() == dump.read_bytes()


def test_the_real_scp_sends_a_tree_with_times(ssh: Path, tmp_path: Path) -> None:
    """`scp -rp`, with empty files and names with blanks."""
    tree = tmp_path / "crash"
    (tree / "sub").mkdir(parents=True)
    (tree / "a b").write_bytes(b"")
    (tree / "sub" / "vmcore").write_bytes(b"x" * 100_000)
    done = _scp(ssh, "-rpv", tree, "host:/d/")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/d/crash/a b").read_bytes() == b""
    assert (tmp_path / "root/d/crash/sub/vmcore").read_bytes() == b"x" * 100_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("odd", "scp: /d/odd: File exists"),
        ("full", "scp: full: No space left on device"),
        ("late", "scp: late: Input/output error"),
    ],
)
def test_the_real_scp_hears_that_a_file_failed(ssh: Path, tmp_path: Path, name: str, message: str) -> None:
    """It prints our text, exits with 1, and still sends the next file."""
    for each in (name, "next"):
        (tmp_path / each).write_bytes(b"x" * 300_000)
    done = _scp(ssh, tmp_path / name, tmp_path / "next", "host:/d")
    assert done.returncode == 1
    assert message in done.stderr
    assert (tmp_path / "root/d/next").read_bytes() == b"x" * 300_000


def test_the_real_scp_fetches_a_status(ssh: Path, tmp_path: Path) -> None:
    """The one download a client does; a status that is not there is exit 1, as kdumpctl expects."""
    status = tmp_path / "root/d/vmcore-creation.status"
    status.write_bytes(b"success kdump_test_id=1-2\n")
    os.utime(status, (1, 1000))
    done = _scp(ssh, "-q", "-p", "host:/d/vmcore-creation.status", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "vmcore-creation.status").read_bytes() == status.read_bytes()
    assert (tmp_path / "vmcore-creation.status").stat().st_mtime == 1000
    missing = _scp(ssh, "-q", "host:/d/other", tmp_path)
    assert (missing.returncode, missing.stderr) == (1, "scp: /d/other: No such file or directory\n")
