"""What models read and what runs leave behind."""
