"""The crash kernel's memory, command line and kexec call."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.kernel.cmdline import compose, initial_apicid, words
from sender.kernel.kexec import attempts, elf_header, secure_boot, unload
from sender.kernel.reserved import advice, crash_ranges, read_reserved, recommended


def test_a_kernel_with_reservation_needs_no_advice() -> None:
    """Size in bytes as sysfs prints it."""
    state = read_reserved("268435456\n", "1\n", "root=/dev/vda crashkernel=256M quiet")
    assert (state.size, state.loaded, state.asked) == (256 << 20, True, "crashkernel=256M")
    assert advice(state, "x86_64") == ""


def test_a_kernel_without_reservation_is_told_what_to_add() -> None:
    """With the value the field recommends for the machine."""
    state = read_reserved("0\n", "0\n", "root=/dev/vda")
    assert "add crashkernel=2G-64G:256M,64G-:512M to the kernel command line" in advice(state, "x86_64")
    assert recommended("aarch64") in advice(state, "aarch64")


def test_a_reservation_that_failed_is_not_told_to_add_what_is_there() -> None:
    """crashkernel= was said and memory was not kept: another story."""
    text = advice(read_reserved("0", "0", "crashkernel=4G@16M"), "x86_64")
    assert "was started with crashkernel=4G@16M but could not reserve it" in text


def test_a_kernel_that_cannot_kexec_is_told_apart() -> None:
    """No kexec_crash_loaded in sysfs: RHEL's "unsupported"."""
    state = read_reserved(None, None, "")
    assert not state.supported
    assert "CONFIG_KEXEC_CORE" in advice(state, "x86_64")


def test_iomem_shows_where_the_reservation_lies() -> None:
    """Two ranges where a low one is kept as well."""
    text = "00001000-0009fbff : System RAM\n  2b000000-36ffffff : Crash kernel\n"
    text += "  1f0000000-1ffffffff : Crash kernel\n"
    assert crash_ranges(text) == ((0x2B000000, 0x36FFFFFF), (0x1F0000000, 0x1FFFFFFFF))


RUNNING = (
    "BOOT_IMAGE=/vmlinuz-6.1 root=UUID=1 ro quiet crashkernel=256M console=tty0 console=ttyS0,115200n8"
    " hugepages=8 rd.lvm.lv=vg/root panic_on_warn=1 nosmt ip=dhcp panic=30"
)


def test_what_would_hurt_the_capture_kernel_is_removed() -> None:
    """Its own reservation, the root it never mounts, memory it does not have."""
    line = compose(RUNNING, "x86_64")
    kept = line.text.split()
    for word in (
        "crashkernel=256M",
        "root=UUID=1",
        "hugepages=8",
        "rd.lvm.lv=vg/root",
        "panic_on_warn=1",
        "quiet",
    ):
        assert word in line.removed
        assert word not in kept
    assert "ip=dhcp" in line.removed


def test_what_the_operator_relies_on_stays() -> None:
    """Both consoles, and options nobody knows."""
    kept = compose(RUNNING, "x86_64").text.split()
    assert kept[:3] == ["console=tty0", "console=ttyS0,115200n8", "nosmt"]


@pytest.mark.parametrize(
    ("machine", "has", "lacks"),
    [
        (
            "x86_64",
            ("irqpoll", "nr_cpus=1", "reset_devices", "mce=off", "disable_cpu_apicid=0", "panic=10"),
            ("maxcpus=1",),
        ),
        ("aarch64", ("irqpoll", "nr_cpus=1", "reset_devices"), ("mce=off",)),
        ("ppc64le", ("maxcpus=1", "noirqdistrib", "reset_devices"), ("nr_cpus=1", "irqpoll")),
        ("s390x", ("nr_cpus=1", "numa=off"), ("irqpoll",)),
        ("i686", ("irqpoll", "nr_cpus=1"), ("pcie_ports=compat",)),
    ],
)
def test_each_machine_gets_its_own_words(machine: str, has: tuple[str, ...], lacks: tuple[str, ...]) -> None:
    """As kdump.sysconfig of each architecture says."""
    said = compose(RUNNING, machine, boot_apicid=0 if machine == "x86_64" else None).text.split()
    assert set(has) <= set(said)
    assert not set(lacks) & set(said)


def test_the_operators_words_win() -> None:
    """cmdline_append replaces a default with the same key; cmdline_remove takes more away."""
    line = compose(RUNNING, "x86_64", remove=("nosmt",), append=("panic=60", "irqpoll", "foo=1"))
    said = line.text.split()
    assert "nosmt" in line.removed
    assert [w for w in said if w.startswith("panic=")] == ["panic=60"]
    assert said.count("irqpoll") == 1
    assert said[-1] == "foo=1"


def test_quoted_values_are_one_word() -> None:
    """As the kernel's own parser reads them."""
    assert words('a="b c" d') == ('a="b c"', "d")
    assert 'dyndbg="file x +p"' in compose('dyndbg="file x +p" root=/dev/sda', "x86_64").text


@given(st.text(max_size=200))
def test_no_running_line_brings_a_second_reservation(text: str) -> None:
    """Whatever the firmware passed."""
    said = words(compose(text, "x86_64").text)
    assert not any(word.split("=")[0] in ("crashkernel", "root") for word in said)
    assert compose(compose(text, "x86_64").text, "x86_64").text == compose(text, "x86_64").text


def test_the_boot_processors_apic_id_is_found() -> None:
    """Only the first processor's."""
    assert initial_apicid("processor\t: 0\ninitial apicid\t: 4\n\nprocessor\t: 1\ninitial apicid\t: 0\n") == 4
    assert initial_apicid("processor : 0\n") is None


@pytest.mark.parametrize(
    ("files", "enforced"),
    [
        ({"SecureBoot-8be4": b"\6\0\0\0\1", "SetupMode-8be4": b"\6\0\0\0\0"}, True),
        ({"SecureBoot-8be4": b"\6\0\0\0\1", "SetupMode-8be4": b"\6\0\0\0\1"}, False),
        ({"SecureBoot-8be4": b"\6\0\0\0\0", "SetupMode-8be4": b"\6\0\0\0\0"}, False),
        ({"ibm,secure-boot": b"\0\0\0\2"}, True),
        ({"ibm,secure-boot": b"\0\0\0\1"}, False),
        ({"os-secureboot-enforcing": b""}, True),
        ({"secure": b"1\n"}, True),
        ({"SecureBoot-8be4": b""}, False),
        ({}, False),
    ],
)
def test_secure_boot_is_read_as_the_firmware_tells_it(files: dict[str, bytes], enforced: bool) -> None:
    """The fifth byte of the EFI variables; ppc64's and s390x's own files."""
    assert secure_boot(files) is enforced


def _calls(machine: str = "x86_64", enforced: bool = False, given: tuple[str, ...] = ()) -> list[str]:
    made = attempts("/boot/k", "/i", "console=ttyS0 x", machine, enforced=enforced, given=given)
    return [" ".join(attempt.argv) for attempt in made]


def test_the_file_load_is_tried_first_and_the_old_call_next() -> None:
    """-s verifies signatures and needs no purgatory of ours; -c is there for kernels that refuse it."""
    tail = "-p --command-line=console=ttyS0 x --initrd=/i /boot/k"
    assert _calls() == [f"kexec -s {tail}", f"kexec -c {tail}"]


def test_secure_boot_leaves_one_way() -> None:
    """Even kexec_args cannot ask for the other."""
    assert _calls(enforced=True, given=("-c", "-d")) == [
        "kexec -d -s -p --command-line=console=ttyS0 x --initrd=/i /boot/k"
    ]
    assert unload(enforced=True) == ("kexec", "-s", "-p", "-u")
    assert unload(enforced=False) == ("kexec", "-p", "-u")


def test_kexec_args_decide_where_they_name_a_call() -> None:
    """And are only added where they do not."""
    assert len(_calls(given=("-c",))) == 1
    assert all(call.startswith("kexec -d ") for call in _calls(given=("-d",)))
    assert _calls("i686") == ["kexec -p --command-line=console=ttyS0 x --initrd=/i /boot/k"]


@pytest.mark.parametrize(
    ("machine", "iomem", "given", "flags"),
    [
        ("i686", "00000000-bfffffff : System RAM\n", (), ("--elf32-core-headers",)),
        ("i686", "0-1 : a\n100000000-1ffffffff : System RAM\n", (), ("--elf64-core-headers",)),
        ("i686", "0-1 : a\n", ("--elf64-core-headers",), ()),
        ("i386", "garbage", (), ("--elf32-core-headers",)),
        ("x86_64", "100000000-1ffffffff : System RAM\n", (), ()),
    ],
)
def test_elf_headers_are_chosen_on_i386_only(
    machine: str, iomem: str, given: tuple[str, ...], flags: tuple[str, ...]
) -> None:
    """By where memory ends, as RHEL 6 did."""
    assert elf_header(machine, iomem, given) == flags


def test_this_machines_own_files_are_read() -> None:
    """Whatever kernel runs the tests."""
    state = read_reserved(None, None, Path("/proc/cmdline").read_text())
    assert advice(state, "x86_64")
