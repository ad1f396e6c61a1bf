# The service, built from the pins with their hashes; it runs as nobody in particular.
FROM python:3.11-slim AS build
COPY requirements.txt /build/
RUN python -m venv /opt/sprocket-factory \
    && /opt/sprocket-factory/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes \
        -r /build/requirements.txt
COPY pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN /opt/sprocket-factory/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation /build

FROM python:3.11-slim
RUN useradd --system --no-create-home sprocket && install -d -o sprocket /var/lib/sprocket-factory
COPY --from=build /opt/sprocket-factory /opt/sprocket-factory
USER sprocket
WORKDIR /var/lib/sprocket-factory
ENTRYPOINT ["/opt/sprocket-factory/bin/sprocket-factory"]
CMD ["serve"]
