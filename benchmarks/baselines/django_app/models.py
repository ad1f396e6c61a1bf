"""The tables."""

from django.db import models


class Sprocket(models.Model):
    """A sprocket of the catalogue."""

    teeth = models.IntegerField()
    pitch_diameter = models.FloatField()
    outside_diameter = models.FloatField()
    pitch = models.FloatField()

    class Meta:
        """Its table."""

        db_table = "sprockets"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.teeth} teeth"


class Factory(models.Model):
    """A factory."""

    name = models.CharField(max_length=100, unique=True)

    class Meta:
        """Its table."""

        db_table = "factories"

    def __str__(self) -> str:
        return self.name


class Production(models.Model):
    """What a factory set out to make at one moment, and what it made."""

    factory = models.ForeignKey(Factory, on_delete=models.PROTECT)
    time = models.DateTimeField()
    sprocket_production_actual = models.IntegerField()
    sprocket_production_goal = models.IntegerField()

    class Meta:
        """Its table."""

        db_table = "production"
        ordering = ("factory_id", "time")
        constraints = (models.UniqueConstraint(fields=("factory", "time"), name="one_record_a_moment"),)

    def __str__(self) -> str:
        return f"{self.factory_id} at {self.time}"
