"""Files, pictures and folders."""
