"""Tokens: what a business database says of a row instead of its content, beside a column of its own."""

from __future__ import annotations

DIGEST, XMIN = "@digest", "@xmin"
"""Those PostgreSQL gives of any table: a hash of the row's text, and the transaction that wrote it."""
