"""What became of a job or a file: counts, distributions and causes in little memory, as data and as a page."""
