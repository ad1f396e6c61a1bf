"""What the tests of keys share: keys made past the API, and callers who carry one."""

from harness import Client, Service
from sprocket_factory.database import Transaction
from sprocket_factory.entities.key import KeyWithSecret, NewKey, Role, add_key

WRONG_KEY = "sfk_" + "A" * 43


def make_key(service: Service, role: Role, *factory_ids: int, limited: bool = False) -> KeyWithSecret:
    """Return a new key of this role; limited to these factories, if there are any or it is `limited`."""
    limits = list(factory_ids) if factory_ids or limited else None
    new = NewKey(name=f"the {role}", role=role, factory_ids=limits)
    key: KeyWithSecret = service.run(service.database.write, add_key, new, by="test")
    return key


def caller(service: Service, secret: str | None = None) -> Client:
    """Return somebody who carries this key, or none."""
    client = Client(service.address)
    if secret is not None:
        client.headers["Authorization"] = f"Bearer {secret}"
    return client


def change_key(service: Service, key_id: int, column: str, value: str | int | None) -> None:
    """Write to the row of a key past the API, as time or somebody with the file does."""
    service.run(service.database.write, _change_key, key_id, column, value, by="test")


async def _change_key(tx: Transaction, key_id: int, column: str, value: str | int | None) -> None:
    await tx.run(f"UPDATE keys SET {column} = :value WHERE id = :id", value=value, id=key_id)
