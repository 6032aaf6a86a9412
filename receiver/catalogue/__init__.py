"""The index over the spool."""
