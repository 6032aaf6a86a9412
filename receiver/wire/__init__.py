"""What a kdump client says, decided without waiting, opening or logging anything."""
