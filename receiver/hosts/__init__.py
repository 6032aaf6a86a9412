"""Who may come in: keys, tokens, certificates."""
