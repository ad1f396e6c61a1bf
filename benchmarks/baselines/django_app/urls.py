"""Where the endpoints are."""

from django.urls import include, path
from django_app import views

urlpatterns = [
    path(
        "sprocketFactory/v1/",
        include(
            [
                path("production", views.ProductionList.as_view()),
                path("production/<int:factory_id>", views.FactoryProductionList.as_view()),
                path("sprockets", views.SprocketList.as_view()),
                path("sprockets/<int:pk>", views.SprocketDetail.as_view()),
            ]
        ),
    )
]
