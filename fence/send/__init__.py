"""fence_kdump_send: tells cluster nodes that this host is dumping, with nothing but the standard library."""
