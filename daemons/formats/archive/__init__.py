"""The archive: months of rows as files that any columnar engine reads; docs/archive.md describes them for users."""
