"""What is sent and taken."""

from django_app.models import Production, Sprocket
from rest_framework import serializers


class SprocketSerializer(serializers.ModelSerializer):
    """A sprocket."""

    class Meta:
        """Its members."""

        model = Sprocket
        fields = ("id", "teeth", "pitch_diameter", "outside_diameter", "pitch")


class ProductionSerializer(serializers.ModelSerializer):
    """A record of production. The id is enough of the factory, so that it is not asked for record by record."""

    factory_id = serializers.IntegerField()

    class Meta:
        """Its members."""

        model = Production
        fields = ("sprocket_production_actual", "sprocket_production_goal", "time", "factory_id")
