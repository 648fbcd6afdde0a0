"""Running NetDefs: blobs by name, operators bound once, rows in a table."""
