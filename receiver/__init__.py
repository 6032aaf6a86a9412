"""kdump-receiver: the central server that takes kernel crash dumps from unmodified kdump clients."""
