"""The crash kernel: the memory reserved for it, its command line, how kexec loads it."""
