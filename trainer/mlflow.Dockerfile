# docker build --file trainer/mlflow.Dockerfile . — MLflow's tracking server, of the version that the trainer logs with.
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS packages
COPY requirements/mlflow.txt /tmp/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --target /packages --requirement /tmp/mlflow.txt

FROM ${PYTHON}
ENV PYTHONPATH=/packages PYTHONUNBUFFERED=1 HOME=/tmp \
    MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
COPY --from=packages /packages /packages
RUN mkdir /mlflow && chown 65532:65532 /mlflow
WORKDIR /mlflow
USER 65532:65532
VOLUME /mlflow
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
ENTRYPOINT ["python", "-m", "mlflow", "server", "--host=0.0.0.0", "--port=5000", "--workers=1"]
CMD ["--backend-store-uri=sqlite:////mlflow/mlflow.db", "--artifacts-destination=/mlflow/artifacts", "--serve-artifacts"]
