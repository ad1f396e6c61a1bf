"""The six endpoints as a Flask user writes them: Flask-SQLAlchemy's models, `to_dict`, `jsonify`; on gunicorn.

SQLite is as it comes, unless TUNED is set: then it is as those set it up who have read about it. Either way nothing is
answered that is not on the disk: `synchronous` is FULL.

Run as a program it makes the tables, in the file that DATABASE names. Needs what requirements-bench.txt pins.
"""

import os
from datetime import datetime
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What the models have in common: nothing."""


db = SQLAlchemy(model_class=Base)
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.environ['DATABASE']}"
# Writers wait for each other for so many seconds.
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 60}}
app.json.sort_keys = False
db.init_app(app)


if os.environ.get("TUNED"):

    @event.listens_for(Engine, "connect")
    def set_pragmas(connection: Any, _: object) -> None:
        """Let readers go on beside a writer, and a commit sync once."""
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")


class Sprocket(db.Model):
    """A sprocket of the catalogue."""

    __tablename__ = "sprockets"

    id: Mapped[int] = mapped_column(primary_key=True)
    teeth: Mapped[int]
    pitch_diameter: Mapped[float]
    outside_diameter: Mapped[float]
    pitch: Mapped[float]

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent."""
        return {
            "id": self.id,
            "teeth": self.teeth,
            "pitch_diameter": self.pitch_diameter,
            "outside_diameter": self.outside_diameter,
            "pitch": self.pitch,
        }


class Factory(db.Model):
    """A factory."""

    __tablename__ = "factories"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Production(db.Model):
    """What a factory set out to make at one moment, in UTC, and what it made."""

    __tablename__ = "production"

    factory_id: Mapped[int] = mapped_column(ForeignKey(Factory.id), primary_key=True)
    time: Mapped[datetime] = mapped_column(primary_key=True)
    sprocket_production_actual: Mapped[int]
    sprocket_production_goal: Mapped[int]

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent."""
        return {
            "sprocket_production_actual": self.sprocket_production_actual,
            "sprocket_production_goal": self.sprocket_production_goal,
            "time": self.time.isoformat() + "Z",
            "factory_id": self.factory_id,
        }


@app.get("/sprocketFactory/v1/production")
def get_production() -> Response:
    """All records of all factories."""
    records = db.session.scalars(db.select(Production).order_by(Production.factory_id, Production.time))
    return jsonify([record.to_dict() for record in records])


@app.get("/sprocketFactory/v1/production/<int:factory_id>")
def get_production_of_factory(factory_id: int) -> Response:
    """All records of one factory."""
    db.get_or_404(Factory, factory_id)
    records = db.session.scalars(db.select(Production).filter_by(factory_id=factory_id).order_by(Production.time))
    return jsonify([record.to_dict() for record in records])


@app.get("/sprocketFactory/v1/sprockets")
def get_sprockets() -> Response:
    """The catalogue."""
    return jsonify([sprocket.to_dict() for sprocket in db.session.scalars(db.select(Sprocket).order_by(Sprocket.id))])


@app.post("/sprocketFactory/v1/sprockets")
def post_sprocket() -> tuple[Response, int]:
    """Add a sprocket."""
    data = request.get_json()
    sprocket = Sprocket(
        teeth=int(data["teeth"]),
        pitch_diameter=float(data["pitch_diameter"]),
        outside_diameter=float(data["outside_diameter"]),
        pitch=float(data["pitch"]),
    )
    db.session.add(sprocket)
    db.session.commit()
    return jsonify(sprocket.to_dict()), 201


@app.get("/sprocketFactory/v1/sprockets/<int:sprocket_id>")
def get_sprocket(sprocket_id: int) -> Response:
    """One sprocket."""
    return jsonify(db.get_or_404(Sprocket, sprocket_id).to_dict())


@app.put("/sprocketFactory/v1/sprockets/<int:sprocket_id>")
def put_sprocket(sprocket_id: int) -> Response:
    """Replace a sprocket."""
    sprocket = db.get_or_404(Sprocket, sprocket_id)
    data = request.get_json()
    sprocket.teeth = int(data["teeth"])
    sprocket.pitch_diameter = float(data["pitch_diameter"])
    sprocket.outside_diameter = float(data["outside_diameter"])
    sprocket.pitch = float(data["pitch"])
    db.session.commit()
    return jsonify(sprocket.to_dict())


if __name__ == "__main__":
    with app.app_context():
        db.create_all()
