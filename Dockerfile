# One image for api, router and workers; the command chooses which. Its dependencies are those of
# requirements-production.lock, by hash; the program runs as an ordinary user.
FROM python:3.13-slim AS dependencies
COPY requirements-build.lock requirements-production.lock ./
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_HASHES=1
RUN python -m venv /venv \
    && /venv/bin/pip install -r requirements-build.lock \
    && /venv/bin/pip install --no-build-isolation --use-pep517 -r requirements-production.lock

FROM python:3.13-slim
RUN useradd --system --create-home --uid 10001 perennial
WORKDIR /app
COPY --from=dependencies /venv /venv
COPY domain domain
COPY database database
COPY connectors connectors
COPY activities activities
COPY workflows workflows
COPY triggers triggers
COPY api api
COPY perennial perennial
COPY templates templates
# On the path for isolated children too: templates are rendered by processes without any environment.
RUN echo /app > "$(/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/perennial.pth"
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PERENNIAL_HOST=0.0.0.0
USER perennial
ENTRYPOINT ["python", "-m", "perennial"]
CMD ["--help"]
