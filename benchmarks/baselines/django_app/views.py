"""The endpoints."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_app.models import Factory, Production, Sprocket
from django_app.serializers import ProductionSerializer, SprocketSerializer
from rest_framework import generics


class ProductionList(generics.ListAPIView):
    """All records of all factories."""

    queryset = Production.objects.all()
    serializer_class = ProductionSerializer


class FactoryProductionList(generics.ListAPIView):
    """All records of one factory."""

    serializer_class = ProductionSerializer

    def get_queryset(self) -> QuerySet[Production]:
        """Return them by time."""
        factory = get_object_or_404(Factory, pk=self.kwargs["factory_id"])
        return Production.objects.filter(factory=factory)


class SprocketList(generics.ListCreateAPIView):
    """The catalogue."""

    queryset = Sprocket.objects.all()
    serializer_class = SprocketSerializer


class SprocketDetail(generics.RetrieveUpdateAPIView):
    """One sprocket."""

    queryset = Sprocket.objects.all()
    serializer_class = SprocketSerializer
