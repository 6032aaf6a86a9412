"""What sysfs tells of the cards and watchdogs goes into the image, and is loaded where no udev does it."""

from __future__ import annotations

import os
from pathlib import Path

from sender.verbs import service
from tests.sender.conftest import Fake


def device(fake: Fake, path: str, module: str) -> Path:
    """A device of sysfs with its driver, a child of what its path says."""
    place = fake.root / "sys/devices" / path
    place.mkdir(parents=True, exist_ok=True)
    driver = fake.root / f"sys/module/{module}"
    driver.mkdir(parents=True)
    (place / "driver").mkdir()
    (place / "driver/module").symlink_to(driver)
    return place


def test_drivers_of_card_bus_and_watchdog(fake: Fake) -> None:
    """The bus before the card that sits on it; a watchdog that nobody feeds would end the dump."""
    device(fake, "pci0000:00/0000:00:02.0", "virtio_pci")
    card = device(fake, "pci0000:00/0000:00:02.0/virtio0", "virtio_net")
    watchdog = device(fake, "pci0000:00/0000:00:1f.0", "iTCO_wdt")
    for name, place in (("net/ens1", card), ("watchdog/watchdog0", watchdog)):
        fake.put(f"/sys/class/{name}/uevent")
        os.symlink(place, fake.root / f"sys/class/{name}/device")
    fake.put("/root/.ssh/kdump_id_ed25519", "SECRET", 0o600)
    fake.put("/root/.ssh/known_hosts", "server ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n")
    fake.conf("ssh kdump@server\n")
    assert service.start(fake.session) == 0, fake.warned
    needs = (fake.top / "needs").read_text().splitlines()
    assert {"driver virtio_pci", "driver virtio_net", "driver iTCO_wdt"} <= set(needs)
    image = next((fake.root / "var/lib/kdump").glob("initrd-*")).read_bytes()
    quick = b"driver iTCO_wdt\ndriver virtio_pci\ndriver virtio_net\ncard ens1 52:54:00:00:00:01\n"
    assert quick + b"link set ens1 up\naddress add 192.0.2.5/24 dev ens1\n" in image
