# The service, built from the pins with their hashes. It runs as a user that owns nothing but its data.
#   docker build --tag sprocket-factory .
#   docker run --publish 127.0.0.1:8000:8000 --volume sprocket-factory:/var/lib/sprocket-factory sprocket-factory
# With PostgreSQL's client programs, which backups of PostgreSQL need: docker build --target with-postgresql .
FROM python:3.11-slim AS build
COPY requirements.txt /build/
# Without pip in it the environment is a third smaller, and nobody installs into it later.
RUN python -m venv --without-pip /opt/sprocket-factory \
    && pip --python /opt/sprocket-factory/bin/python install --no-cache-dir --disable-pip-version-check --no-deps \
        --require-hashes -r /build/requirements.txt
COPY pyproject.toml README.md LICENSE /build/
COPY src /build/src
RUN pip --python /opt/sprocket-factory/bin/python install --no-cache-dir --disable-pip-version-check --no-deps \
        --no-build-isolation /build

FROM python:3.11-slim AS base
# A number, so that an orchestrator can tell that it is not root.
RUN useradd --system --uid 10001 --no-create-home sprocket \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/sprocket-factory
COPY --from=build /opt/sprocket-factory /opt/sprocket-factory
ENV PATH=/opt/sprocket-factory/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SPROCKET_FACTORY_HOST=0.0.0.0
WORKDIR /var/lib/sprocket-factory
VOLUME /var/lib/sprocket-factory
EXPOSE 8000
# Alive, not ready: whoever restarts a container because its database is away makes nothing better.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"SPROCKET_FACTORY_PORT\", 8000)}/health/live', timeout=2)"]
ENTRYPOINT ["sprocket-factory"]
CMD ["serve"]

FROM base AS with-postgresql
ARG POSTGRESQL=18
# Debian's own client is older than the server in compose.yaml, and pg_dump refuses a newer server.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install --yes --no-install-recommends "postgresql-client-$POSTGRESQL" \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
USER 10001

# The last stage is what is built where none is named.
FROM base
USER 10001
