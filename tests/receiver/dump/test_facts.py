"""What a dump says of itself, whole or while it arrives."""

from __future__ import annotations

from pathlib import Path

from receiver.dump.facts import Facts, facts_untrusted
from receiver.dump.kind import Kind
from receiver.dump.pread import of_bytes
from tests.builders import flattened
from tests.builders.machine import Machine


def test_a_real_dump_says_all_of_it(data: Path) -> None:
    """As makedumpfile --show-stats and the guest's own log have it."""
    image = flattened.image((data / "vmcore.flat").read_bytes())
    facts = facts_untrusted(of_bytes(image), Kind.KDUMP)
    assert facts.vmcoreinfo is not None
    assert len(facts.vmcoreinfo.values) == 107
    assert facts == Facts(
        kernel_release="6.1.192-tiny",
        build_id="978cb471a8ac0ced28177fffc9528c89d7ba0608",
        crash_time=1795388489,
        architecture="x86_64",
        nodename="tiny-variants",
        page_size=4096,
        pages_total=34687,
        pages_present=6141,
        dump_level=31,
        compression="zlib",
        cpus=2,
        split=None,
        vmcoreinfo=facts.vmcoreinfo,
    )


def test_nine_kilobytes_of_stream_tell_the_kernel(data: Path) -> None:
    """Header and notes come first: the page of a running upload shows what is coming."""
    flat = (data / "vmcore.flat").read_bytes()
    facts = facts_untrusted(of_bytes(flattened.image(flat[:9000])), Kind.KDUMP)
    assert (facts.kernel_release, facts.crash_time) == ("6.1.192-tiny", 1795388489)
    assert facts.nodename == "tiny-variants"
    assert facts.pages_present is None


def test_vmcoreinfo_is_believed_before_the_headers() -> None:
    """QEMU leaves utsname blank and the time zero; a header may also be corrupt."""
    machine = Machine(release="5.14.0-test")
    machine.lines["CRASHTIME"] = "1700000005"
    machine.lines["SYMBOL(init_top_pgt)"] = "ffffffff82000000"
    data = machine.kdump(release="3.10.0-other", timestamp=5).build()
    facts = facts_untrusted(of_bytes(data), Kind.KDUMP)
    assert (facts.kernel_release, facts.crash_time) == ("5.14.0-test", 1700000005)
    blank = machine.kdump(release="", nodename="", machine="", timestamp=0).build()
    facts = facts_untrusted(of_bytes(blank), Kind.KDUMP)
    assert (facts.kernel_release, facts.architecture) == ("5.14.0-test", "x86_64")


def test_a_missing_host_name_is_read_from_the_kernels_memory() -> None:
    """An ELF core has no utsname in its headers, a hypervisor's dump has a blank one."""
    machine = Machine()
    assert facts_untrusted(of_bytes(machine.elf().build()), Kind.ELF).nodename == "crashed"
    assert facts_untrusted(of_bytes(machine.kdump(nodename="").build()), Kind.KDUMP).nodename == "crashed"


def test_a_split_part_says_which_page_frames_it_holds() -> None:
    """And counts only those."""
    machine = Machine()
    machine.place_outside(bytes(3 * 4096))
    top = max(machine.memory) + 1
    facts = facts_untrusted(of_bytes(machine.kdump(split=(top - 2, top)).build()), Kind.KDUMP)
    assert (facts.split, facts.pages_present, facts.pages_total) == ((top - 2, top), 2, top)


def test_a_file_of_no_format_may_still_hold_the_note() -> None:
    """A broken header must not hide what the kernel wrote."""
    data = bytearray(Machine().kdump().build())
    data[:8] = b"BROKEN!!"
    assert facts_untrusted(of_bytes(bytes(data)), Kind.UNKNOWN).kernel_release == "6.1.0-test"
    assert facts_untrusted(of_bytes(b"\1\2\3"), Kind.UNKNOWN) == Facts()
    assert facts_untrusted(of_bytes(b"a text"), Kind.TEXT) == Facts()
