"""Who may look and who may change things: logins, sessions, roles, and what browsers must not be led to do."""
