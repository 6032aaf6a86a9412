"""The index over the spool, made anew from it at any time."""
