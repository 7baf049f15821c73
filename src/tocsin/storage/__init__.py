"""One schema and one set of statements for SQLite and PostgreSQL, the group-committing writer, and the blobs."""
