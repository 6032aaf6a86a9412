"""The command `kdump-receiver`."""
