# Two stages: wheels are built where a compiler may be, the image that runs has none and runs as nobody's user.
FROM python:3.12-slim AS build
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md ./
RUN python -m venv /opt/eventflow && /opt/eventflow/bin/pip install --no-cache-dir '.[demo,kafka,rabbitmq,sqs]'
COPY collectors ./collectors
COPY eventflow ./eventflow
RUN /opt/eventflow/bin/python -P collectors/otlp/scan/build.py --must

FROM python:3.12-slim
RUN useradd --system --uid 10001 --create-home eventflow && install -d -o eventflow -g eventflow /data
COPY --from=build /opt/eventflow /opt/eventflow
WORKDIR /app
COPY manage.py ./
COPY --from=build /src/eventflow ./eventflow
COPY --from=build /src/collectors ./collectors
COPY demo ./demo
COPY templates ./templates
COPY static ./static
ENV PATH=/opt/eventflow/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    EVENTFLOW_DATA=/data EVENTFLOW_HTTP=0.0.0.0:8000 EVENTFLOW_OTLP_HTTP=0.0.0.0:4318 EVENTFLOW_OTLP_GRPC=0.0.0.0:4317 \
    EVENTFLOW_ZIPKIN=0.0.0.0:9411
USER eventflow
VOLUME /data
EXPOSE 8000 4317 4318 9411
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/api/v1/health', timeout=2)"]
CMD ["python", "manage.py", "up"]
