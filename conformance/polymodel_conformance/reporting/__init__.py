"""What a run leaves behind: results as they come, reports in each form, failures that can be repeated, what became worse."""
