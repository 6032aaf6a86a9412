"""Deeper answers with drgn, in a process of its own: it parses hostile bytes in C."""
