"""What `kdump` does, a module a verb; each takes a `Session` and returns the process's exit status."""
