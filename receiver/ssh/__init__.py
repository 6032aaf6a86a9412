"""The door: asyncssh around the cores."""
