"""What a client says, sans-IO: words, commands, paths, answers."""
