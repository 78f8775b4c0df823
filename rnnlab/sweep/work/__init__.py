"""Who runs the trials."""
