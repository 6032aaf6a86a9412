"""The capture image: planned purely, built by dracut, topped with a small second archive.

The slow part (programs, libraries, kernel modules: dracut) and the quick part (the
plan, keys, known hosts, scripts: a cpio archive of our own) are two archives in one
file; the kernel unpacks them in order. A changed target costs no dracut run.
"""
