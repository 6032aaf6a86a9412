"""The API for programs: what the CLI shows and does, as JSON."""
