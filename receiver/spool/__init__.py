"""Dumps as files: names, attempts, manifests, what survives a crash of ours."""
