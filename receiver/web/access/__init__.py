"""Who may look and who may change: logins, sessions, roles, and what browsers must not be made to do."""
