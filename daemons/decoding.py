"""What decoding can raise, beside what the decoder's documentation names."""

import msgspec

__all__ = ["UNDECODABLE"]

UNDECODABLE = (UnicodeDecodeError, RecursionError, msgspec.DecodeError)
"""msgspec raises RecursionError for deep nesting and UnicodeDecodeError for text that is not UTF-8 as well."""
