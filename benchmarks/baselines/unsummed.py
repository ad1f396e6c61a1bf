"""The product without the sums per quarter-hour and day: an import stores its records and nothing else of them.

What is left is the product's own code, so what it takes less is what the sums cost. It would tell no attainment.
"""

from collections.abc import Mapping

from sprocket_factory.database import Transaction
from sprocket_factory.entities import production_import


async def hold_nothing(_tx: Transaction, _time_zones: Mapping[int, str]) -> None:
    """Keep nobody from anything."""


async def count_nothing(_tx: Transaction) -> None:
    """Leave the sums as they are."""


for name, replacement in (("hold_incoming", hold_nothing), ("recount_touched", count_nothing)):
    if not hasattr(production_import, name):
        raise AttributeError(name)
    setattr(production_import, name, replacement)

if __name__ == "__main__":
    from sprocket_factory.commands import main

    main()
