"""What generated files say of themselves."""

__all__ = ["COMMENT", "GENERATED"]

COMMENT = "Written by `make reference` from the programs themselves; changes here are lost."
GENERATED = f"<!-- {COMMENT} -->"
