"""fence_kdump: the fencing agent that Pacemaker starts, with nothing but the standard library."""
