"""kdump: configures, propagates, loads and captures on the host that may crash."""
