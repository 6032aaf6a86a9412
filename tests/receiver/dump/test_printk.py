"""The kernel's log out of a dump."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.dump import inplace
from receiver.dump.kind import Kind, sniff_untrusted
from receiver.dump.pread import of_bytes
from receiver.dump.printk import Log, log_of_parts_untrusted, log_untrusted
from receiver.dump.records import Record, form
from tests.builders import flattened
from tests.builders.kdump import Order
from tests.builders.machine import Machine, Message

Ring = Literal["ringbuffer", "structured"]
RINGS: list[Ring] = ["ringbuffer", "structured"]
ORDERS: list[Order] = ["little", "big"]
MESSAGES = [Message(b"message %d: something happened" % number, number * 123456789) for number in range(60)]
DIRECT = 0xFF11_2233_4000_0000

needs_makedumpfile = pytest.mark.skipif(
    not shutil.which("makedumpfile"), reason="makedumpfile is not installed"
)


def log_of(data: bytes) -> Log:
    return log_untrusted(of_bytes(data), sniff_untrusted(data[:4096]))


def makedumpfiles(data: bytes, folder: Path) -> bytes:
    """What makedumpfile --dump-dmesg says."""
    (folder / "vmcore").write_bytes(data)
    argv = ["makedumpfile", "-f", "--dump-dmesg", str(folder / "vmcore"), str(folder / "log")]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return (folder / "log").read_bytes()


def filled(ring: Ring, messages: list[Message], machine: Machine | None = None) -> Machine:
    machine = machine or Machine()
    if ring == "ringbuffer":
        machine.ringbuffer(messages, count_bits=9, size_bits=15)
    else:
        machine.structured(messages, size=1 << 15)
    return machine


@pytest.mark.parametrize(("ring", "order", "word_size"), list(itertools.product(RINGS, ORDERS, (4, 8))))
def test_every_form_of_the_ring_is_read_on_every_machine(ring: Ring, order: Order, word_size: int) -> None:
    """Both byte orders, 32 and 64 bit."""
    image = 0xC1000000 if word_size == 4 else 0xC000000001000000
    architecture = "i686" if word_size == 4 else "ppc64"
    machine = Machine(architecture, order, word_size, image=image, image_paddr=0x1000000)
    filled(ring, MESSAGES, machine)
    for dump in (machine.kdump(), machine.elf()):
        log = log_of(dump.build())
        assert log.source == ring
        assert [record.text for record in log.records] == [message.text for message in MESSAGES]
        assert [record.nanoseconds for record in log.records] == [message.nanoseconds for message in MESSAGES]
        assert {record.level for record in log.records} == {6}
        assert log.missing == 0


def test_a_ring_gone_round_many_times_gives_its_newest_records() -> None:
    """In the ids, in the descriptors and in the text at once."""
    messages = [Message(b"%d " % number * (number % 9 + 1), number) for number in range(500)]
    machine = Machine()
    machine.ringbuffer(messages, count_bits=5, size_bits=11)
    log = log_of(machine.kdump().build())
    assert [record.text for record in log.records] == [message.text for message in messages[-32:]]


def test_text_that_ends_with_the_ring_is_read_where_it_lies() -> None:
    """Kernels since 6.18 let a block end there; before, it would have been moved to the ring's start."""
    messages = [Message(b"x" * 56, 1), Message(b"y" * 56, 2), Message(b"z" * 120, 3)]
    machine = Machine()
    machine.ringbuffer(messages, size_bits=8, may_touch_the_end=True)
    log = log_of(machine.kdump().build())
    assert [record.text for record in log.records] == [message.text for message in messages]


def test_a_buffer_of_records_that_wraps_is_read_to_its_end() -> None:
    """A header of length 0 says: go on at the start."""
    machine = Machine()
    machine.structured(MESSAGES[:40], size=1 << 12, start=3000)
    log = log_of(machine.kdump().build())
    assert [record.text for record in log.records] == [message.text for message in MESSAGES[:40]]


def test_a_header_of_zeros_in_the_middle_costs_only_its_record() -> None:
    """It says "go on at the start" only where the buffer has wrapped."""
    machine = Machine()
    machine.structured(MESSAGES)
    buffer = machine.image_paddr + _pointer(machine, "log_buf") - machine.image
    place = buffer + sum(-(-(16 + len(message.text)) // 4) * 4 for message in MESSAGES[:10])
    machine.write(place, bytes(16))
    log = log_of(machine.kdump().build())
    assert [record.text for record in log.records] == [m.text for m in MESSAGES[:10] + MESSAGES[11:]]
    assert b"[... 48 bytes missing" in log.data


def _pointer(machine: Machine, name: str) -> int:
    """The value of a pointer variable."""
    at = int(machine.lines[f"SYMBOL({name})"], 16) - machine.image + machine.image_paddr
    pfn, inside = divmod(at, machine.page_size)
    return int.from_bytes(machine.memory[pfn][inside : inside + machine.word_size], machine.order)


def test_the_old_name_of_the_record_is_known() -> None:
    """struct log of Linux 3.5 to 3.10, and kernels that did not describe it at all."""
    machine = Machine()
    machine.structured(MESSAGES, name="log")
    assert len(log_of(machine.kdump().build()).records) == 60
    machine.lines = {
        key: value for key, value in machine.lines.items() if "log." not in key and "(log)" not in key
    }
    assert len(log_of(machine.kdump().build()).records) == 60


@pytest.mark.parametrize("length", [0, 100, 4096, 10000])
def test_the_flat_log_of_old_kernels_is_read(length: int) -> None:
    """Before 3.5 it is text; when it is full, the oldest bytes are gone."""
    text = b"".join(b"<6>[%5d.000000] line %d\n" % (number, number) for number in range(1000))[:length]
    machine = Machine(release="2.6.32-754.el6")
    machine.flat(text)
    log = log_of(machine.kdump().build())
    assert (log.source, log.data) == ("flat", text[-4096:])


@pytest.mark.parametrize("ring", RINGS)
def test_a_log_outside_the_image_is_reached_through_the_page_tables(ring: Ring) -> None:
    """log_buf_len= and machines with many CPUs have it in the direct map."""
    machine = Machine()

    def place(data: bytes) -> int:
        return DIRECT + machine.place_outside(data)

    if ring == "ringbuffer":
        machine.ringbuffer(MESSAGES, count_bits=7, size_bits=13, place=place)
    else:
        machine.structured(MESSAGES, place=place)
    machine.x86_tables(DIRECT, 0, 128 << 20, page_bits=21)
    for dump in (machine.kdump(), machine.elf()):
        assert len(log_of(dump.build()).records) == 60


TEXTS = st.binary(max_size=120) | st.text(max_size=40).map(str.encode)
WRITTEN = st.lists(st.builds(Message, TEXTS, st.integers(0, 1 << 60)), min_size=1, max_size=40)


@needs_makedumpfile
@pytest.mark.parametrize("ring", RINGS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=WRITTEN)
def test_the_text_is_makedumpfiles_byte_for_byte(ring: Ring, tmp_path: Path, messages: list[Message]) -> None:
    """Whatever drivers print: control characters, line breaks, bytes of no encoding, empty messages."""
    machine = Machine(release="6.1.0-test" if ring == "ringbuffer" else "5.4.0-test")
    filled(ring, messages, machine)
    machine.x86_tables(machine.image, machine.image_paddr, 8 << 20, page_bits=21)
    machine.flat_memory_model()
    data = machine.kdump().build()
    assert log_of(data).data == makedumpfiles(data, tmp_path)


@needs_makedumpfile
def test_the_flat_text_is_makedumpfiles_too(tmp_path: Path) -> None:
    """Raw bytes, as they lie."""
    machine = Machine(release="2.6.32-754.el6")
    machine.flat(bytes(range(1, 256)) * 40)
    machine.x86_tables(machine.image, machine.image_paddr, 8 << 20, page_bits=21)
    machine.flat_memory_model()
    data = machine.kdump().build()
    assert log_of(data).data == makedumpfiles(data, tmp_path)


@needs_makedumpfile
def test_a_real_dumps_log_is_makedumpfiles(data: Path, tmp_path: Path) -> None:
    """The dump that the checkout carries."""
    image = flattened.image((data / "vmcore.flat").read_bytes())
    log = log_of(image)
    assert log.data == makedumpfiles(image, tmp_path)
    assert b"Kernel panic - not syncing: sysrq triggered crash" in log.data


def test_a_callers_id_and_level_are_kept() -> None:
    """Text leaves them out as makedumpfile 1.7.2 does, but triage can use them."""
    machine = Machine()
    machine.ringbuffer([Message(b"a", 1, 0, 0x80000003), Message(b"b", 2, 4, 812)])
    first, second = log_of(machine.kdump().build()).records
    assert (first.level, first.caller, second.level, second.caller) == (0, "C3", 4, "T812")


# broken dumps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", [40, 60, 70, 80, 85, 90, 95, 98, 99])
def test_a_cut_real_dump_gives_every_record_whose_pages_came(data: Path, percent: int) -> None:
    """libkdumpfile and drgn give nothing until 99 %: they want page tables that lie high in RAM."""
    flat = (data / "vmcore.flat").read_bytes()
    whole = log_of(flattened.image(flat))
    log = log_of(flattened.image(flat[: len(flat) * percent // 100]))
    assert set(log.records) <= set(whole.records)
    if log.source is None:
        assert percent <= 80
        assert log.why.endswith("was never written: the dump broke off before it")
    else:
        assert len(log.records) + log.missing == len(whole.records)
        assert (b"missing: their pages are not in the dump" in log.data) == (log.missing > 0)
    if percent >= 95:
        assert log == whole


def test_a_stream_gives_its_log_without_being_rearranged(data: Path) -> None:
    """`kdump-receiver triage vmcore.flat`."""
    flat = (data / "vmcore.flat").read_bytes()
    view = inplace.open_untrusted(of_bytes(flat))
    assert log_untrusted(view.pread, Kind.KDUMP) == log_of(flattened.image(flat))


@pytest.mark.parametrize("ring", RINGS)
def test_any_missing_page_costs_only_its_records(ring: Ring) -> None:
    """What can be read is read, in order, with a line that says what is missing."""
    messages = [Message(b"message %d " % number * 8, number * 10**9) for number in range(250)]
    machine = filled(ring, messages, Machine())
    whole = log_of(machine.kdump().build())
    assert len(whole.records) == 250
    found = 0
    for pfn in machine.memory:
        dump = machine.kdump()
        dump.pages = {number: page for number, page in machine.pages.items() if number != pfn}
        log = log_of(dump.build())
        texts = [record.text for record in log.records]
        assert texts == [text for text in (record.text for record in whole.records) if text in set(texts)]
        assert log == whole or log.why
        found += len(texts)
    assert found > 250 * (len(machine.memory) - 4)


def test_text_without_its_times_is_still_text() -> None:
    """The page of the infos is missing, those of descriptors and text are there."""
    machine = Machine()
    places: list[int] = []

    def place(data: bytes) -> int:
        places.append(machine.place_outside(data))
        return DIRECT + places[-1]

    machine.ringbuffer(MESSAGES[:20], place=place)
    machine.x86_tables(DIRECT, 0, 128 << 20, page_bits=21)
    dump = machine.kdump()
    dump.pages = {pfn: page for pfn, page in machine.pages.items() if pfn != places[1] // 4096}
    log = log_of(dump.build())
    assert log.records == tuple(Record(None, message.text) for message in MESSAGES[:20])
    assert log.data.startswith(b"message 0: something happened\n")
    assert log.why == "the times of 20 records are in pages that the dump does not have"


@pytest.mark.parametrize("ring", RINGS)
def test_a_flattened_elf_core_that_broke_off_still_has_its_log(ring: Ring) -> None:
    """Its program headers never came: the image is found by the kernel's own name in it."""
    machine = filled(ring, MESSAGES)
    writes = machine.elf().writes()
    image = flattened.image(flattened.stream(writes[:-1], end=False))
    assert log_of(image).records == log_of(machine.elf().build()).records


def test_the_parts_of_a_split_dump_give_one_log() -> None:
    """And those at hand give theirs when one is lost."""
    machine = filled("ringbuffer", MESSAGES)
    low, high = min(machine.memory), max(machine.memory) + 1
    middle = (low + high) // 2
    files = [machine.kdump(split=part, max_mapnr=high).build() for part in ((0, middle), (middle, high))]
    whole = log_of_parts_untrusted([of_bytes(data) for data in files])
    assert len(whole.records) == 60
    assert log_of_parts_untrusted([of_bytes(data) for data in reversed(files)]) == whole
    for data in files:
        assert len(log_of_parts_untrusted([of_bytes(data)]).records) < 60


@pytest.mark.parametrize("ring", RINGS)
def test_a_chain_that_bites_its_tail_ends(ring: Ring) -> None:
    """Rings are corrupt in the dumps that matter most; makedumpfile once looped on them."""
    machine = filled(ring, MESSAGES)
    if ring == "structured":
        machine.write(
            machine.image_paddr + int(machine.lines["SYMBOL(log_next_idx)"], 16) - machine.image, b"\x33\x33"
        )
    else:
        machine.lines["SYMBOL(prb)"] = machine.lines["SYMBOL(printk_rb_static)"]
    log_of(machine.kdump().build())


def test_dumps_without_a_way_to_the_log_say_so() -> None:
    """Never an exception, always a sentence."""
    machine = Machine()
    assert "VMCOREINFO has no SYMBOL(log_buf_len)" in log_of(machine.kdump().build()).why
    assert "has no VMCOREINFO" in log_of(machine.kdump(vmcoreinfo=b"").build()).why
    assert "holds no memory" in log_of(b"just a text").why


@given(st.binary(max_size=200))
def test_odd_bytes_are_escaped_as_signed_integers(text: bytes) -> None:
    """printf("\\\\x%02x") of a signed char, on the x86 machines that run makedumpfile."""
    line = form(Record(0, text))
    assert line.endswith(b"\n")
    assert all(byte in b"\t\n\v\f\r" or 0x20 <= byte < 0x7F for byte in line)
    assert (b"\\xffffff" in line) == (any(byte > 0x7F for byte in text) or b"\\xffffff" in text)
