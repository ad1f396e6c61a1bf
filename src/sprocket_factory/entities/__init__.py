"""What the factory knows. One file per noun: its type, its rules, its SQL."""

from typing import Annotated

from msgspec import Meta

MAX_ID = 2**63 - 1

Id = Annotated[int, Meta(ge=1, le=MAX_ID, description="Given by the service and never used again.")]
