"""Pictures for papers and reports, drawn from what runs leave on disk."""
