"""What every part needs and what depends on none: errors, options, seeds, files, text."""
