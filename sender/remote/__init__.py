"""Keys and checks over ssh, before any crash: the only package here that knows paramiko."""
