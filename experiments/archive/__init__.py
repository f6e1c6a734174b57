"""Rows on disk, seen through a columnar engine: what lies in an archive, and questions about it."""
