"""kdump-fence: hears from crashed nodes and answers cluster managers, graded by evidence."""
