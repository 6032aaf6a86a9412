"""From the kernel's virtual addresses to physical ones."""

from __future__ import annotations

import pytest

from receiver.dump.kind import Kind
from receiver.dump.malformed import Malformed
from receiver.dump.pread import of_bytes
from receiver.dump.printk import log_untrusted
from receiver.dump.virtual import Virtual, open_untrusted
from tests.builders.elf_core import ElfCore
from tests.builders.kdump import Kdump
from tests.builders.machine import Machine, Message

DIRECT = 0xFF11_2233_4000_0000  # where KASLR put the direct map
SECRET = b"what lies outside the kernel's image " * 200
MESSAGES = [Message(b"message %d" % number, number * 10**9) for number in range(20)]


def opened(dump: Kdump | ElfCore) -> Virtual:
    kind = Kind.KDUMP if isinstance(dump, Kdump) else Kind.ELF
    return open_untrusted(of_bytes(dump.build()), kind)[0]


@pytest.mark.parametrize("page_bits", [12, 21, 30])
@pytest.mark.parametrize("levels", [4, 5])
def test_x86_64_tables_of_four_and_five_levels_are_walked(levels: int, page_bits: int) -> None:
    """With pages of 4 KiB, 2 MiB and 1 GiB, as the direct map has them."""
    machine = Machine(image=0xFFFFFFFFAB000000, image_paddr=0x4A000000)
    paddr = machine.place_outside(SECRET)
    base = paddr >> page_bits << page_bits
    virtual_base = DIRECT >> page_bits << page_bits
    machine.x86_tables(virtual_base, base, 3 << max(page_bits, 12), levels=levels, page_bits=page_bits)
    for dump in (machine.kdump(), machine.elf()):
        virtual = opened(dump)
        assert virtual.read(virtual_base + paddr - base, len(SECRET)) == SECRET
        with pytest.raises(Malformed, match="is not mapped"):
            virtual.read(virtual_base + (1 << 40), 8)


def test_memory_encryption_bits_are_taken_off() -> None:
    """AMD SME sets one in every entry; VMCOREINFO says which."""
    machine = Machine()
    paddr = machine.place_outside(SECRET)
    machine.x86_tables(DIRECT, paddr | 1 << 47, 8192)
    machine.lines["NUMBER(sme_mask)"] = str(1 << 47)
    assert opened(machine.kdump()).read(DIRECT, 20) == SECRET[:20]


GRANULES = [(4096, 48), (4096, 39), (16384, 47), (65536, 48), (65536, 42)]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize(
    ("page_size", "bits"), [(4096, 48), (4096, 39), (16384, 47), (65536, 48), (65536, 42)]
)
def test_aarch64_tables_of_every_granule_are_walked(page_size: int, bits: int, block: bool) -> None:
    """vmalloc space: neither in the image nor in the linear map."""
    machine = Machine("aarch64", page_size=page_size, image=0xFFFF800010080000, image_paddr=0x40080000)
    paddr = machine.place_outside(SECRET)
    vaddr = (0xFFFF_FFFF_FFFF_FFFF >> bits << bits) + (3 << bits - 4)
    reach = page_size * page_size // 8 if block else page_size
    base = paddr // reach * reach
    machine.arm64_tables(vaddr, base, 2 * reach, bits=bits, block=block)
    assert opened(machine.kdump()).read(vaddr + paddr - base, len(SECRET)) == SECRET


@pytest.mark.parametrize(
    ("image", "linear"),
    [
        (0xFFFF800008000000, 0xFFFF000000000000),  # Linux 5.4 and later: the linear map in the lower half
        (0xFFFF000008080000, 0xFFFF800000000000),  # before
    ],
)
def test_aarch64s_linear_map_needs_no_tables(image: int, linear: int) -> None:
    """memblock gave the log its buffer there."""
    machine = Machine("aarch64", image=image, image_paddr=0x48000000)
    paddr = machine.place_outside(SECRET)
    machine.lines |= {"NUMBER(VA_BITS)": "48", "NUMBER(PHYS_OFFSET)": "0x40000000"}
    virtual = opened(machine.kdump())
    assert virtual.read(linear + paddr - 0x40000000, len(SECRET)) == SECRET


def test_an_elf_core_without_its_tables_falls_back_on_its_segments() -> None:
    """kexec wrote the direct map's addresses into the program headers."""
    machine = Machine()
    machine.ringbuffer(MESSAGES)
    paddr = machine.place_outside(SECRET)
    dump = machine.elf()
    for load in dump.loads:
        load.vaddr = DIRECT + load.paddr
    assert opened(dump).read(DIRECT + paddr, len(SECRET)) == SECRET


def test_a_kernel_without_kaslr_needs_no_tables_for_the_direct_map() -> None:
    """Its place is then the documented one."""
    machine = Machine()
    paddr = machine.place_outside(SECRET)
    virtual = opened(machine.kdump())
    assert virtual.read(0xFFFF888000000000 + paddr, len(SECRET)) == SECRET


@pytest.mark.parametrize("architecture", ["ppc64", "s390x"])
def test_other_machines_with_a_constant_offset_are_read(architecture: str) -> None:
    """Big-endian ones among them."""
    image = 0xC000000001000000 if architecture == "ppc64" else 0x1000000
    machine = Machine(architecture, order="big", image=image, image_paddr=0x1000000)
    machine.ringbuffer(MESSAGES)
    log = log_untrusted(of_bytes(machine.kdump().build()), Kind.KDUMP)
    assert [record.text for record in log.records] == [message.text for message in MESSAGES]


def test_x86_64_without_number_phys_base_takes_the_headers() -> None:
    """Kernels before 4.10 did not say it in VMCOREINFO."""
    machine = Machine(image=0xFFFFFFFF81000000, image_paddr=0x5000000)
    machine.ringbuffer(MESSAGES)
    base = int(machine.lines.pop("NUMBER(phys_base)"))
    machine.lines["SYMBOL(init_level4_pgt)"] = "ffffffff81c00000"
    data = machine.kdump(phys_base=base).build()
    assert len(log_untrusted(of_bytes(data), Kind.KDUMP).records) == 20
    core = machine.elf()
    core.loads[0].vaddr = core.loads[0].paddr - base + 0xFFFFFFFF80000000
    assert len(log_untrusted(of_bytes(core.build()), Kind.ELF).records) == 20
