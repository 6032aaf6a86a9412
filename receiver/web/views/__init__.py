"""What the pages show, as frozen records: read, judged and worded here, drawn by the templates."""
