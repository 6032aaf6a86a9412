"""What a dump is, sans-IO: formats, verdicts, logs."""
