"""The six endpoints as SQLModel's tutorial teaches them: models for the table and for what is sent; on uvicorn.

Run as a program it makes the tables, in the file that DATABASE names. Needs what requirements-bench.txt pins.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from sqlalchemy import event
from sqlmodel import Field, Session, SQLModel, create_engine, select

# Writers wait for each other for so many seconds. The number of connections has no bound: a session lets go of its own
# in a thread of the same pool that endpoints wait in, so with a bound 128 clients at once bring everything to a stand.
engine = create_engine(f"sqlite:///{os.environ['DATABASE']}", connect_args={"timeout": 60}, pool_size=0)


@event.listens_for(engine, "connect")
def set_pragmas(connection: Any, _: object) -> None:
    """Let readers go on beside a writer, and answer nothing that is not on the disk."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


class SprocketBase(SQLModel):
    """What a sprocket is, stored or not."""

    teeth: int
    pitch_diameter: float
    outside_diameter: float
    pitch: float


class Sprocket(SprocketBase, table=True):
    """A sprocket of the catalogue."""

    __tablename__ = "sprockets"

    id: int | None = Field(default=None, primary_key=True)


class SprocketCreate(SprocketBase):
    """A sprocket as it is sent to the service."""


class SprocketPublic(SprocketBase):
    """A sprocket as it is answered."""

    id: int


class Factory(SQLModel, table=True):
    """A factory."""

    __tablename__ = "factories"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)


class Production(SQLModel, table=True):
    """What a factory set out to make at one moment, in UTC, and what it made."""

    __tablename__ = "production"

    factory_id: int = Field(foreign_key="factories.id", primary_key=True)
    time: datetime = Field(primary_key=True)
    sprocket_production_actual: int
    sprocket_production_goal: int


def get_session() -> Iterator[Session]:
    """Give a request its session."""
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]
router = APIRouter(prefix="/sprocketFactory/v1")


@router.get("/production", response_model=list[Production])
def get_production(session: SessionDep) -> Sequence[Production]:
    """All records of all factories."""
    return session.exec(select(Production).order_by(Production.factory_id, Production.time)).all()


@router.get("/production/{factory_id}", response_model=list[Production])
def get_production_of_factory(factory_id: int, session: SessionDep) -> Sequence[Production]:
    """All records of one factory."""
    if session.get(Factory, factory_id) is None:
        raise HTTPException(status_code=404, detail="Factory not found")
    return session.exec(select(Production).where(Production.factory_id == factory_id).order_by(Production.time)).all()


@router.get("/sprockets", response_model=list[SprocketPublic])
def get_sprockets(session: SessionDep) -> Sequence[Sprocket]:
    """The catalogue."""
    return session.exec(select(Sprocket).order_by(Sprocket.id)).all()


@router.post("/sprockets", response_model=SprocketPublic, status_code=201)
def post_sprocket(sprocket: SprocketCreate, session: SessionDep) -> Sprocket:
    """Add a sprocket."""
    stored = Sprocket.model_validate(sprocket)
    session.add(stored)
    session.commit()
    session.refresh(stored)
    return stored


@router.get("/sprockets/{sprocket_id}", response_model=SprocketPublic)
def get_sprocket(sprocket_id: int, session: SessionDep) -> Sprocket:
    """One sprocket."""
    sprocket = session.get(Sprocket, sprocket_id)
    if sprocket is None:
        raise HTTPException(status_code=404, detail="Sprocket not found")
    return sprocket


@router.put("/sprockets/{sprocket_id}", response_model=SprocketPublic)
def put_sprocket(sprocket_id: int, sprocket: SprocketCreate, session: SessionDep) -> Sprocket:
    """Replace a sprocket."""
    stored = session.get(Sprocket, sprocket_id)
    if stored is None:
        raise HTTPException(status_code=404, detail="Sprocket not found")
    stored.sqlmodel_update(sprocket.model_dump())
    session.add(stored)
    session.commit()
    session.refresh(stored)
    return stored


app = FastAPI()
app.include_router(router)

if __name__ == "__main__":
    SQLModel.metadata.create_all(engine)
