"""What an administrator looks at: pages, the API, metrics."""
