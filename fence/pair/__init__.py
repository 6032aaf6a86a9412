"""What the agent and the sender share: the C pair's flags, its words, and addresses. Standard library."""
