"""What the factory knows. One file per noun: its type, its rules, its SQL."""

from typing import Annotated

from msgspec import Meta

MAX_INTEGER = 2**63 - 1
"""What is stored of whole numbers, on either engine."""

MAX_ID = MAX_INTEGER

Id = Annotated[int, Meta(ge=1, le=MAX_ID, description="Given by the service and never used again.")]
