"""The pages: thin handlers that read, make a view and fill a template."""
