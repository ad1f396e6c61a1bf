"""The six endpoints as a Django REST framework user writes them: models, serializers, generic views; on gunicorn.

`django-admin migrate --run-syncdb` makes the tables. Needs what requirements-bench.txt pins.
"""
