"""SQL, reports and pictures."""
