"""kdump.conf: what it says (grammar), what may be said (options), what it means (model)."""
